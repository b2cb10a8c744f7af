from __future__ import annotations

import sqlite3
from base64 import b64decode
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from backports import zstd
from msgspec import msgpack, structs

from monitor.ledger.engine import migrate, open_engine, revision_of
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import REVISION, metadata
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import TraceId
from monitor.trace.span import OperationKind, Span
from tests.builders import a_batch, a_trace, an_outcome, failure, tagged
from tests.ledgers import counts, net_outcomes, problems
from tests.trace.spans import a_call


@pytest.fixture
def old_url(tmp_path: Path) -> str:
    """A ledger as an earlier version left it."""
    return ledger_of(tmp_path, "0002")


def ledger_of(folder: Path, schema: str) -> str:
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        connection.executescript((Path(__file__).parent / f"schema_{schema}.sql").read_text(encoding="utf-8"))
    return f"sqlite:///{folder}/ledger.db"


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


_PACKED = b64decode(
    "KLUv/WBNAO0CAEQCkt4AB9kgsMs/8ADLQAAApG5hbWWkc2hvcN4ACKZncHQtNG8HFAC56zAUooGKNEAZBlkzgxPRQXhgawjIxA6X7ovajUB1oZlp"
    "WEs14I1YNwYu0G0uEabAOE9bRA=="
)


def test_spans_that_an_earlier_version_packed_are_read(tmp_path: Path) -> None:
    """With the names that they were packed with, or without; what cannot be read still counts."""
    url = ledger_of(tmp_path, "0010")
    trace_id = TraceId("0af7651916cd43dd8448eb211c80319c")
    agent = Span(trace_id, "b7ad6b7169203331", 1.0, 2.0, name="agent", kind=OperationKind.AGENT, service="shop")
    call = Span(trace_id, "00f067aa0ba902b7", 1.0, 2.0, parent_span_id=agent.span_id, kind=OperationKind.MODEL)
    call = structs.replace(call, response_model="gpt-4o", input_tokens=7)
    late, lost = a_call("a", trace_id=trace_id), a_call("b", trace_id=TraceId("lost"))
    rows = [
        (trace_id, 0, f"{agent.span_id} {call.span_id}", _PACKED),
        (trace_id, 2, late.span_id, zstd.compress(msgpack.encode([late]))),
        (lost.trace_id, 0, lost.span_id, b"no frame"),
    ]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.executemany("INSERT INTO pending_span VALUES (?, ?, ?, ?)", rows)

    with closing(SqlLedger(url)) as ledger:
        of_lost, pending = sorted(ledger.spans_of([trace_id, lost.trace_id]), key=lambda each: len(each.spans))

    assert [call, late, agent] == pending.spans
    assert [Span(lost.trace_id, lost.span_id, started_at=0.0)] == of_lost.spans


def test_requests_whose_length_nobody_noted_are_of_no_length(tmp_path: Path) -> None:
    """A later outcome of theirs is counted as before, and moves nothing; new requests have their length."""
    with closing(SqlLedger(ledger_of(tmp_path, "0010"))) as ledger:
        before = net_outcomes(ledger)
        ledger.record(a_batch(an_outcome(f"{5:032x}", failure()), an_outcome(f"{1:032x}", failure(source="human"))))

        assert [] == problems(ledger)
        assert (before[0] - 1, before[1] + 2) == net_outcomes(ledger)
        assert {} == counts(ledger, CounterName.HORIZON)
        ledger.record(a_batch(tagged(a_trace("new", steps=3, tool_calls=None, duration_seconds=None))))
        found = counts(ledger, CounterName.HORIZON)
        assert {"steps 2 unlabelled": 1, "tool_calls unknown unlabelled": 1, "seconds unknown unlabelled": 1} == found
        assert [] == problems(ledger)
