"""The few statements that SQLite and PostgreSQL do not share; everything else is written once."""

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
"""Writes many rows with one statement that was prepared once."""

Excluded = Callable[[Any], Mapping[str, Any]]
"""What a row that is there becomes, given the row that was to be added (`excluded`)."""


def sums_of(table: sa.Table, names: Iterable[str]) -> Excluded:
    """The columns *names* of both rows, added up."""
    return lambda added: {name: table.c[name] + added[name] for name in names}


_json = Encoder().encode
_HOUR_SECONDS = 3_600.0


class RaceLost(Exception):
    """Another replica inserted one of our rows first: roll back and record the batch again, now seeing its row."""


# Python's driver asks each value of another type than int, float or text whether it can be adapted, and gives it to
# SQLite as it is when there is no adapter. With these it takes a fifth of the time, and half of a whole row's.
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type]  # None, without a call of Python code


class SqliteDialect:
    """SQLite: one writer at a time, statements run in this process."""

    insert = staticmethod(sqlite.insert)
    """The dialect's `insert`, which knows what to do with rows that are there."""

    def among(self, column: sa.Column[str]) -> sa.ColumnElement[bool]:
        """Whether *column* is one of those that `values` made of the parameter `among`, however many they are."""
        # One parameter: spelling out a thousand of them costs more than looking them up.
        return column.in_(sa.select(sa.func.json_each(sa.bindparam("among")).table_valued("value").c.value))

    def values(self, values: Sequence[str]) -> object:
        """The parameter `among`."""
        return json.dumps(values)

    def appender(self, table: sa.Table, columns: Sequence[str]) -> Writer:
        """Adds rows that are not there, in the order given; `RaceLost` where another replica added one since."""
        places = ", ".join("?" * len(columns))
        return _for_each(f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places})")  # noqa: S608  (names of ours)

    def upserter(
        self, table: sa.Table, columns: Sequence[str] = (), *, keys: Sequence[str] = (), become: Excluded
    ) -> Writer:
        """
        Adds rows, or changes those that are there with the same values of *keys*, in the order given.

        Without *columns* the rows have all of the table's, without *keys* those of its primary key tell them apart.
        """
        statement, columns = sqlite.insert(table), columns or table.columns.keys()
        keys = keys or table.primary_key.columns.keys()
        upsert = statement.on_conflict_do_update(index_elements=keys, set_=become(statement.excluded))
        compiled = upsert.compile(dialect=sqlite.dialect(), column_keys=list(columns))
        if tuple(compiled.positiontup or ()) != tuple(columns):
            raise ValueError(f"columns must be in the order of the table: {', '.join(compiled.positiontup or ())}")
        return _for_each(str(compiled))

    def updater(self, table: sa.Table, key: str, columns: Sequence[str]) -> Writer:
        """Changes *columns* of rows that are there and locked; *key* is the first value of a row."""
        changes = ", ".join(f"{name} = ?" for name in columns)
        write = _for_each(f"UPDATE {table.name} SET {changes} WHERE {key} = ?")  # noqa: S608  (names of ours)
        return lambda connection, rows: write(connection, [(*values, found) for found, *values in rows])

    def hour(self, column: sa.Column[float]) -> sa.ColumnElement[int]:
        """Hours since 1970 of Unix seconds."""
        return sa.cast(column / _HOUR_SECONDS, sa.Integer)  # which cuts, where PostgreSQL rounds

    one_state: Mapping[str, Any] = MappingProxyType({})  # as every transaction does
    """Execution options of a transaction whose statements all see one state."""

    def damage(self, connection: sa.Connection) -> Sequence[str]:
        """What the database finds wrong with its own storage; empty where it has no such check."""
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return [] if found == ["ok"] else [str(line) for line in found]


class PostgresDialect:
    """PostgreSQL: many replicas; a statement for each row would cost more than the row."""

    insert = staticmethod(postgresql.insert)

    def among(self, column: sa.Column[str]) -> sa.ColumnElement[bool]:
        return column == sa.any_(sa.bindparam("among", type_=postgresql.ARRAY(sa.Text)))

    def values(self, values: Sequence[str]) -> object:
        return list(values)

    def appender(self, table: sa.Table, columns: Sequence[str]) -> Writer:
        # A fifth of the CPU of INSERT with its parameters, on either side of the wire. No name is a keyword.
        return partial(_copy, f"COPY {table.name} ({', '.join(columns)}) FROM STDIN")

    def upserter(
        self, table: sa.Table, columns: Sequence[str] = (), *, keys: Sequence[str] = (), become: Excluded
    ) -> Writer:
        statement, columns = postgresql.insert(table), columns or table.columns.keys()
        keys = keys or table.primary_key.columns.keys()
        insert = statement.from_select(columns, sa.select(_given(table, columns)))
        return _as_parameter(insert.on_conflict_do_update(index_elements=keys, set_=become(insert.excluded)))

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
"""How one database takes many values at once, and what keeps replicas apart."""

DIALECTS: Mapping[str, Dialect] = {"sqlite": SqliteDialect(), "postgresql": PostgresDialect()}
"""By the name that SQLAlchemy gives the database."""


def _for_each(text: str) -> Writer:
    """The statement *text*, run with tuples: SQLAlchemy's way from a dictionary costs more than the insert."""

    def write(connection: sa.Connection, rows: Rows) -> None:
        if rows:  # an empty list would run once, with nothing bound
            connection.exec_driver_sql(text, list(rows))

    return write


def _given(table: sa.Table, columns: Sequence[str]) -> sa.Subquery:
    """Rows of *columns* in the order of one parameter; an array for each column costs more than twice as much."""
    row = sa.func.jsonb_array_elements(sa.cast(sa.bindparam("given", type_=sa.Text), postgresql.JSONB))
    each = row.table_valued(sa.column("value", postgresql.JSONB), name="given_row").c.value
    values = [sa.cast(each[place].astext, table.c[name].type) for place, name in enumerate(columns)]
    return sa.select(*(value.label(name) for name, value in zip(columns, values, strict=True))).subquery("given")


def _as_parameter(statement: Any) -> Writer:
    def write(connection: sa.Connection, rows: Rows) -> None:
        if rows:
            connection.execute(statement, {"given": _json([*map(_finite, rows)]).decode()})

    return write


def _finite(row: tuple[Any, ...]) -> Sequence[Any]:
    """*row* for JSON, which knows no infinity but as a word: the start of a version of which no request came yet."""
    return row if _INFINITE.isdisjoint(row) else [str(value) if value in _INFINITE else value for value in row]


_INFINITE = frozenset({math.inf, -math.inf})


def _copy(copy: str, connection: sa.Connection, rows: Rows) -> None:
    if not rows:
        return
    import psycopg  # noqa: PLC0415  (an extra, there where PostgreSQL is)

    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor, cursor.copy(copy) as pipe:
            for row in rows:
                pipe.write_row(row)
    except psycopg.errors.UniqueViolation as error:
        raise RaceLost from error
    except psycopg.Error as error:  # SQLAlchemy knows nothing of COPY, so raise what it would raise
        if driver.closed:
            connection.invalidate(error)
        raise DBAPIError.instance(copy, None, error, psycopg.Error, connection_invalidated=driver.closed) from error
