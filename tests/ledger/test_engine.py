from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.errors import ConfigInvalid, LedgerInvalid, LedgerUnavailable
from monitor.ledger.engine import ledger_errors, open_engine
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_trace, tagged


@pytest.mark.parametrize(
    ("revision", "writer"), [("9999", "A newer version"), ("0008", r"A development version \(schema 0008")]
)
def test_a_ledger_with_unknown_tables_is_refused(tmp_path: Path, revision: str, writer: str) -> None:
    """A schema that this version does not know is left alone, and the error says whose it is."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    SqlLedger(url).close()
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    engine.dispose()

    with pytest.raises(LedgerInvalid, match=writer):
        SqlLedger(url)


@pytest.mark.parametrize("statement", ["DROP TABLE rollout", "UPDATE alembic_version SET version_num = ''"])
def test_a_ledger_without_a_table_or_a_revision_is_no_outage(tmp_path: Path, statement: str) -> None:
    """Half of a backup was restored: to try again for ever would hide it."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    SqlLedger(url).close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute(statement)

    with pytest.raises(LedgerInvalid, match="names a ledger, or restore a backup of it"):
        SqlLedger(url).rollouts()


def test_what_is_no_database_says_what_to_do(tmp_path: Path) -> None:
    """It has the name of a ledger, and nothing else of it."""
    (tmp_path / "ledger.db").write_text("hello\n" * 1_000)

    with pytest.raises(LedgerInvalid, match="file is not a database; check that"):
        SqlLedger(f"sqlite:///{tmp_path}/ledger.db")


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


def test_a_full_disk_is_an_outage_that_says_so(tmp_path: Path) -> None:
    """Advice about addresses would send people to the wrong place."""
    engine = open_engine(f"sqlite:///{tmp_path}/ledger.db")

    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 2")
        with pytest.raises(LedgerUnavailable, match="disk is full; make room"), ledger_errors():
            connection.exec_driver_sql("CREATE TABLE much AS SELECT zeroblob(100000)")

    engine.dispose()


def test_a_folder_that_is_missing_is_an_outage(tmp_path: Path) -> None:
    """A SQLite file in a folder that is not there cannot be opened, and the sentence says so."""
    with pytest.raises(LedgerUnavailable, match="unable to open database file"):
        SqlLedger(f"sqlite:///{tmp_path}/missing/ledger.db")
