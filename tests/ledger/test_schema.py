from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from monitor.ledger.engine import IN_MEMORY_URL, migrate, open_engine, revision_of
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import REVISION, metadata
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import TraceId
from tests.builders import a_batch, a_trace, tagged
from tests.ledgers import counts, net_outcomes, problems
from tests.trace.spans import a_call


def test_migrations_lead_to_the_tables_of_the_schema() -> None:
    """Running every migration gives the schema that the code writes to, and the revision that it looks for."""
    engine = open_engine(IN_MEMORY_URL)
    migrate(engine, to="head")

    with engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
        revision = revision_of(connection)

    assert [] == difference
    assert REVISION == revision
    engine.dispose()


def test_a_ledger_of_an_old_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """What an earlier version stored counts as before, and what is new in the schema is filled from it."""
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((Path(__file__).parent / "schema_0002.sql").read_text(encoding="utf-8"))

    with closing(SqlLedger(f"sqlite:///{path}")) as ledger:
        first, second = ledger.activity()

        assert [] == problems(ledger)
        assert {"": 4} == counts(ledger, CounterName.REQUESTS)
        assert (1, 2) == net_outcomes(ledger)
        assert first.requests == sum(spell.requests for spell in first.traffic)
        assert first.last_started_at == first.traffic[-1].last_started_at
        assert 1 == second.requests
        assert [a_call("a")] == [span for pending in ledger.spans_of([TraceId("t")]) for span in pending.spans]
        recorded = ledger.record(a_batch(tagged(a_trace("t1")), expected_offset=8, next_offset=9))
        assert (0, 1) == (recorded.counted, recorded.duplicates)
