from __future__ import annotations

import dataclasses

from monitor.ledger.sql import SqlLedger
from monitor.rollout.floors import CommittedFloor
from monitor.rollout.judging import judge
from monitor.rollout.policy import Floor, Policy
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    tagged,
)
from tests.ledgers import (
    ROLLOUT,
)


def test_a_rollout_keeps_its_verdict_and_its_changes(ledger: SqlLedger) -> None:
    """The latest verdict replaces the one before; only changes of state are remembered with their time."""
    ledger.start_rollout(ROLLOUT)
    ledger.start_rollout(dataclasses.replace(ROLLOUT, baseline="somebody else"))
    verdict = judge(
        ledger.cohort(ROLLOUT, matured_before=NOON),
        None,
        Policy(),
        previous=None,
    )

    ledger.save_verdict("r1", verdict, at=NOON + 1)
    ledger.save_verdict("r1", verdict, at=NOON + 2)
    ledger.end_rollout("r1", ended_at=NOON + 9, reason="ramp_over")

    (record,) = ledger.rollouts()
    assert dataclasses.replace(ROLLOUT, ended_at=NOON + 9, end_reason="ramp_over") == record.rollout
    assert dataclasses.replace(verdict, reasons=list(verdict.reasons)) == record.verdict
    assert [(NOON + 1, verdict.state)] == list(record.changes)


def test_floors_are_kept_with_the_time_when_they_were_first_seen(ledger: SqlLedger) -> None:
    """A rollout is held to the floors of its start, however often they were changed and seen since."""
    agreed, lowered = Floor(service="shop", pass_rate=0.5), Floor(service="shop", pass_rate=0.25)
    ledger.see_floors([agreed], at=NOON - 100)
    ledger.see_floors([agreed], at=NOON - 50)
    ledger.start_rollout(ROLLOUT)

    ledger.see_floors([lowered], at=NOON + 50)
    ledger.start_rollout(dataclasses.replace(ROLLOUT, rollout_id="r2", started_at=NOON + 60))

    first, second = ledger.rollouts()
    assert [CommittedFloor(agreed, NOON - 100)] == list(first.floors)
    assert [CommittedFloor(lowered, NOON + 50)] == list(second.floors)


def test_announced_names_are_bounded_as_those_of_requests(ledger: SqlLedger) -> None:
    """A rollout whose names would be over a cap is refused whole; those that are admitted stay."""
    versions = [tagged(a_trace(f"t{number}", model_version=f"v{number}")) for number in range(199)]
    ledger.record(a_batch(*versions))

    assert not ledger.announce_rollout(dataclasses.replace(ROLLOUT, baseline="new-1", candidate="new-2"))
    assert ledger.announce_rollout(dataclasses.replace(ROLLOUT, baseline="v1", candidate="new-3"))

    (record,) = ledger.rollouts()
    assert ("v1", "new-3") == (record.rollout.baseline, record.rollout.candidate)
