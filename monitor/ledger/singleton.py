"""The right to do what only one thread of one replica does at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from monitor.ledger.engine import ledger_errors
from monitor.ledger.ledger import SingleJob

# Arbitrary numbers that all replicas agree on.
_LOCK_NUMBERS = {SingleJob.REVIEW: 7_306_918_452_114, SingleJob.CALIBRATION: 7_306_918_452_115}


class Singleton(Protocol):
    """Hands out the right to a job."""

    @contextmanager
    def hold(self, job: SingleJob, *, wait_seconds: float) -> Iterator[bool]:
        """Whether the right to *job* could be had within *wait_seconds*; held until the context ends."""
        ...


def singleton_of(engine: sa.Engine) -> Singleton:
    """Among the threads of this process on SQLite, which has one replica only; among all replicas on PostgreSQL."""
    return _InProcess() if engine.dialect.name == "sqlite" else _AdvisoryLocks(engine)


class _InProcess:
    def __init__(self) -> None:
        self._locks = {job: Lock() for job in SingleJob}

    @contextmanager
    def hold(self, job: SingleJob, *, wait_seconds: float) -> Iterator[bool]:
        is_ours = self._locks[job].acquire(timeout=wait_seconds)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._locks[job].release()


class _AdvisoryLocks:
    """Bound to a connection: a replica that dies gives them back."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def hold(self, job: SingleJob, *, wait_seconds: float) -> Iterator[bool]:
        number = _LOCK_NUMBERS[job]
        with ledger_errors(), self._engine.connect() as connection:
            is_ours = _try_lock(connection, number) or (wait_seconds > 0 and _lock(connection, number, wait_seconds))
            try:
                yield is_ours
            finally:
                if is_ours:
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(number)))
                    connection.commit()


def _try_lock(connection: sa.Connection, number: int) -> bool:
    is_ours = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(number))))
    connection.commit()
    return is_ours


def _lock(connection: sa.Connection, number: int, wait_seconds: float) -> bool:
    within = f"{round(wait_seconds * 1_000)}ms"
    connection.execute(sa.select(sa.func.set_config("lock_timeout", within, True)))  # for this transaction
    try:
        connection.execute(sa.select(sa.func.pg_advisory_lock(number)))
    except OperationalError as error:
        connection.rollback()
        if getattr(error.orig, "sqlstate", None) == "55P03":  # lock_not_available: the time is over
            return False
        raise
    connection.commit()
    return True
