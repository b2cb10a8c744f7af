from __future__ import annotations

from msgspec import structs

from monitor.ledger.ledger import CounterName
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cohort import Runs
from monitor.trace.model import UNRESOLVED, VersionBy
from monitor.trace.served import Served
from tests.builders import NOON, a_batch, a_trace, failure, tagged
from tests.ledgers import ROLLOUT, counts


def test_what_a_service_is_served_under_a_name_is_kept(ledger: SqlLedger) -> None:
    """With the trace that says so, and when it was first and last served."""
    for trace_id, started_at in (("t1", NOON), ("t2", NOON - 9)):
        run = a_trace(trace_id, started_at=started_at)
        told = structs.replace(run, version_by=VersionBy.RESPONSE, requested_model="model")
        ledger.record(a_batch(tagged(told)))

    assert [Served("shop", "production", "model", "model-1", NOON - 9, NOON)] == list(ledger.served_models())


def test_requests_of_no_known_version_are_counted_apart(ledger: SqlLedger) -> None:
    """By the name that was asked for, and for the rollouts of their service; they are no version of it."""
    failed = a_trace("t1", model_version=UNRESOLVED, outcome=failure())
    ledger.record(
        a_batch(
            tagged(structs.replace(failed, requested_model="model")),
            tagged(a_trace("t2", model_version=UNRESOLVED)),
        )
    )

    assert {"failure": 1, "unlabelled": 1} == counts(ledger, CounterName.VERSIONS_UNRESOLVED)
    assert Runs(2, 1) == ledger.cohort(ROLLOUT, matured_before=NOON + 9).unresolved
    assert [] == ledger.activity()
