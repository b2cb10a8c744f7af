"""Opens the ledger's database, migrates its schema and translates its errors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import StaticPool

from monitor.errors import ConfigInvalid, LedgerInvalid, LedgerUnavailable
from monitor.ledger.schema import REVISION, metadata

IN_MEMORY_URL = "sqlite://"

_OPTIONS: dict[str, Any] = {
    # SQLAlchemy may send rows in several statements, and sums their row counts only with this option; we rely on it.
    "execution_options": {"preserve_rowcount": True},
    "hide_parameters": True,  # keeps contents of requests out of tracebacks
}

_SQLITE_CACHE_KIB = 65_536
_SQLITE_PAGES_PER_CHECKPOINT = 16_000  # 64 MiB

# Detect a dead server: after 5 s of silence, send three keepalive probes 2 s apart.
_POSTGRESQL_ARGUMENTS = {
    "application_name": "cliffwatch",
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

# Make the server detect a dead replica too, so that its locks and leases are released soon, and limit our own waits.
_POSTGRESQL_SETTINGS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "lock_timeout": "30s",
    "statement_timeout": "300s",
    "idle_in_transaction_session_timeout": "60s",
}

# Alembic's table, created here so that a new ledger does not have to import Alembic.
_REVISION = sa.table("alembic_version", sa.column("version_num", sa.Text))
_REVISION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR(32) CONSTRAINT alembic_version_pkc PRIMARY KEY)"
_CUT_PASSWORD = re.compile(r"[?&]\w*password=[^&]*@")  # the rest would be parsed, and shown in errors, as the host
_OTHER_SCHEMA = ("no such table", "no such column", "already exists")  # SQLite raises OperationalError for these too
_NO_LEDGER = "check that its user may write, and that ledger.url names a ledger, or restore a backup of it"
_MIGRATION_LOCK = 7_306_918_452_113  # an arbitrary number that all replicas agree on


def open_engine(url: str) -> sa.Engine:
    """
    An engine whose transactions are safe for read-then-write on SQLite and on PostgreSQL.

    Raises:
        ConfigInvalid: *url* is not an SQLAlchemy URL, or its driver is not installed.
    """
    try:
        parsed = sa.make_url("" if _CUT_PASSWORD.search(url) else url)
        if parsed.get_backend_name() == "sqlite":
            return _open_sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            return _open_postgresql(parsed)
    except (ArgumentError, NoSuchModuleError, ValueError):
        # The library's error is not chained, since it may contain part of the password.
        raise ConfigInvalid(
            "The ledger URL cannot be understood; write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE "
            "(@, : and / in a password as %40, %3A and %2F)."
        ) from None
    except ModuleNotFoundError as error:
        message = f"The driver {error.name} of the ledger URL is not installed; run pip install 'cliffwatch[postgres]'."
        raise ConfigInvalid(message) from error
    raise ConfigInvalid(f"The ledger can be kept in sqlite or postgresql, not in {parsed.get_backend_name()}.")


def _open_postgresql(url: sa.URL) -> sa.Engine:
    arguments = {name: value for name, value in _POSTGRESQL_ARGUMENTS.items() if name not in url.query}
    engine = sa.create_engine(
        url, connect_args=arguments, pool_pre_ping=True, pool_size=4, max_overflow=8, pool_timeout=10, **_OPTIONS
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # Set here and not as start-up options, which connection poolers refuse.
        with connection.cursor() as cursor:
            for name, value in _POSTGRESQL_SETTINGS.items():
                cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.commit()

    return engine


def _open_sqlite(url: sa.URL) -> sa.Engine:
    in_memory = _is_in_memory(url)
    if not in_memory and not str(url.database).startswith("file:"):
        # Create the file readable by its owner only; SQLite's WAL files get the same mode.
        with suppress(OSError):  # an existing file keeps its mode; SQLite reports other problems more clearly
            os.close(os.open(str(url.database), os.O_CREAT | os.O_EXCL, 0o600))
    single: dict[str, Any] = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    with_timeout = url.update_query_dict({"timeout": "30"} | dict(url.query))
    engine = sa.create_engine(with_timeout, hide_parameters=True, **(single if in_memory else {}))

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver would send BEGIN too late, see `_begin`
        if not in_memory:
            connection.execute("PRAGMA journal_mode=WAL")
            # A power cut may undo the last commits, but only whole ones, offsets included, so they are read again.
            connection.execute("PRAGMA synchronous=NORMAL")
            # Trace IDs are random, so every batch touches pages all over their index: a large cache and rare
            # checkpoints write each page back less often.
            connection.execute(f"PRAGMA cache_size=-{_SQLITE_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint={_SQLITE_PAGES_PER_CHECKPOINT}")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # The driver opens no transaction for a SELECT, so without this a read-then-write could lose updates.
        read_only = connection.get_execution_options().get("cliffwatch_read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def is_shareable(url: str) -> bool:
    """Whether several threads may use the ledger concurrently; in memory there is one connection for all of them."""
    return not _is_in_memory(sa.make_url(url))


def _is_in_memory(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def is_missing(url: str) -> bool:
    """Whether *url* names a SQLite file that does not exist; opening it would create it."""
    with suppress(ArgumentError, ValueError, OSError):  # `open_engine` reports a bad URL
        parsed = sa.make_url(url)
        is_file = parsed.get_backend_name() == "sqlite" and not _is_in_memory(parsed)
        return is_file and not Path(str(parsed.database)).exists()
    return False


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Translate errors of the database driver into `LedgerUnavailable` (try again) and `LedgerInvalid` (stop)."""
    try:
        yield
    except PoolTimeoutError as error:
        raise LedgerUnavailable("Every connection to the ledger's database is in use; try again.") from error
    except DBAPIError as error:
        detail = _first_line(error)
        is_outage = isinstance(error, OperationalError | InterfaceError) and not any(map(detail.count, _OTHER_SCHEMA))
        if error.connection_invalidated and not is_outage:
            raise LedgerUnavailable(f"The ledger's database went away: {detail}") from error
        if not is_outage:
            raise LedgerInvalid(f"The ledger's database refused a statement: {detail}; {_NO_LEDGER}.") from error
        advice = "check ledger.url, and that the database runs, or that the folder of the file is there and writable"
        if "disk is full" in detail or "No space left" in detail:
            advice = "make room on its disk, and reading goes on by itself"
        raise LedgerUnavailable(f"The ledger's database does not answer: {detail}; {advice}.") from error


