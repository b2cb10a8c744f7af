"""Base class of all parts of the ledger: one public method is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import sqlalchemy as sa

from monitor.ledger.cell_memory import CellMemory
from monitor.ledger.dialect import DIALECTS
from monitor.ledger.engine import is_shareable, ledger_errors, migrate, open_engine, reading
from monitor.ledger.leases import leases_of
from monitor.ledger.settings import LedgerSettings


class Transactions:
    """
    Opens a database and migrates its tables.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        settings: Caps on label values, and retention.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: a newer version of Cliffwatch wrote it, or an unreleased one.
    """

    def __init__(self, url: str, settings: LedgerSettings) -> None:
        self._settings = settings
        self._engine = open_engine(url)
        try:
            migrate(self._engine)
        except BaseException:
            self._engine.dispose()  # the caller gets no ledger to close
            raise
        self._dialect = DIALECTS[self._engine.dialect.name]
        self._insert = self._dialect.insert
        self._leases = leases_of(self._engine)
        self._cells = CellMemory(is_only_writer=not is_shareable(url))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with ledger_errors(), self._engine.begin() as connection:
            self._leases.verify(connection)
            yield connection

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        return reading(self._engine)

    def _reading_one_state(self) -> AbstractContextManager[sa.Connection]:
        """As `_reading`, but all statements read the same snapshot."""
        return reading(self._engine, **self._dialect.one_state)
