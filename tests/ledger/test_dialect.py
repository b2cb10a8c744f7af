from __future__ import annotations

import sqlalchemy as sa

from monitor.ledger.schema import request, traffic
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_trace, tagged


def test_a_row_that_is_there_becomes_what_it_should(ledger: SqlLedger) -> None:
    """An upsert adds to rows with the same keys and inserts the others, in one statement."""
    write = ledger._dialect.upserter(traffic, lambda added: {"requests": traffic.c.requests + added.requests})

    with ledger._engine.begin() as connection:
        write(connection, [(1, 10, 2, 0.0, 1.0), (1, 11, 5, 0.0, 1.0)])
        write(connection, [(1, 10, 3, 0.0, 1.0), (2, 10, 7, 0.0, 1.0)])
        rows = connection.execute(sa.select(traffic.c.model_version_id, traffic.c.hour, traffic.c.requests)).all()

    assert {(1, 10, 5), (1, 11, 5), (2, 10, 7)} == {tuple(row) for row in rows}


def test_rows_are_found_among_more_ids_than_a_statement_has_parameters(ledger: SqlLedger) -> None:
    """Of forty thousand trace ids, those that are there."""
    ledger.record(a_batch(tagged(a_trace("t1")), tagged(a_trace("t39999")), tagged(a_trace("other"))))
    ids = [f"t{number}" for number in range(40_000)]

    with ledger._engine.begin() as connection:
        found = connection.scalars(
            sa.select(request.c.trace_id).where(ledger._dialect.among(request.c.trace_id)),
            {"among": ledger._dialect.values(ids)},
        ).all()

    assert {"t1", "t39999"} == set(found)
