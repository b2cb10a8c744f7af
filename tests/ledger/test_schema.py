from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from monitor.ledger.engine import migrate, open_engine, revision_of
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import REVISION, metadata
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import TraceId
from tests.builders import a_batch, a_trace, an_outcome, failure, tagged
from tests.ledgers import counts, net_outcomes, problems
from tests.trace.spans import a_call


@pytest.fixture
def old_url(tmp_path: Path) -> str:
    """A ledger as an earlier version left it."""
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.executescript(Path(__file__).with_name("schema_0002.sql").read_text(encoding="utf-8"))
    return f"sqlite:///{tmp_path}/ledger.db"


def test_an_upgrade_leads_to_the_tables_of_a_new_ledger(old_url: str) -> None:
    """Running every migration gives the schema that the code writes to, and the revision that it looks for."""
    engine = open_engine(old_url)
    migrate(engine)

    with engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
        revision = revision_of(connection)

    assert [] == difference
    assert REVISION == revision
    engine.dispose()


def test_a_new_ledger_is_one_that_migrations_find_nothing_to_do_in(tmp_path: Path) -> None:
    """Alembic finds its own table and the newest revision in a ledger that it did not make."""
    engine = open_engine(f"sqlite:///{tmp_path}/new.db")
    migrate(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection)

        assert [] == compare_metadata(context, metadata)
        assert REVISION == context.get_current_revision()
    engine.dispose()


def test_a_ledger_of_an_old_schema_is_brought_up_to_date(old_url: str) -> None:
    """What an earlier version stored counts as before, and what is new in the schema is filled from it."""
    with closing(SqlLedger(old_url)) as ledger:
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


def test_requests_whose_length_nobody_noted_are_of_no_length(old_url: str) -> None:
    """A later outcome of theirs is counted as before, and moves nothing; new requests have their length."""
    with closing(SqlLedger(old_url)) as ledger:
        before = net_outcomes(ledger)
        outcomes = (an_outcome("t3", failure()), an_outcome("t4", failure(source="human")))
        ledger.record(a_batch(*outcomes, expected_offset=8, next_offset=10))

        assert [] == problems(ledger)
        assert (before[0] - 1, before[1] + 2) == net_outcomes(ledger)
        assert {} == counts(ledger, CounterName.HORIZON)
        new = tagged(a_trace("new", steps=3, tool_calls=None, duration_seconds=None))
        ledger.record(a_batch(new, expected_offset=10, next_offset=11))
        found = counts(ledger, CounterName.HORIZON)
        assert {"steps 2 unlabelled": 1, "tool_calls unknown unlabelled": 1, "seconds unknown unlabelled": 1} == found
        assert [] == problems(ledger)
