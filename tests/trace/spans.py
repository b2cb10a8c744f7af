"""Spans with every required field filled in."""

from __future__ import annotations

from typing import Any

from monitor.trace.model import TraceId
from monitor.trace.span import OperationKind, Span

STARTED_AT = 1_795_410_120.0


def a_span(span_id: str = "root", **changes: Any) -> Span:
    """A span of trace `t` that lasts a second; *changes* are its other fields."""
    fields: dict[str, Any] = {
        "trace_id": TraceId("t"),
        "span_id": span_id,
        "started_at": STARTED_AT,
        "kind": OperationKind.AGENT,
        "service": "support-agent",
    } | changes
    return Span(**({"ended_at": fields["started_at"] + 1} | fields))


def a_call(span_id: str, parent: str | None = "root", **changes: Any) -> Span:
    """A call of model `m-1`."""
    return a_span(
        span_id, **({"parent_span_id": parent, "kind": OperationKind.MODEL, "response_model": "m-1"} | changes)
    )


def a_tool_call(span_id: str, parent: str | None = "root", **changes: Any) -> Span:
    """A call of tool `book`."""
    return a_span(span_id, **({"parent_span_id": parent, "kind": OperationKind.TOOL, "tool_name": "book"} | changes))
