"""Leases: locks that one thread of one replica holds at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread, local
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError

from monitor.errors import LedgerUnavailable
from monitor.ledger.engine import ledger_errors
from monitor.ledger.ledger import Lease

_BEAT_SECONDS = 2.0
_SILENCE_SECONDS = 10

# Arbitrary numbers that all replicas agree on.
_LOCK_NUMBERS = {Lease.REVIEW: 7_306_918_452_114, Lease.CALIBRATION: 7_306_918_452_115}


def leases_of(engine: sa.Engine) -> _InProcess | _AdvisoryLocks:
    """Leases between the threads of this process on SQLite, which has one replica; between replicas on PostgreSQL."""
    return _InProcess() if engine.dialect.name == "sqlite" else _AdvisoryLocks(engine)


class _InProcess:
    def __init__(self) -> None:
        self._locks = {lease: Lock() for lease in Lease}

    @contextmanager
    def hold(self, lease: Lease, *, wait_seconds: float) -> Iterator[bool]:
        """Try to acquire *lease* within *wait_seconds*; the context's value says whether it is held."""
        is_ours = self._locks[lease].acquire(timeout=wait_seconds)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._locks[lease].release()

    def verify(self, connection: sa.Connection) -> None:
        """Do nothing: a lock in this process is never lost."""


class _AdvisoryLocks:
    """
    PostgreSQL advisory locks, each on a connection of its own, so that a replica that dies releases them.

    Against a replica that hangs, a heartbeat every two seconds keeps the connection alive, and the server closes it
    after ten seconds without one. A holder that lost its connection notices before its next write, see `verify`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._held = local()

    @contextmanager
    def hold(self, lease: Lease, *, wait_seconds: float) -> Iterator[bool]:
        number = _LOCK_NUMBERS[lease]
        with ledger_errors(), self._engine.connect() as connection:
            is_ours = _try_lock(connection, number) or (wait_seconds > 0 and _lock(connection, number, wait_seconds))
            if not is_ours:
                yield False
                return
            session = _session_of(connection)
            earlier = getattr(self._held, "sessions", ())
            self._held.sessions = (*earlier, session)
            try:
                with _heartbeat(connection):
                    yield True
            finally:
                self._held.sessions = earlier
                _unlock(connection, number)

    def verify(self, connection: sa.Connection) -> None:
        """
        Check, in a transaction that is about to write, that this thread still holds its leases.

        Raises:
            LedgerUnavailable: it lost one; another replica may hold it.
        """
        for session in getattr(self._held, "sessions", ()):
            if not connection.scalar(_IS_ALIVE, session):
                raise LedgerUnavailable("The review lease was lost with its connection; another replica takes over.")


def _session_of(connection: sa.Connection) -> dict[str, Any]:
    """Process ID and start of the server process of *connection*, which identify it; also sets its idle timeout."""
    session = connection.execute(_OWN_SESSION).one()
    connection.execute(sa.select(sa.func.set_config("idle_session_timeout", f"{_SILENCE_SECONDS}s", False)))
    connection.commit()
    return session._asdict()


_OWN_SESSION = sa.text("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
_IS_ALIVE = sa.text("SELECT 1 FROM pg_stat_activity WHERE pid = :pid AND backend_start = :backend_start")


@contextmanager
def _heartbeat(connection: sa.Connection) -> Iterator[None]:
    """Run a query on *connection* every two seconds; do not use the connection elsewhere meanwhile."""
    is_over = Event()

    def beat() -> None:
        while not is_over.wait(_BEAT_SECONDS):
            try:
                connection.execute(sa.select(1))
                connection.commit()
            except DBAPIError:  # the connection is lost; `verify` will notice
                return

    thread = Thread(target=beat, name="review-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _unlock(connection: sa.Connection, number: int) -> None:
    """Release the lock; if the connection is lost, the server has released it already."""
    try:
        connection.execute(sa.select(sa.func.pg_advisory_unlock(number)))
        connection.execute(sa.select(sa.func.set_config("idle_session_timeout", "0", False)))
        connection.commit()
    except (DBAPIError, PendingRollbackError):
        connection.invalidate()


def _try_lock(connection: sa.Connection, number: int) -> bool:
    is_ours = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(number))))
    connection.commit()
    return is_ours


def _lock(connection: sa.Connection, number: int, wait_seconds: float) -> bool:
    within = f"{round(wait_seconds * 1_000)}ms"
    connection.execute(sa.select(sa.func.set_config("lock_timeout", within, True)))  # for this transaction only
    try:
        connection.execute(sa.select(sa.func.pg_advisory_lock(number)))
    except OperationalError as error:
        connection.rollback()
        if getattr(error.orig, "sqlstate", None) == "55P03":  # lock_not_available: timed out
            return False
        raise
    connection.commit()
    return True
