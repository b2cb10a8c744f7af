"""How a connection to the ledger's database behaves, and how its schema comes up to date."""

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
    # SQLAlchemy may send rows in several statements; it adds their row counts up only when asked to, and we rely on it.
    "execution_options": {"preserve_rowcount": True},
    "hide_parameters": True,  # what was read stays out of tracebacks
}

_SQLITE_CACHE_KIB = 65_536
_SQLITE_PAGES_PER_CHECKPOINT = 16_000  # 64 MiB

# How soon a connection whose other end is gone is noticed by us: 5 s without a word, then three questions 2 s apart.
_POSTGRESQL_ARGUMENTS = {
    "application_name": "cliffwatch",
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}

# And by the server, so that a replica whose machine is gone holds no row and no right for long; and how long we wait.
_POSTGRESQL_SETTINGS = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "lock_timeout": "30s",
    "statement_timeout": "300s",
    "idle_in_transaction_session_timeout": "60s",
}

# Alembic's own, which a new ledger does not load.
_REVISION = sa.table("alembic_version", sa.column("version_num", sa.Text))
_REVISION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR(32) CONSTRAINT alembic_version_pkc PRIMARY KEY)"
_CUT_PASSWORD = re.compile(r"[?&]\w*password=[^&]*@")  # what follows the @ would be taken, and shown, as the host
_OTHER_SCHEMA = ("no such table", "no such column", "already exists")  # which PostgreSQL tells from an outage itself
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
        # Not from the library's error: it may repeat a part of the URL, and so of its password.
        raise ConfigInvalid(
            "The ledger URL cannot be understood; write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE "
            "(@, : and / in a password as %40, %3A and %2F)."
        ) from None
    except ModuleNotFoundError as error:
        told = f"The driver {error.name} of the ledger URL is not installed; run pip install 'cliffwatch[postgres]'."
        raise ConfigInvalid(told) from error
    raise ConfigInvalid(f"The ledger can be kept in sqlite or postgresql, not in {parsed.get_backend_name()}.")


def _open_postgresql(url: sa.URL) -> sa.Engine:
    in_url = dict(url.query)
    arguments = {name: value for name, value in _POSTGRESQL_ARGUMENTS.items() if name not in in_url}
    engine = sa.create_engine(
        url, connect_args=arguments, pool_pre_ping=True, pool_size=4, max_overflow=8, pool_timeout=10, **_OPTIONS
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # Not as start-up options, which poolers refuse.
        with connection.cursor() as cursor:
            for name, value in _POSTGRESQL_SETTINGS.items():
                cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.commit()

    return engine


def _open_sqlite(url: sa.URL) -> sa.Engine:
    in_memory = _is_in_memory(url)
    if not in_memory and not str(url.database).startswith("file:"):
        # Only its owner may read a new file; what SQLite puts beside it has the same mode.
        with suppress(OSError):  # an existing one keeps its mode; what else is wrong SQLite says better
            os.close(os.open(str(url.database), os.O_CREAT | os.O_EXCL, 0o600))
    alone: dict[str, Any] = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    patient = url.update_query_dict({"timeout": "30"} | dict(url.query))
    engine = sa.create_engine(patient, hide_parameters=True, **(alone if in_memory else {}))

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late, see below
        if not in_memory:
            connection.execute("PRAGMA journal_mode=WAL")
            # A power cut may undo commits, but whole ones, offsets included.
            connection.execute("PRAGMA synchronous=NORMAL")
            # Ids are random: the larger the part of their index that is in memory, and the more batches a page takes
            # before it is written back, the less is written for a record.
            connection.execute(f"PRAGMA cache_size=-{_SQLITE_CACHE_KIB}")
            connection.execute(f"PRAGMA wal_autocheckpoint={_SQLITE_PAGES_PER_CHECKPOINT}")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA foreign_keys=ON")

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
    with suppress(ArgumentError, ValueError, OSError):  # said better when it is opened
        parsed = sa.make_url(url)
        is_file = parsed.get_backend_name() == "sqlite" and not _is_in_memory(parsed)
        return is_file and not Path(str(parsed.database)).exists()
    return False


@contextmanager
def ledger_errors() -> Iterator[None]:
    """Translate what the database driver raises into what the service decides on."""
    try:
        yield
    except PoolTimeoutError as error:
        raise LedgerUnavailable("Every connection to the ledger's database is in use; try again.") from error
    except DBAPIError as error:
        told = _first_line(error)
        is_outage = isinstance(error, OperationalError | InterfaceError) and not any(map(told.count, _OTHER_SCHEMA))
        if error.connection_invalidated and not is_outage:
            raise LedgerUnavailable(f"The ledger's database went away: {told}") from error
        if not is_outage:
            raise LedgerInvalid(f"The ledger's database refused a statement: {told}; {_NO_LEDGER}.") from error
        advice = "check ledger.url, and that the database runs, or that the folder of the file is there and writable"
        if "disk is full" in told or "No space left" in told:
            advice = "make room on its disk, and reading goes on by itself"
        raise LedgerUnavailable(f"The ledger's database does not answer: {told}; {advice}.") from error


@contextmanager
def reading(engine: sa.Engine, **options: Any) -> Iterator[sa.Connection]:
    """A transaction that only reads: one that began IMMEDIATE would wait for the writer, and the writer for it."""
    with ledger_errors(), engine.connect() as plain:
        connection = plain.execution_options(cliffwatch_read_only=True, **options)
        with connection.begin():
            yield connection


def migrate(engine: sa.Engine) -> None:
    """
    Make the tables of a new ledger, or bring those of an old one up to date.

    Replicas that start together wait for each other.

    Raises:
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: it was written by a newer version, or by one in development.
    """
    with ledger_errors(), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            for limit in ("lock_timeout", "statement_timeout"):  # the replica that migrates may take long
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
    """The migration that the ledger's tables are at, or None where it has none yet."""
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
        told = f"A {writer} of Cliffwatch wrote this ledger; run that version, or point ledger.url elsewhere."
        raise LedgerInvalid(told) from error


def _first_line(error: DBAPIError) -> str:
    # The driver's own words; SQLAlchemy's would repeat the statement and its parameters.
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
