"""Statements that differ between SQLite and PostgreSQL."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import sqlalchemy as sa
from msgspec.json import Encoder
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

Rows = Sequence[tuple[Any, ...]]
"""Values of a writer's columns, in their order."""

Writer = Callable[[sa.Connection, Rows], None]
"""Writes many rows with one prepared statement."""

Excluded = Callable[[Any], Mapping[str, Any]]
"""Given the row to be inserted (`excluded`), the SET clause of ON CONFLICT DO UPDATE."""


def sums_of(table: sa.Table, names: Iterable[str]) -> Excluded:
    """Update that adds the columns *names* of the inserted row to the stored row."""
    return lambda added: {name: table.c[name] + added[name] for name in names}


_json = Encoder().encode
_HOUR_SECONDS = 3_600.0


class RaceLost(Exception):
    """Another replica inserted one of our rows first: roll back and record the batch again, now seeing its row."""


# For a value that is not int, float or str, Python's driver looks for an adapter, and for a `__conform__` method if
# there is none. Adapters for bool and None halve the time to write a row.
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type]  # returns None without running Python code


class SqliteDialect:
    """SQLite: one writer at a time, statements run in this process."""

    insert = staticmethod(sqlite.insert)
    """The dialect's `insert`, which supports ON CONFLICT."""

    def among(self, column: sa.Column[str]) -> sa.ColumnElement[bool]:
        """Condition: *column* is one of the values of the parameter `among` (see `values`)."""
        # One JSON parameter: compiling a thousand parameters takes longer than the query.
        return column.in_(sa.select(sa.func.json_each(sa.bindparam("among")).table_valued("value").c.value))

    def values(self, values: Sequence[str]) -> object:
        """Encode *values* for the parameter `among`."""
        return json.dumps(values)

    def appender(self, table: sa.Table, columns: Sequence[str]) -> Writer:
        """Insert new rows in the order given; raises `RaceLost` if another replica has inserted one of them."""
        places = ", ".join("?" * len(columns))
        return _for_each(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})")  # noqa: S608  (own names)

    def upserter(self, table: sa.Table, become: Excluded) -> Writer:
        """Upsert rows in the order given (see `_row_of`): a stored row of the same key is updated as *become* says."""
        statement, (columns, key) = sqlite.insert(table), _row_of(table)
        upsert = statement.on_conflict_do_update(index_elements=key, set_=become(statement.excluded))
        return _for_each(str(upsert.compile(dialect=sqlite.dialect(), column_keys=columns)))

    def updater(self, table: sa.Table, key: str, columns: Sequence[str]) -> Writer:
        """Update *columns* of stored rows, which the caller has locked; the first value of each row is its *key*."""
        changes = ", ".join(f"{name} = ?" for name in columns)
        write = _for_each(f"UPDATE {table.name} SET {changes} WHERE {key} = ?")  # noqa: S608  (own names)
        return lambda connection, rows: write(connection, [(*values, row_key) for row_key, *values in rows])

    def hour(self, column: sa.Column[float]) -> sa.ColumnElement[int]:
        """Hours since 1970 of a time in Unix seconds."""
        return sa.cast(column / _HOUR_SECONDS, sa.Integer)  # truncates; in PostgreSQL a cast would round

    one_state: Mapping[str, Any] = MappingProxyType({})  # SQLite needs none: every transaction reads one snapshot
    """Execution options of a transaction whose statements all read the same snapshot."""

    def damage(self, connection: sa.Connection) -> Sequence[str]:
        """Problems that the database finds in its own storage; empty if it has no such check."""
        lines = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [] if lines == ["ok"] else [str(line) for line in lines]


