"""What every part of the ledger reads and writes through: one public method is one transaction."""

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
    A database whose tables are up to date.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        settings: Caps on label values, and what is kept for how long.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: it was written by a newer version, or by one in development.
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
        """Release connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with ledger_errors(), self._engine.begin() as connection:
            self._leases.verify(connection)
            yield connection

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        return reading(self._engine)

    def _reading_one_state(self) -> AbstractContextManager[sa.Connection]:
        """As `_reading`, for statements that must not see what was written between them."""
        return reading(self._engine, **self._dialect.one_state)
