"""Spans and events as either encoding of OTLP wrote them, before anybody says what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Pairs = Iterable[tuple[str, Any]]
"""Attributes by name; a value is text, a number, a truth value, lists and objects of them, or None where not read."""


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event of a span, or a log record; *time_ns* is Unix nanoseconds, 0 where not known."""

    name: str
    time_ns: int
    attributes: Pairs
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class RawSpan:
    """A span: ids in hexadecimal, times in Unix nanoseconds, 0 where not known; *links* are trace ids."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_ns: int
    end_ns: int
    status_code: int
    attributes: Pairs
    events: Sequence[RawEvent] = ()
    links: Sequence[str] = ()
    status_message: str = ""
