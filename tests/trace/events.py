"""Native events with every required field filled in, as a sender would write them."""

from __future__ import annotations

import json
from typing import Any

from monitor.trace.decode import decode
from monitor.trace.model import OutcomeEvent, Trace
from monitor.trace.settings import Limits

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def a_trace_event(**changes: Any) -> dict[str, Any]:
    """The smallest trace event of the contract, with *changes*."""
    return {
        "schema": "cliffwatch.trace/v1",
        "trace_id": TRACE_ID,
        "service": "support-agent",
        "model_version": "gpt-4-0613",
        "started_at": "2026-11-23T05:02:00.123Z",
    } | changes


def a_full_trace_event() -> dict[str, Any]:
    """A trace event with every field of the contract."""
    return a_trace_event(
        environment="staging",
        capability="parallel_function",
        request_id="probe-17",
        ended_at="2026-11-23T05:02:03.400Z",
        request={
            "text": "Book a table for two",
            "messages": 3,
            "tools": [{"name": "book_table", "description": "Books.", "parameters": {"b": 1, "a": [True, None]}}],
            "attributes": {"codebase_scope": 2.0, "language": "en"},
        },
        usage={"input_tokens": 812, "output_tokens": 90, "cost_usd": 0.0041},
        tool_calls=2,
        steps=3,
        budget={"tool_calls": 50, "steps": 9, "tokens": 4000, "seconds": 600},
        outcome={
            "success": False,
            "failure_class": "wrong_tool",
            "score": 0.2,
            "source": "judge",
            "labelled_at": "2026-11-23T05:04:00Z",
        },
    )


def an_outcome_event(**outcome: Any) -> dict[str, Any]:
    """An outcome event of the contract; *outcome* changes the verdict in it."""
    return {
        "schema": "cliffwatch.outcome/v1",
        "trace_id": TRACE_ID,
        "outcome": {"success": True, "source": "human", "labelled_at": "2026-11-23T07:00:00Z"} | outcome,
    }


def as_bytes(event: Any) -> bytes:
    """*event* as the payload of a record."""
    return json.dumps(event).encode()


def decode_native(value: bytes) -> Trace | OutcomeEvent:
    """The one native event that *value* holds."""
    decoded = decode(value, Limits())
    (event,) = (*decoded.traces, *decoded.outcomes)
    return event
