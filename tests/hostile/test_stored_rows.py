"""Whatever stands in the ledger's rows, a start and the reviews after it go on."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from monitor.clock import EventClock
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import LedgerInvalid
from monitor.ingest.dead_letter import NoDeadLetters
from monitor.ledger.schema import metadata
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.rollout.policy import Floor, Policy
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from monitor.service.stages import Stages
from monitor.trace.model import VersionBy
from monitor.trace.settings import Limits, TraceSettings
from tests.builders import NOON, a_batch, a_dead_letter, a_trace, tagged
from tests.fakes import FakeBroker, FakeSource
from tests.service.test_review import DAY, serve, serve_history
from tests.trace.spans import a_span

BAD_VALUES = ("'odd'", "''", "x'00ff'", "-1", "0.5", "1e308", "9e999", "-9e999", "9223372036854775807", "'{}'", "'[1]'")
"""SQL literals; SQLite takes any of them in any column."""

ALL = "CLIFFWATCH_HOSTILE_EVENTS" in os.environ
"""Whether to try every value in every column (`make test-hostile`), or two in each."""

_POLICY = Policy(floors=(Floor(service="shop", pass_rate=0.1),))


def a_review(ledger: SqlLedger) -> Reviewer:
    return Reviewer(ledger, settings=ServiceSettings(), difficulty=DifficultySettings(), policy=_POLICY)


def start(url: str) -> SnapshotHolder:
    """What a start shows first, then a review, and what is shown after it."""
    ledger = SqlLedger(url)
    try:
        snapshots = SnapshotHolder(Snapshot(now=NOON, policy=_POLICY))
        source = FakeSource(FakeBroker(), ledger.offsets)
        clock = EventClock()
        clock.observe(NOON + 3 * DAY)
        stages = Stages(source, NoDeadLetters(), ledger, a_review(ledger), clock, snapshots)
        service = Service(
            stages,
            rules=DecodeRules(Limits(), TraceSettings()),
            settings=ServiceSettings(poll_timeout_seconds=0.01),
        )
        service.begin()
        service.run_once()
        return snapshots
    finally:
        ledger.close()


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with history, a calibration, a judged rollout and a span that is pending."""
    path = tmp_path_factory.mktemp("ledger") / "whole.db"
    ledger = SqlLedger(f"sqlite:///{path}")
    serve_history(ledger)
    reviewer = a_review(ledger)
    serve(ledger, "base", started_at=NOON, fails_from=100)
    reviewer.review(now=NOON + DAY)
    serve(ledger, "next", started_at=NOON + DAY, fails_from=90)
    spoken = replace(a_trace("spoken"), version_by=VersionBy.RESPONSE, requested_model="model")
    ledger.record(a_batch(a_span(), tagged(spoken), dead_letters=[a_dead_letter()], next_offset=3))
    reviewer.review(now=NOON + 2 * DAY)
    assert ledger.rollouts()
    ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO pruned VALUES (1, 'hard', 0, 0, 0)")
        for table in metadata.tables:
            assert connection.execute(f"SELECT 1 FROM {table}").fetchone(), f"{table} has no row to spoil"
    connection.close()
    return path


def bad_values(table: str, column: str) -> Iterator[str]:
    yield from random.Random(f"{table}.{column}").sample(BAD_VALUES, len(BAD_VALUES) if ALL else 2)
    if table in {"model_version", "request", "rollout", "evidence", "calibration", "stratum", "counter"}:
        yield "x'00ff'"  # bytes, which SQLite takes for text
    if (table, column) in {("model_version", "id"), ("model_version", "last_started_at")}:
        yield from ("-1", "9223372036854775807")  # whose traffic is not found
    if (table, column) in {("rollout", "started_at"), ("rollout", "ended_at")}:
        yield from ("1e308", "9e999", "-9e999")  # times that no calendar has


def _copies(connection: sqlite3.Connection, table: str) -> Iterator[int]:
    """Row ids of ten copies of the first row."""
    columns = metadata.tables[table].columns
    key = next(column.name for column in columns if column.primary_key)
    others = ", ".join(column.name for column in columns if column.name != key)
    for copy in range(10):
        copied = f"SELECT {key} || '1{copy}', {others} FROM {table} LIMIT 1"
        yield connection.execute(f"INSERT INTO {table} ({key}, {others}) {copied}").lastrowid or 0


@pytest.mark.slow
@pytest.mark.parametrize("table", sorted(metadata.tables.keys() - {"kafka_offset"}))
def test_bad_values_in_rows_stop_no_start(ledger_file: Path, tmp_path: Path, table: str) -> None:
    """
    A row that somebody else wrote, or an older version, is passed over; everything else is shown.

    Each start meets one bad value in each of several rows.
    """
    left = [
        (column.name, value) for column in metadata.tables[table].columns for value in bad_values(table, column.name)
    ]
    while left:
        path = tmp_path / "bad.db"
        path.write_bytes(ledger_file.read_bytes())
        with sqlite3.connect(path) as connection:
            rows = [rowid for (rowid,) in connection.execute(f"SELECT rowid FROM {table} LIMIT 50")]
            rows = rows if len(rows) > 9 else [*_copies(connection, table)]
            spoilt, left = left[: len(rows)], left[len(rows) :]
            for rowid, (column, value) in zip(rows, spoilt, strict=False):
                with suppress(sqlite3.IntegrityError):  # a column that SQLite guards
                    connection.execute(f'UPDATE OR IGNORE {table} SET "{column}" = {value} WHERE rowid = {rowid}')
        connection.close()

        try:
            assert start(f"sqlite:///{path}").current.counters
            ledger = SqlLedger(f"sqlite:///{path}")
            assert ledger.checks()
            ledger.names()
            ledger.close()
        except Exception as error:
            error.add_note(f"{table}: {spoilt}")
            raise


@pytest.mark.parametrize("column", ["partition", "next_offset"])
def test_an_offset_that_is_none_is_said_and_nothing_is_read(ledger_file: Path, tmp_path: Path, column: str) -> None:
    """To guess where to read on would lose records, or count them twice."""
    path = tmp_path / "bad.db"
    path.write_bytes(ledger_file.read_bytes())
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE kafka_offset SET {column} = 'odd'")
    connection.close()

    with pytest.raises(LedgerInvalid, match=r"'odd'.* no offset: set it to where to read on, or delete the row"):
        start(f"sqlite:///{path}")


@pytest.mark.slow
def test_a_ledger_that_an_older_version_filled_says_so(ledger_file: Path, tmp_path: Path) -> None:
    """The check names attributes without a mean, a counter that overflowed and a date of 1970; none stops a start."""
    path = tmp_path / "bad.db"
    path.write_bytes(ledger_file.read_bytes())
    with sqlite3.connect(path) as connection:
        connection.execute("""UPDATE request SET attributes = '{"x": 1.7e+308}' WHERE trace_id LIKE 'reference-%'""")
        connection.execute("UPDATE request SET started_at = 0.0 WHERE trace_id = 'production-base-0'")
        connection.execute("UPDATE counter SET value = 9.3e18 WHERE name = 'steps_bucket' OR name = 'duplicates'")
        connection.execute("INSERT INTO counter VALUES ('tokens', 'shop', '', '', '', '', 'input', 9.3e18)")
    connection.close()
    ledger = SqlLedger(f"sqlite:///{path}")
    ledger.record(a_batch())
    (check,) = [check for check in ledger.checks() if check.name == "values within their bounds"]
    ledger.close()

    assert ("request production-base-0", "counter tokens / shop: 9.3e+18", "1 sets of attributes") == check.problems
    assert start(f"sqlite:///{path}").current.counters
