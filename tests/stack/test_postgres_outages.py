from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

import pytest
import sqlalchemy as sa
from msgspec import json

from monitor.errors import LedgerInvalid, LedgerUnavailable, OffsetFenced
from monitor.ledger.engine import open_engine
from monitor.ledger.inspection import schema_version
from monitor.ledger.ledger import CounterName, Lease
from monitor.ledger.schema import REVISION
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import TraceId
from tests.builders import NOON, PARTITION, a_batch, a_trace, failure, tagged
from tests.ledgers import counts, problems
from tests.stack.servers import PostgresServer, wait_until
from tests.trace.spans import a_call

pytestmark = pytest.mark.stack

OLD_TABLES = Path(__file__).parents[1] / "ledger" / "schema_0002.sql"
BATCH = a_batch(tagged(a_trace("t1", outcome=failure())), tagged(a_trace("t2")), next_offset=2)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    with closing(SqlLedger(url)) as ledger:
        yield ledger


class CuttingProxy:
    """A TCP proxy before a server, which cuts the connection when a client sends a word, before or after it arrives."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.cut_at: bytes | None = None
        self.lets_through = False
        self.cuts = 0

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._sockets):
            each.close()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._address)
                self._sockets += [client, server]
                self._start(self._pump, client, server)
                self._start(self._copy, server, client)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if self.cut_at is not None and self.cut_at in data:
                    self.cut_at = None
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)  # the answer finds nobody
                    if self.lets_through:
                        server.sendall(data)
                        server.shutdown(socket.SHUT_WR)
                    else:
                        server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _copy(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                with suppress(OSError):  # read on, so that the server may finish
                    client.sendall(data)


@pytest.fixture
def proxied(url: str) -> Iterator[tuple[SqlLedger, CuttingProxy]]:
    """A ledger whose connections can be cut."""
    parsed = sa.make_url(url)
    with CuttingProxy((str(parsed.host), int(parsed.port or 0))) as proxy:
        through = parsed.set(host="127.0.0.1", port=proxy.port)
        with closing(SqlLedger(through.render_as_string(hide_password=False))) as ledger:
            yield ledger, proxy


@pytest.mark.parametrize(
    ("word", "lets_through"),
    [
        pytest.param(b"UPDATE kafka_offset", False, id="at the fence"),
        pytest.param(b"COPY request", False, id="while rows are written"),
        pytest.param(b"COMMIT", False, id="before the commit arrives"),
        pytest.param(b"COMMIT", True, id="after the commit, its answer lost"),
    ],
)
def test_a_connection_that_is_cut_is_an_outage_and_the_batch_counts_once(
    proxied: tuple[SqlLedger, CuttingProxy], ledger: SqlLedger, word: bytes, *, lets_through: bool
) -> None:
    """Wherever the connection breaks, trying again counts each record once: the offset says whether it was written."""
    through, proxy = proxied
    through.record(a_batch(next_offset=1))
    batch = a_batch(*BATCH.events, expected_offset=1, next_offset=3)
    proxy.lets_through, proxy.cut_at = lets_through, word

    with pytest.raises(LedgerUnavailable) as outage:
        through.record(batch)
    if lets_through:
        wait_until(lambda: ledger.offsets([PARTITION]) == {PARTITION: 3}, what="the server has committed")
        with pytest.raises(OffsetFenced):
            through.record(batch)
    else:
        assert 2 == through.record(batch).counted

    assert (1, True) == (proxy.cuts, outage.value.retriable)
    assert {PARTITION: 3} == ledger.offsets([PARTITION])
    assert {"": 2} == counts(ledger, CounterName.REQUESTS)
    assert {} == counts(ledger, CounterName.DUPLICATES)
    assert [] == problems(ledger)


def test_a_session_that_the_server_ends_is_an_outage(ledger: SqlLedger, url: str) -> None:
    """An administrator, or a restart, ends sessions amid a transaction: it is rolled back and tried again."""

    def be_ended_amid() -> None:
        with ledger._writing() as connection:
            pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            with closing(SqlLedger(url)) as other, other._writing() as killing:
                killing.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            ledger._recorder.record(connection, BATCH)

    with pytest.raises(LedgerUnavailable):
        be_ended_amid()

    assert 2 == ledger.record(BATCH).counted


def test_a_lock_that_is_not_given_is_an_outage(ledger: SqlLedger, url: str) -> None:
    """A replica that waits for a row gives up after a time, and tries again."""
    ledger.record(BATCH)
    again = a_batch(tagged(a_trace("t1")), expected_offset=2, next_offset=3)
    impatient = sa.make_url(url).update_query_dict({"application_name": "impatient"})
    with closing(SqlLedger(impatient.render_as_string(hide_password=False))) as waiting:

        @sa.event.listens_for(waiting._engine, "begin")
        def _limit(connection: sa.Connection) -> None:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")

        with ledger._writing() as connection:
            ledger._recorder.record(connection, again)
            with pytest.raises(LedgerUnavailable, match="lock timeout"):
                waiting.record(again)


def _migrate(url: str, start: threading.Barrier) -> None:
    start.wait()
    SqlLedger(url).close()


def test_processes_that_start_together_migrate_once(url: str) -> None:
    """Five services start on an empty database; one makes the tables, the others wait for it and find them."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(5)
    processes = [spawn.Process(target=_migrate, args=(url, start)) for _ in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [0] * 5 == [process.exitcode for process in processes]
    assert schema_version(url).is_current


def test_an_older_version_does_not_touch_a_newer_ledger(ledger: SqlLedger, url: str) -> None:
    """A replica that was left behind by an upgrade says so when it starts."""
    with ledger._writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(LedgerInvalid, match="newer version"):
        SqlLedger(url)


def test_a_ledger_of_an_older_schema_is_brought_up_to_date(url: str) -> None:
    """Requests that were recorded before there was a tally are in it, by the hour of their start."""
    engine = _engine_of_old_tables(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO model_version (id, service, environment, model_version, first_started_at, "
                "last_started_at, requests, labelled) VALUES (1, 'shop', 'production', 'm', 3599.9, 3600, 2, 0)"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO request (trace_id, model_version_id, started_at, received_at) "
                "VALUES ('a', 1, 3599.9, 1), ('b', 1, 3600, 1), ('orphan', NULL, NULL, 1)"
            )
        )
    engine.dispose()

    with closing(SqlLedger(url)) as ledger, ledger._reading() as connection:
        hours = connection.execute(sa.text("SELECT hour, requests FROM traffic ORDER BY hour")).all()

    assert [(0, 1), (1, 1)] == [tuple(row) for row in hours]
    assert REVISION == schema_version(url).found


def test_spans_that_an_old_replica_commits_while_the_tables_change_are_kept(url: str) -> None:
    """One that was killed may still have a transaction at the server, and the new tables wait for it."""
    old, new = _engine_of_old_tables(url), list[SqlLedger]()
    upgrade = threading.Thread(target=lambda: new.append(SqlLedger(url)))
    span = a_call("a", trace_id=TraceId("t"))
    row = {"trace_id": "t", "span_id": "a", "body": json.encode(span).decode()}

    with old.begin() as connection:
        connection.execute(sa.text("INSERT INTO waiting_span VALUES (:trace_id, :span_id, :body)"), row)
        upgrade.start()
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        wait_until(lambda: bool(connection.scalar(waits)), what="the upgrade waits")
    upgrade.join()

    assert [[span]] == [pending.spans for pending in new[0].spans_of([TraceId("t")])]
    new[0].close()
    old.dispose()


def _engine_of_old_tables(url: str) -> sa.Engine:
    engine = open_engine(url)
    tables = OLD_TABLES.read_text(encoding="utf-8").replace("DOUBLE", "DOUBLE PRECISION").split(";\n")
    with engine.begin() as connection:
        for statement in tables:
            if statement.startswith("CREATE") or "alembic_version" in statement:
                connection.execute(sa.text(statement))
    return engine


def _hold_review(url: str, is_held: threading.Event) -> None:
    with closing(SqlLedger(url)) as ledger, ledger.hold_lease(Lease.REVIEW) as is_ours:
        if is_ours:
            is_held.set()
        threading.Event().wait()


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_the_review_of_a_replica_that_is_gone_is_taken_over(ledger: SqlLedger, url: str, harm: signal.Signals) -> None:
    """A replica that dies gives the right back at once, one that hangs loses it after ten seconds of silence."""
    spawn = multiprocessing.get_context("spawn")
    is_held = spawn.Event()
    holder = spawn.Process(target=_hold_review, args=(url, is_held))
    holder.start()
    assert is_held.wait(60)
    with ledger.hold_lease(Lease.REVIEW) as is_ours:
        assert not is_ours

    os.kill(int(holder.pid or 0), harm)

    wait_until(lambda: _can_review(ledger), 60, "another replica reviews")
    holder.kill()
    holder.join()


def _can_review(ledger: SqlLedger) -> bool:
    with ledger.hold_lease(Lease.REVIEW) as is_ours:
        return is_ours


def test_a_reviewer_that_was_cut_off_writes_nothing_more(ledger: SqlLedger, url: str) -> None:
    """Two replicas never both believe that they review for longer than it takes to write."""
    with closing(SqlLedger(url)) as other, ledger.hold_lease(Lease.REVIEW) as is_ours:
        assert is_ours
        ledger.see_floors((), at=NOON)
        _end_idle_sessions(other)
        with other.hold_lease(Lease.REVIEW) as others:
            assert others

            with pytest.raises(LedgerUnavailable, match="review lease was lost"):
                ledger.see_floors((), at=NOON)


def _end_idle_sessions(ledger: SqlLedger) -> None:
    with ledger._writing() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity JOIN pg_locks USING (pid) "
                "WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
        )
