"""What can be told of a ledger without changing anything in it, not even its schema."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from monitor.ledger.engine import ledger_errors, open_engine


class SchemaVersion(NamedTuple):
    """Revision of the tables that a ledger has (None: it has none), and the one that this Cliffwatch works with."""

    found: str | None
    wanted: str | None

    @property
    def is_current(self) -> bool:
        return self.found == self.wanted


def schema_version(url: str) -> SchemaVersion:
    """
    The schema of the ledger at *url*.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
    """
    engine = open_engine(url)
    try:
        with ledger_errors(), engine.connect() as plain:
            connection = plain.execution_options(cliffwatch_read_only=True)
            with connection.begin():
                return SchemaVersion(MigrationContext.configure(connection).get_current_revision(), newest_schema())
    finally:
        engine.dispose()


def newest_schema() -> str | None:
    """Revision of the tables that this version of Cliffwatch works with."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return ScriptDirectory.from_config(config).get_current_head()
