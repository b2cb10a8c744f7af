"""The right to do what only one replica does at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from monitor.ledger.engine import ledger_errors

_REVIEW_LOCK = 7_306_918_452_114  # an arbitrary number that all replicas agree on


@contextmanager
def exclusively(engine: sa.Engine) -> Iterator[bool]:
    """Whether this replica holds the right to review the ledger; held until the context ends."""
    if engine.dialect.name == "sqlite":  # one replica only
        yield True
        return
    with ledger_errors(), engine.connect() as connection:
        # Bound to the connection: a replica that dies gives it back.
        is_ours = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_REVIEW_LOCK))))
        connection.commit()
        try:
            yield is_ours
        finally:
            if is_ours:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_REVIEW_LOCK)))
                connection.commit()
