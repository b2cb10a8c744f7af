"""Numbers are bounded when they are read, whatever format they came in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitor.trace.assembly import build_traces
from monitor.trace.bounds import (
    BEFORE,
    EARLIEST,
    LARGEST_NUMBER,
    LONGEST_RUN_SECONDS,
    MOST_ATTRIBUTES,
    MOST_COST_USD,
    MOST_COUNTED,
)
from monitor.trace.decode import decode
from monitor.trace.model import InvalidRecord, Trace
from monitor.trace.settings import Limits, OutcomeSettings
from tests.trace.events import a_trace_event
from tests.trace.otlp import STARTED_AT

LARGEST_SUM = 10**9
"""How many of the largest have to fit into a counter of 64 bits."""

_odd_numbers = (
    st.sampled_from(
        [0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30, 10**400, 1.7e308, -1.7e308, 5e-324, 1e999]
    )
    | st.integers()
    | st.floats()
)
_odd_times = st.sampled_from(
    [
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2000-01-01T00:00:00Z",
        "2099-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2026-11-01T00:00:00+14:00",
        "2026-11-01T00:00:00-23:59",
    ]
) | st.datetimes().map(lambda at: at.isoformat() + "Z")


def test_a_billion_of_the_largest_fit_into_a_counter() -> None:
    """No sum of the ledger can pass 2^63: tokens and calls, whole seconds and dollars, and what is left of each."""
    largest = (MOST_COUNTED, int(LONGEST_RUN_SECONDS), MOST_COST_USD, 10**6 - 1, 10**9 - 1)

    assert 2**63 > max(largest) * LARGEST_SUM


def assert_within_bounds(trace: Trace) -> None:
    """Every number of *trace* is one that the ledger and the estimator can add up."""
    usage = trace.usage
    counts = (usage.input_tokens, usage.output_tokens, trace.tool_calls, trace.steps, trace.request.messages)
    assert all(count is None or 0 <= count <= MOST_COUNTED for count in counts)
    assert trace.usage.cost_usd is None or 0 <= trace.usage.cost_usd <= MOST_COST_USD
    assert EARLIEST <= trace.started_at < BEFORE
    assert trace.duration_seconds is None or 0 <= trace.duration_seconds <= LONGEST_RUN_SECONDS
    numbers = [value for value in trace.request.attributes.values() if not isinstance(value, str)]
    assert all(abs(number) <= LARGEST_NUMBER for number in numbers)
    assert len(trace.request.attributes) <= MOST_ATTRIBUTES
    assert trace.outcome is None or trace.outcome.score is None or abs(trace.outcome.score) <= LARGEST_NUMBER


@given(
    st.fixed_dictionaries(
        {"started_at": _odd_times},
        optional={
            "ended_at": _odd_times,
            "tool_calls": _odd_numbers,
            "steps": _odd_numbers,
            "usage": st.fixed_dictionaries(
                {}, optional=dict.fromkeys(("input_tokens", "output_tokens", "cost_usd"), _odd_numbers)
            ),
            "budget": st.fixed_dictionaries(
                {}, optional=dict.fromkeys(("tool_calls", "tokens", "seconds"), _odd_numbers)
            ),
            "request": st.fixed_dictionaries(
                {}, optional={"messages": _odd_numbers, "attributes": st.dictionaries(st.text(), _odd_numbers)}
            ),
            "outcome": st.fixed_dictionaries({"success": st.booleans(), "score": _odd_numbers}),
        },
    )
)
def test_native_event_is_within_bounds_or_refused(odd: dict[str, Any]) -> None:
    """Whatever number stands anywhere in a native event, what is counted of it can be added up."""
    value = json.dumps({**a_trace_event(), **odd}).encode()

    try:
        decoded = decode(value, Limits())
    except InvalidRecord:
        return
    for trace in decoded.traces:
        assert_within_bounds(trace)


_ATTRIBUTES = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "cliffwatch.cost_usd",
    "llm.cost.total",
    "cliffwatch.budget.tokens",
    "cliffwatch.budget.seconds",
    "cliffwatch.request.size",
)


def _value(number: float) -> Mapping[str, Any]:
    return {"intValue": str(number)} if isinstance(number, int) else {"doubleValue": number}


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from(_ATTRIBUTES), _odd_numbers, max_size=7),
            st.sampled_from([0, 1, STARTED_AT, STARTED_AT + 1, STARTED_AT + 10**8, 2**63 // 10**9, 2**64 // 10**9]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_spans_make_a_trace_within_bounds(written: list[tuple[dict[str, float], int]]) -> None:
    """Whatever numbers and times stand in spans, the sums over them are bounded as a single number is."""
    spans = [
        {
            "traceId": "0af7651916cd43dd8448eb211c80319c",
            "spanId": f"{place + 1:016x}",
            **({"parentSpanId": f"{1:016x}"} if place else {}),
            "name": "chat",
            "startTimeUnixNano": str(STARTED_AT * 10**9),
            "endTimeUnixNano": str(ended_at * 10**9),
            "attributes": [
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                {"key": "gen_ai.response.model", "value": {"stringValue": "m-1"}},
                *({"key": name, "value": _value(number)} for name, number in numbers.items()),
            ],
        }
        for place, (numbers, ended_at) in enumerate(written)
    ]
    value = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()

    try:
        decoded = decode(value, Limits())
    except InvalidRecord:
        return
    for trace in build_traces(decoded.spans, OutcomeSettings()):
        assert_within_bounds(trace)


@given(st.dictionaries(st.sampled_from(["value", "traceId", "timestamp", "updatedAt"]), _odd_numbers | _odd_times))
def test_score_is_within_bounds(odd: dict[str, Any]) -> None:
    """A score of Langfuse has a bounded number and an instant of this century, or none."""
    score = {"name": "quality", "traceId": "t", "value": 0.5, "dataType": "BOOLEAN", **odd}

    try:
        decoded = decode(json.dumps(score).encode(), Limits())
    except InvalidRecord:
        return
    for event in decoded.outcomes:
        outcome = event.outcome
        assert outcome.score is None or abs(outcome.score) <= LARGEST_NUMBER
        assert outcome.labelled_at is None or EARLIEST <= outcome.labelled_at < BEFORE


def test_text_of_a_native_event_is_cut() -> None:
    """`max_text_chars` holds for native events as it does for spans."""
    event = {**a_trace_event(), "request": {"text": "x" * 80}}

    (trace,) = decode(json.dumps(event).encode(), Limits(max_text_chars=64)).traces

    assert "x" * 64 == trace.request.text
