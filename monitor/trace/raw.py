"""Spans and events as either encoding of OTLP wrote them, before anybody says what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

Pairs = Iterable[tuple[str, Any]]
"""Attributes by name, each value as its encoding holds it: most are never read."""

ReadValue = Callable[[Any], Any]
"""What a value of `Pairs` is: text, a number, a truth value, lists and objects of them, or None."""


class RawEvent(Struct, frozen=True, gc=False):
    """An event of a span, or a log record; *time_ns* is Unix nanoseconds, 0 where not known."""

    name: str
    time_ns: int
    attributes: Pairs
    trace_id: str = ""


class RawSpan(Struct, frozen=True, gc=False):
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