class PostgresDialect:
    """PostgreSQL: many replicas write; each writer sends all rows in one statement, to save round trips."""

    insert = staticmethod(postgresql.insert)

    def among(self, column: sa.Column[str]) -> sa.ColumnElement[bool]:
        return column == sa.any_(sa.bindparam("among", type_=postgresql.ARRAY(sa.Text)))

    def values(self, values: Sequence[str]) -> object:
        return list(values)

    def appender(self, table: sa.Table, columns: Sequence[str]) -> Writer:
        # COPY takes a fifth of the CPU of INSERT, in the client and in the server. No name needs quoting.
        return partial(_copy, f"COPY {table.name} ({', '.join(columns)}) FROM STDIN")

    def upserter(self, table: sa.Table, become: Excluded) -> Writer:
        columns, key = _row_of(table)
        insert = postgresql.insert(table).from_select(columns, sa.select(_given(table, columns)))
        return _as_parameter(insert.on_conflict_do_update(index_elements=key, set_=become(insert.excluded)))

    def updater(self, table: sa.Table, key: str, columns: Sequence[str]) -> Writer:
        given = _given(table, (key, *columns))
        changes = {name: given.c[name] for name in columns}
        return _as_parameter(sa.update(table).where(table.c[key] == given.c[key]).values(changes))

    def hour(self, column: sa.Column[float]) -> sa.ColumnElement[int]:
        return sa.cast(sa.func.floor(column / _HOUR_SECONDS), sa.Integer)

    one_state: Mapping[str, Any] = MappingProxyType({"isolation_level": "REPEATABLE READ"})

    def damage(self, connection: sa.Connection) -> Sequence[str]:  # noqa: ARG002  (amcheck is an extension)
        return []


Dialect = SqliteDialect | PostgresDialect
DIALECTS: Mapping[str, Dialect] = {"sqlite": SqliteDialect(), "postgresql": PostgresDialect()}
"""By SQLAlchemy's name of the dialect."""


def _row_of(table: sa.Table) -> tuple[list[str], Sequence[str]]:
    """The columns of an upserted row, in the table's order, and of its key; no nullable column, no numbered id."""
    columns = [column.name for column in table.columns if not column.nullable and column.autoincrement is not True]
    unique = (each for each in table.constraints if isinstance(each, sa.UniqueConstraint))
    return columns, next(unique, table.primary_key).columns.keys()


def _for_each(text: str) -> Writer:
    """Run *text* with tuples of parameters: converting dictionaries in SQLAlchemy takes longer than the insert."""

    def write(connection: sa.Connection, rows: Rows) -> None:
        if rows:  # with an empty list the driver would run the statement once, without parameters
            connection.exec_driver_sql(text, list(rows))

    return write


def _given(table: sa.Table, columns: Sequence[str]) -> sa.Subquery:
    """Rows of *columns* from one JSON parameter; one array per column would take more than twice as long."""
    rows = sa.func.jsonb_array_elements(sa.cast(sa.bindparam("given", type_=sa.Text), postgresql.JSONB))
    row = rows.table_valued(sa.column("value", postgresql.JSONB), name="given_row").c.value
    values = [sa.cast(row[place].astext, table.c[name].type) for place, name in enumerate(columns)]
    return sa.select(*(value.label(name) for name, value in zip(columns, values, strict=True))).subquery("given")


def _as_parameter(statement: Any) -> Writer:
    def write(connection: sa.Connection, rows: Rows) -> None:
        if rows:
            connection.execute(statement, {"given": _json([*map(_finite, rows)]).decode()})

    return write


def _finite(row: tuple[Any, ...]) -> Sequence[Any]:
    """*row* with infinities as strings, since JSON has none; a version without requests starts at infinity."""
    return row if _INFINITE.isdisjoint(row) else [str(value) if value in _INFINITE else value for value in row]


_INFINITE = frozenset({math.inf, -math.inf})


def _copy(copy: str, connection: sa.Connection, rows: Rows) -> None:
    if not rows:
        return
    import psycopg  # noqa: PLC0415  (an optional dependency)

    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor, cursor.copy(copy) as pipe:
            for row in rows:
                pipe.write_row(row)
    except psycopg.errors.UniqueViolation as error:
        raise RaceLost from error
    except psycopg.Error as error:  # SQLAlchemy does not see the COPY, so raise the error that it would raise
        if driver.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(copy, None, error, psycopg.Error, connection_invalidated=driver.closed) from error
