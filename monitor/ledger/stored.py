"""Rows that an accident or an older version left behind and that cannot be read: no start fails on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import structlog
from backports.zstd import ZstdError
from msgspec import MsgspecError

_log = structlog.get_logger()
_T = TypeVar("_T")

_LATEST = 2.5e11  # the year 9892
UNREADABLE = (ValueError, TypeError, KeyError, OverflowError, RecursionError, MsgspecError, ZstdError)
"""What readers raise at a value that Cliffwatch did not write."""


def readable(table: str, rows: Iterable[Sequence[Any]], read: Callable[[Any], _T]) -> Iterator[_T]:
    """What *read* makes of each of *rows*; passes over those that it cannot read, and logs each of them once."""
    for row in rows:
        try:
            yield read(row)
        except UNREADABLE as error:
            _warn(table, str(row[0]), type(error).__name__)


def text(value: Any) -> str:
    """
    *value*, which SQLite may hold as bytes.

    Raises:
        TypeError: it is not text.
    """
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def whole(value: Any) -> int:
    """
    *value*, which SQLite may have turned into something else.

    Raises:
        ValueError: it is not a whole number from 0 on.
    """
    if type(value) is not int or value < 0:
        raise ValueError("not a whole number")
    return value


def real(value: Any) -> float:
    """
    *value*, which may be infinite.

    Raises:
        ValueError: it is not a number.
    """
    if type(value) not in {int, float} or value != value:  # noqa: PLR0124  (no truth values, no NaN)
        raise ValueError("not a number")
    return float(value)


def moment(value: Any) -> float:
    """
    *value*, Unix seconds that a calendar has.

    Raises:
        ValueError: it is not such a number.
    """
    if not abs(real(value)) < _LATEST:
        raise ValueError("not a time")
    return float(value)


@lru_cache(maxsize=1_024)  # which remembers what was logged: the same rows are read every few seconds
def _warn(table: str, row: str, problem: str) -> None:
    _log.warning("ledger.row_skipped", table=table, row=row, problem=problem)
