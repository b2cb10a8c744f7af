from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from monitor.errors import ConfigInvalid, LedgerInvalid, LedgerUnavailable
from monitor.ledger.engine import IN_MEMORY_URL, migrate, open_engine, revision_of
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import REVISION, metadata
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_trace, tagged
from tests.contracts.ledger_contract import LedgerContract, counts, net_outcomes, problems


class TestInMemory(LedgerContract):
    @pytest.fixture
    def ledger(self) -> Iterator[SqlLedger]:
        ledger = SqlLedger(IN_MEMORY_URL)
        yield ledger
        ledger.close()


class TestFile(LedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[SqlLedger]:
        ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db")
        yield ledger
        ledger.close()


def test_what_was_recorded_is_there_after_a_restart(tmp_path: Path) -> None:
    """A ledger opened again shows what was committed before."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    first = SqlLedger(url)
    first.record(a_batch(tagged(a_trace()), next_offset=1))
    first.close()

    second = SqlLedger(url)
    recorded = second.record(a_batch(tagged(a_trace()), expected_offset=1, next_offset=2))

    assert (0, 1) == (recorded.counted, recorded.duplicates)
    assert {"": 1} == counts(second, CounterName.REQUESTS)
    second.close()


def test_two_writers_lose_no_update(tmp_path: Path) -> None:
    """Two connections that write the same counters at the same time add up."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    SqlLedger(url).close()

    def write(name: str) -> None:
        ledger = SqlLedger(url)
        for number in range(40):
            ledger.record(a_batch(tagged(a_trace(f"{name}{number}"))))
        ledger.close()

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    ledger = SqlLedger(url)
    assert {"": 80} == counts(ledger, CounterName.REQUESTS)
    ledger.close()


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
        recorded = ledger.record(a_batch(tagged(a_trace("t1")), expected_offset=8, next_offset=9))
        assert (0, 1) == (recorded.counted, recorded.duplicates)


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A schema that this version does not know is left alone."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    SqlLedger(url).close()
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    with pytest.raises(LedgerInvalid, match="newer version"):
        SqlLedger(url)


def test_a_locked_database_is_an_outage(tmp_path: Path) -> None:
    """A database that cannot answer now is told apart from one that is wrong."""
    path = tmp_path / "ledger.db"
    ledger = SqlLedger(f"sqlite:///{path}?timeout=0.1")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerUnavailable):
        ledger.record(a_batch(tagged(a_trace())))

    holder.execute("ROLLBACK")
    holder.close()
    assert 1 == ledger.record(a_batch(tagged(a_trace()))).counted
    ledger.close()


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        pytest.param("nonsense", "sqlite:///FILE", id="not a URL"),
        pytest.param("mysql://u@h/d", "not in mysql", id="a database that is not supported"),
        pytest.param("nodb+driver://u@h/d", "not in nodb", id="a database nobody knows"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_write(url: str, advice: str) -> None:
    """The sentence names the forms that work."""
    with pytest.raises(ConfigInvalid, match=advice):
        open_engine(url)


def test_a_folder_that_is_missing_is_an_outage(tmp_path: Path) -> None:
    """A SQLite file in a folder that is not there cannot be opened, and the sentence says so."""
    with pytest.raises(LedgerUnavailable, match="unable to open database file"):
        SqlLedger(f"sqlite:///{tmp_path}/missing/ledger.db")