@contextmanager
def reading(engine: sa.Engine, **options: Any) -> Iterator[sa.Connection]:
    """A read-only transaction; on SQLite it begins deferred, so that readers and the writer do not block each other."""
    with ledger_errors(), engine.connect() as opened:
        connection = opened.execution_options(cliffwatch_read_only=True, **options)
        with connection.begin():
            yield connection


def migrate(engine: sa.Engine) -> None:
    """
    Create the tables of a new ledger, or upgrade those of an old one.

    Replicas that start together wait for each other.

    Raises:
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: a newer version of Cliffwatch wrote it, or an unreleased one.
    """
    with ledger_errors(), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            for limit in ("lock_timeout", "statement_timeout"):  # a migration may take long, and others wait for it
                connection.execute(sa.select(sa.func.set_config(limit, "0", True)))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        found = revision_of(connection)
        if found is None:
            metadata.create_all(connection, checkfirst=False)
            connection.exec_driver_sql(_REVISION_TABLE)
            connection.execute(sa.insert(_REVISION).values(version_num=REVISION))
        elif found != REVISION:
            _upgrade(connection, found)


def revision_of(connection: sa.Connection) -> str | None:
    """The migration that the tables are at; None if there are none yet."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(sa.select(_REVISION.c.version_num)) or None


def _upgrade(connection: sa.Connection, found: str) -> None:
    from alembic import command  # noqa: PLC0415  (few starts upgrade, and Alembic takes as long to import as Kafka)
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, REVISION)
    except CommandError as error:
        writer = "newer version" if found > REVISION else f"development version (schema {found}, never released)"
        message = f"A {writer} of Cliffwatch wrote this ledger; run that version, or point ledger.url elsewhere."
        raise LedgerInvalid(message) from error


def _first_line(error: DBAPIError) -> str:
    # The driver's message, since SQLAlchemy's would repeat the statement and its parameters.
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__
