"""Reads the values of attributes as the types that they should have; None if they have another."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from monitor.trace import bounds
from monitor.trace.outcome_policy import HUMAN, JUDGE

TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8

_ESCAPE = re.compile(rb"(?i)\\(?:u(?=d[89ab]..\\ud[c-f]..).{10}|(ud[89a-f]..)|.)", re.DOTALL)
"""An escape of JSON: a pair of surrogates as a whole; a lone surrogate is the group."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_COUNT_DIGITS = 10
_NUMBER = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?")


def read_json(text: str | bytes) -> Any:
    r"""
    The document in *text*. Half a surrogate pair, left where a sender cut a text, is read as U+FFFD.

    >>> read_json(r'["cut \ud83d", "\ud83d\ude00"]') == ["cut \ufffd", "\U0001f600"]
    True

    Raises:
        ValueError: not JSON; the message names a position and never repeats the input.
    """
    try:
        return from_json(text)
    except ValueError as error:
        if "surrogate" not in str(error) and "hex escape" not in str(error):
            raise
    text = text.encode() if isinstance(text, str) else text
    return from_json(_ESCAPE.sub(lambda at: b"\\ufffd" if at[1] else at[0], text))


def hexadecimal_id(value: bytes, size: int) -> str | None:
    """
    *value* in lower-case hexadecimal digits; None unless it has *size* bytes that are not all zero.

    >>> hexadecimal_id(bytes.fromhex("00F067AA0BA902B7"), 8), hexadecimal_id(bytes(8), 8)
    ('00f067aa0ba902b7', None)
    """
    return value.hex() if len(value) == size and value.strip(b"\0") else None


def seconds(nanoseconds: int) -> float | None:
    """Unix *nanoseconds* in seconds; None outside this century."""
    at = nanoseconds / 1e9
    return at if bounds.EARLIEST <= at < bounds.BEFORE else None


def identifier(value: Any) -> str | None:
    """A short text without control characters, or a whole number in digits."""
    if isinstance(value, str):
        return _without_control(value[: bounds.MOST_IDENTIFIER_CHARACTERS])
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


@lru_cache(maxsize=4_096)  # the same names come with every span
def _without_control(text: str) -> str | None:
    return CONTROL.sub("", text) or None


def number(value: Any) -> float | None:
    """*value* if it is a number within `LARGEST_NUMBER`; a bool is not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= bounds.LARGEST_NUMBER:
        return None
    return float(value)


def written_number(text: str) -> float | None:
    """The number in *text* if the whole text is a number as JSON writes it."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _between(least: float, most: float) -> Callable[[Any], float | None]:
    def read(value: Any) -> float | None:
        found = number(value)
        return found if found is not None and least <= found <= most else None

    return read


chance = _between(bounds.LEAST_CHANCE, 1)
"""
A probability from 0.000001 to 1.

>>> chance(0.05), chance(0), chance(1.5), chance(True)
(0.05, None, None, None)
"""

amount = _between(0, bounds.MOST_COUNTED)
"""A number from 0 to `MOST_COUNTED`."""

dollars = _between(0, bounds.MOST_COST_USD)
"""A cost from 0 to a million."""


def count(value: Any) -> int | None:
    """A whole number from 0 to `MOST_COUNTED`, also as digits in a text; decimals are cut off."""
    if type(value) is int:  # nearly always; the type of True is bool
        return value if 0 <= value <= bounds.MOST_COUNTED else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _COUNT_DIGITS:
        value = int(value)
    found = amount(value)
    return None if found is None else int(found)


def annotator(value: Any) -> str | None:
    """The source of a verdict: a human, or a judge for any kind of machine."""
    return (HUMAN if value.upper() == "HUMAN" else JUDGE) if isinstance(value, str) else None
