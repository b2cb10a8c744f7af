from __future__ import annotations

import sqlalchemy as sa

from monitor.ledger.schema import request
from monitor.ledger.sql import SqlLedger
from tests.builders import NOON, a_batch, a_trace, an_outcome, failure, tagged
from tests.ledgers import HARD


def test_a_row_keeps_what_tagged_a_request_and_its_label(ledger: SqlLedger) -> None:
    """The tier that counters know it by and the one it is read under, its difficulty, and what was said of it."""
    ledger.record(a_batch(tagged(a_trace("t1", request_id="item-7", started_at=NOON + 5), HARD)))
    ledger.record(a_batch(an_outcome("t1", failure("timeout"))))

    with ledger._engine.connect() as connection:
        (row,) = connection.execute(sa.select(request)).all()

    assert ("t1", "search", "item-7", NOON + 5) == (row.trace_id, row.capability, row.item, row.started_at)
    assert ("hard", "hard", 1.5, 0.25, 9, "c1") == (
        row.counted_tier,
        row.tier,
        row.difficulty_logit,
        row.difficulty_variance,
        row.bin,
        row.calibration_id,
    )
    assert (False, "timeout") == (row.success, row.failure_class)


def test_an_outcome_without_its_trace_is_a_row_without_a_version(ledger: SqlLedger) -> None:
    """It waits there, and becomes the request's row when the trace comes."""
    ledger.record(a_batch(an_outcome("t1", failure())))
    with ledger._engine.connect() as connection:
        (waiting,) = connection.execute(sa.select(request)).all()

    ledger.record(a_batch(tagged(a_trace("t1"))))
    with ledger._engine.connect() as connection:
        (row,) = connection.execute(sa.select(request)).all()

    assert (None, None, False) == (waiting.model_version_id, waiting.started_at, waiting.success)
    assert row.model_version_id is not None
    assert (NOON, False) == (row.started_at, row.success)
