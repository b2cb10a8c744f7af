"""Reads stored values defensively: corrupt rows, or rows of old releases, are skipped and do not stop the service."""

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
"""Exceptions that readers raise on a corrupt value."""


def readable(table: str, rows: Iterable[Sequence[Any]], read: Callable[[Any], _T]) -> Iterator[_T]:
    """Apply *read* to each of *rows*; rows on which it raises are skipped and logged once."""
    for row in rows:
        try:
            yield read(row)
        except UNREADABLE as error:
            _warn(table, str(row[0]), type(error).__name__)


def text(value: Any) -> str:
    """
    Return *value*; SQLite may have stored bytes instead.

    Raises:
        TypeError: it is not a string.
    """
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def whole(value: Any) -> int:
    """
    Return *value*; SQLite may have stored another type.

    Raises:
        ValueError: it is not a non-negative integer.
    """
    if type(value) is not int or value < 0:
        raise ValueError("not a whole number")
    return value


def real(value: Any) -> float:
    """
    Return *value* as a float, which may be infinite.

    Raises:
        ValueError: it is not a number.
    """
    if type(value) not in {int, float} or value != value:  # noqa: PLR0124  (refuses bool and NaN)
        raise ValueError("not a number")
    return float(value)


def moment(value: Any) -> float:
    """
    Return *value*, a time in Unix seconds within the range of `datetime`.

    Raises:
        ValueError: it is not a number, or out of range.
    """
    if not abs(real(value)) < _LATEST:
        raise ValueError("not a time")
    return float(value)


@lru_cache(maxsize=1_024)  # logs each row once, although it is read every few seconds
def _warn(table: str, row: str, problem: str) -> None:
    _log.warning("ledger.row_skipped", table=table, row=row, problem=problem)
