"""What surrounds a verdict: floors that hold, probes beside production, the load on call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from monitor.ledger.sql import SqlLedger
from monitor.metrics.collect import families_of
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.policy import Floor, Policy, Severity
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import Verdict, VerdictState
from tests.builders import NOON
from tests.histories import DAY, a_review, roll_out, serve, serve_history

UNREACHABLE_FLOOR = Floor(service="shop", pass_rate=0.9)
"""A floor above what any version of these tests passes in the hard tier."""


@pytest.fixture
def ledger() -> Iterator[SqlLedger]:
    ledger = SqlLedger("sqlite://")
    yield ledger
    ledger.close()


def the_verdict(ledger: SqlLedger) -> Verdict:
    (record,) = [record for record in ledger.rollouts() if record.rollout.environment == "production"]
    assert record.verdict is not None
    return record.verdict


def test_a_floor_that_was_agreed_on_before_the_rollout_is_held(ledger: SqlLedger) -> None:
    """The hard tier of the candidate is far below it, so this is a regression."""
    roll_out(ledger, a_review(ledger, Policy(floors=(UNREACHABLE_FLOOR,))))

    verdict = the_verdict(ledger)

    assert VerdictState.REGRESSION == verdict.state
    assert "below the floor of 90.0 %" in verdict.reasons[0]


@pytest.mark.slow
def test_a_floor_that_is_lowered_mid_rollout_is_still_held(ledger: SqlLedger) -> None:
    """A broken floor stays broken, whatever the config says by now, and the reasons say what was changed."""
    reviewer = a_review(ledger, Policy(floors=(UNREACHABLE_FLOOR,)))
    roll_out(ledger, reviewer)

    reviewer.policy = Policy(floors=(UNREACHABLE_FLOOR.model_copy(update={"pass_rate": 0.01}),))
    reviewer.review(now=NOON + 3 * DAY)

    verdict = the_verdict(ledger)
    assert VerdictState.REGRESSION == verdict.state
    assert "was changed from 90.0 % to 1.0 % while the rollout is under way" in verdict.reasons[-1]


@pytest.mark.slow
def test_metrics_show_the_floor_of_the_config_and_the_one_that_holds(ledger: SqlLedger) -> None:
    """One tells that it was changed, the other what the candidate is held to."""
    reviewer = a_review(ledger, Policy(floors=(UNREACHABLE_FLOOR,)))
    roll_out(ledger, reviewer)
    lowered = Policy(floors=(UNREACHABLE_FLOOR.model_copy(update={"pass_rate": 0.01}),))
    reviewer.policy = lowered
    reviewer.review(now=NOON + 3 * DAY)

    snapshot = Snapshot(now=NOON + 3 * DAY, policy=lowered, rollouts=ledger.rollouts())

    found = {
        family.metric.name: [row.value for row in family.rows]
        for family in families_of(snapshot)
        if family.metric.name.endswith("floor_pass_ratio")
    }
    assert {"cliffwatch_policy_floor_pass_ratio": [0.01], "cliffwatch_rollout_floor_pass_ratio": [0.9]} == found


def test_a_floor_that_is_added_mid_rollout_judges_nothing_yet(ledger: SqlLedger) -> None:
    """What was seen cannot be used to choose what it is held to."""
    reviewer = a_review(ledger)
    roll_out(ledger, reviewer)
    before = the_verdict(ledger)

    reviewer.policy = Policy(floors=(UNREACHABLE_FLOOR,))
    reviewer.review(now=NOON + 3 * DAY)

    after = the_verdict(ledger)
    assert before.state == after.state != VerdictState.REGRESSION
    assert "from none to 90.0 %" in after.reasons[-1]


@pytest.mark.slow
def test_a_changed_floor_judges_the_next_rollout(ledger: SqlLedger) -> None:
    """A rollout that starts after the change is held to the new floor."""
    reviewer = a_review(ledger)
    roll_out(ledger, reviewer)
    reviewer.policy = Policy(floors=(UNREACHABLE_FLOOR,))
    reviewer.review(now=NOON + 3 * DAY)

    serve(ledger, "live-3", started_at=NOON + 4 * DAY, salt=5)
    reviewer.review(now=NOON + 5 * DAY)

    verdicts = {record.rollout.candidate: record.verdict for record in ledger.rollouts()}
    assert verdicts["live-3"] is not None
    assert VerdictState.REGRESSION == verdicts["live-3"].state


@pytest.mark.slow
def test_probes_of_the_same_versions_sharpen_what_is_known_of_the_hard_tier(ledger: SqlLedger) -> None:
    """The panel replayed on both versions narrows the bounds of the hard tier and leaves the counts as they were."""
    reviewer = a_review(ledger)
    roll_out(ledger, reviewer)
    alone = the_verdict(ledger)

    serve(ledger, "live-1", environment="probes", started_at=NOON + DAY)
    serve(ledger, "live-2", environment="probes", started_at=NOON + DAY, salt=3)
    reviewer.review(now=NOON + 3 * DAY)

    beside = the_verdict(ledger)
    assert alone.hard_tier is not None
    assert alone.hard_tier.change is not None
    assert beside.hard_tier is not None
    assert beside.hard_tier.change is not None
    assert alone.aggregate.candidate.requests == beside.aggregate.candidate.requests
    widths = [change.upper - change.lower for change in (alone.hard_tier.change, beside.hard_tier.change)]
    assert widths[1] < 0.9 * widths[0]


def test_an_announced_candidate_teaches_nothing_before_it_serves(ledger: SqlLedger) -> None:
    """Its own reference runs are left out of the calibration that will judge it."""
    serve_history(ledger)
    serve(ledger, "live-1", started_at=NOON)
    announced = Rollout("r1", "shop", "production", "live-1", "old-3", started_at=NOON)
    assert ledger.announce_rollout(announced)
    reviewer = a_review(ledger)

    reviewer.review(now=NOON + DAY)

    calibration = reviewer.calibration_in_force()
    assert calibration is not None
    assert 9 == calibration.trust.versions


@pytest.mark.slow
def test_severities_stand_beside_the_verdict_and_change_nothing_in_it(ledger: SqlLedger) -> None:
    """The whole way from the ledger: but for the weighted load and its sentence, two policies say the same."""
    roll_out(ledger, a_review(ledger))
    plain = the_verdict(ledger)

    a_review(ledger, Policy(severities=(Severity(capability="search", weight=40.0),))).review(now=NOON + 3 * DAY)

    weighed = the_verdict(ledger)
    assert weighed.on_call is not None
    assert plain.on_call is not None
    assert plain.on_call == replace(weighed.on_call, weighted=None)
    assert weighed.on_call.weighted is not None
    assert weighed.on_call.weighted[1] > weighed.on_call.total[1]
    (sentence,) = [reason for reason in weighed.reasons if reason.startswith("Weighted by severity")]
    kept = [reason for reason in weighed.reasons if reason != sentence]
    assert plain == replace(weighed, reasons=type(plain.reasons)(kept), on_call=plain.on_call)


def test_the_load_on_call_adds_up_to_the_failure_rate(ledger: SqlLedger) -> None:
    """Failures per 1,000 requests by tier are the aggregate's rate, and signatures tell capability and class."""
    roll_out(ledger, a_review(ledger))

    verdict = the_verdict(ledger)

    assert verdict.on_call is not None
    for arm, load in zip((verdict.aggregate.baseline, verdict.aggregate.candidate), verdict.on_call.total, strict=True):
        assert load == pytest.approx(1_000 * arm.failures / arm.requests)
    by_signature = sum(load.candidate for load in verdict.on_call.signatures)
    assert verdict.on_call.total[1] == pytest.approx(by_signature)
    assert {"timeout", "wrong_tool"} == {load.signature.failure_class for load in verdict.on_call.signatures}
