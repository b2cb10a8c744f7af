"""How a connection to the ledger's database behaves, and how its schema comes up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import StaticPool

from monitor.errors import ConfigInvalid, LedgerInvalid, LedgerUnavailable

IN_MEMORY_URL = "sqlite://"

# SQLAlchemy may send rows in several statements; it adds their row counts up only when asked to, and we rely on them.
_COUNT_INSERTED_ROWS = {"preserve_rowcount": True}

_MIGRATION_LOCK = 7_306_918_452_113  # an arbitrary number that all replicas agree on


def open_engine(url: str) -> sa.Engine:
    """
    An engine whose transactions are safe for read-then-write on SQLite and on PostgreSQL.

    Raises:
        ConfigInvalid: *url* is no SQLAlchemy URL, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            return sa.create_engine(
                parsed, pool_pre_ping=True, pool_size=4, max_overflow=8, execution_options=_COUNT_INSERTED_ROWS
            )
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigInvalid(
            "The ledger URL cannot be understood; write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE."
        ) from error
    except ModuleNotFoundError as error:
        raise ConfigInvalid(
            f"The driver {error.name} of the ledger URL is not installed; run pip install 'cliffwatch[postgres]'."
        ) from error
    raise ConfigInvalid(f"The ledger can be kept in sqlite or postgresql, not in {parsed.get_backend_name()}.")


def _open_sqlite(url: sa.URL) -> sa.Engine:
    in_memory = _is_in_memory(url)
    engine = (
        sa.create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        if in_memory
        else sa.create_engine(url.update_query_dict({"timeout": "30"} | dict(url.query)))
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late, see below
        cursor = connection.cursor()
        if not in_memory:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a power cut may undo commits, but whole ones, offsets included
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # By default the driver opens no transaction for a SELECT, and read-then-write loses updates.
        read_only = connection.get_execution_options().get("cliffwatch_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def is_shareable(url: str) -> bool:
    """Whether several threads may use the ledger side by side; one in memory has a single connection for all."""
    return not _is_in_memory(sa.make_url(url))


def _is_in_memory(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def is_missing(url: str) -> bool:
    """Whether *url* names a SQLite file that is not there; opening it would make an empty one."""
    try:
        parsed = sa.make_url(url)
    except ArgumentError:
        return False  # said better when it is opened
    is_file = parsed.get_backend_name() == "sqlite" and not _is_in_memory(parsed)
    return is_file and not Path(str(parsed.database)).exists()


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Translate what the database driver raises into what the service decides on."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise LedgerUnavailable(f"The ledger's database does not answer: {_first_line(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise LedgerUnavailable(f"The ledger's database went away: {_first_line(error)}") from error
        raise LedgerInvalid(f"The ledger's database refused a statement: {_first_line(error)}") from error


def migrate(engine: sa.Engine) -> None:
    """
    Bring the schema up to date; replicas that start together wait for each other.

    Raises:
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: it was written by a newer version.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with ledger_errors(), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise LedgerInvalid(
                "A newer version of Cliffwatch wrote this ledger; run that version, or point ledger.url elsewhere."
            ) from error


def _first_line(error: DBAPIError) -> str:
    # The driver's own words; SQLAlchemy's would repeat the statement and its parameters.
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
