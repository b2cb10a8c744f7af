"""What is read plainly is what the contract reads, and nothing that the contract refuses is read at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.trace.model import InvalidRecord, OutcomeEvent, Trace
from monitor.trace.native import decode_native
from monitor.trace.native_plain import read_plain
from tests.trace.events import a_full_trace_event, a_trace_event, an_outcome_event, as_bytes

MAX_DEPTH = 64


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(a_trace_event(), id="the least"),
        pytest.param(a_full_trace_event(), id="every field"),
        pytest.param(an_outcome_event(), id="an outcome"),
        pytest.param(a_trace_event(request_id=None, ended_at=None, tool_calls=None, outcome=None), id="nulls"),
        pytest.param(a_trace_event(ended_at="2026-11-25T10:00:00+02:00"), id="another time zone"),
        pytest.param(a_trace_event(request={"text": 'said "NaN" and "Infinity"'}), id="words in a text"),
        pytest.param(a_trace_event(usage={}, budget={}, request={}), id="empty parts"),
    ],
)
def test_plain_events_are_read_as_the_contract_reads_them(event: dict[str, Any]) -> None:
    """The whole event, field by field, with every default."""
    value = as_bytes(event)

    assert decode_native(value) == read_plain(value, MAX_DEPTH)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(as_bytes(a_trace_event(colour="red")), id="a field that is to be counted"),
        pytest.param(as_bytes(a_trace_event(usage={"reasoning_tokens": 3})), id="an unknown field below"),
        pytest.param(as_bytes(a_trace_event(steps="3")), id="a number in quotes"),
        pytest.param(as_bytes(a_trace_event(started_at=1795410120)), id="a time that is a number"),
        pytest.param(as_bytes(a_trace_event(started_at="2026-11-25T10:00:00")), id="a time without a zone"),
        pytest.param(as_bytes(a_trace_event(started_at="1999-12-31T23:59:59Z")), id="a time before all runs"),
        pytest.param(as_bytes(a_trace_event(ended_at="2026-01-01T00:00:00Z")), id="an end before the start"),
        pytest.param(as_bytes(a_trace_event(service="sp ace")), id="a bad label"),
        pytest.param(as_bytes(a_trace_event(service="line\n")), id="a label with a line feed"),
        pytest.param(as_bytes(a_trace_event(service="a" * 129)), id="a long label"),
        pytest.param(as_bytes(a_trace_event(trace_id="")), id="no id"),
        pytest.param(as_bytes(a_trace_event(trace_id="a\u0000b")), id="a control character in an id"),
        pytest.param(as_bytes(a_trace_event(trace_id="a" * 257)), id="a long id"),
        pytest.param(as_bytes(a_trace_event(request={"attributes": {"n" * 129: 1}})), id="a long name"),
        pytest.param(as_bytes(a_trace_event(request={"attributes": {str(n): n for n in range(65)}})), id="many"),
        pytest.param(as_bytes(a_trace_event(request={"tools": [{"description": "no name"}]})), id="a bad tool"),
        pytest.param(as_bytes(a_trace_event(request={"tools": None})), id="null for tools"),
        pytest.param(
            as_bytes(a_trace_event(request={"tools": [{"name": "t", "parameters": {"a": 0}}]})).replace(b"0}", b"NaN}"),
            id="no number in a schema",
        ),
        pytest.param(
            as_bytes(a_trace_event(request={"tools": [{"name": "t", "more": 0}]})).replace(b"0}", b"NaN}"),
            id="no number in what nobody knows",
        ),
        pytest.param(as_bytes(a_trace_event(usage={"cost_usd": 1})).replace(b": 1}", b": 1e999}"), id="infinite"),
        pytest.param(
            as_bytes(
                a_trace_event(
                    request={"tools": [{"name": "t", "parameters": json.loads('{"a":' * 70 + "1" + "}" * 70)}]}
                )
            ),
            id="too deep",
        ),
        pytest.param(b'{"schema": "cliffwatch.trace/v1", "request": {"tools": ' + b"[" * 100_000, id="a bomb"),
        pytest.param(b'{"schema": "cliffwatch.trace/v2"}', id="another schema"),
        pytest.param(as_bytes(a_trace_event()).replace(b"support", b"supp\xff"), id="not UTF-8"),
        pytest.param(as_bytes(a_trace_event()) + b"}", id="something behind it"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_odd_is_left_to_the_contract(value: bytes) -> None:
    """It says what is wrong, or reads it all the same."""
    assert read_plain(value, MAX_DEPTH) is None


NAMES = st.sampled_from(["support-agent", "a/b:c@d+e", "x" * 128, "x" * 129, "-x", "é", "", "a b"])
COUNTS = st.sampled_from([0, 3, 10**12, 10**12 + 1, -1, 2.0, 2.5, "3", True, None, 10**30])
NUMBERS = st.one_of(st.floats(allow_nan=False), st.sampled_from([0, 1, -1, 10**20, 1_000_001, "1.5", "x", True, None]))
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(["\ud800", "a\u0085b", "a\u200bb", "\x7f", "\n", "x" * 300]))
INSTANTS = st.sampled_from(
    [
        "2026-11-25T10:00:00Z",
        "2026-11-25T10:00:00.123456+05:30",
        "2026-11-25t10:00:00z",
        "2026-11-25 10:00:00Z",
        "2026-11-25T10:00Z",
        "2026-11-25T10:00:00,5Z",
        "2026-11-25T10:00:00-00:00",
        "2026-11-25T24:00:00Z",
        "2026-11-25T23:59:60Z",
        "2026-11-25",
        "20261125T100000Z",
        "2100-01-01T00:00:00Z",
        "2099-12-31T23:59:59.999999Z",
        "1795410120",
        1795410120,
        None,
    ]
)
TOOLS = st.one_of(
    st.lists(
        st.fixed_dictionaries(
            {"name": TEXTS},
            optional={
                "description": TEXTS,
                "parameters": st.dictionaries(st.text(max_size=3), NUMBERS),
                "more": NUMBERS,
            },
        ),
        max_size=2,
    ),
    st.sampled_from([{}, "t", None]),
)
OUTCOMES = st.fixed_dictionaries(
    {"success": st.sampled_from([True, False, 1, "yes", None])},
    optional={"failure_class": st.none() | NAMES, "score": NUMBERS, "source": NAMES, "labelled_at": INSTANTS},
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | TEXTS,
        "messages": COUNTS,
        "tools": TOOLS,
        "attributes": st.dictionaries(TEXTS, NUMBERS | TEXTS, max_size=3),
    },
)
PARTS = {
    "environment": NAMES,
    "capability": NAMES,
    "request_id": st.none() | TEXTS,
    "ended_at": INSTANTS,
    "request": st.none() | REQUESTS,
    "usage": st.fixed_dictionaries({}, optional={"input_tokens": COUNTS, "output_tokens": COUNTS, "cost_usd": NUMBERS}),
    "tool_calls": COUNTS,
    "steps": COUNTS,
    "budget": st.fixed_dictionaries({}, optional={"tool_calls": COUNTS, "tokens": COUNTS, "seconds": NUMBERS}),
    "outcome": st.none() | OUTCOMES,
    "unknown": NUMBERS,
}


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An event of which up to three parts are anything from usual to impossible."""
    chosen = draw(st.lists(st.sampled_from(sorted(PARTS)), max_size=3, unique=True))
    parts = {name: draw(PARTS[name]) for name in chosen}
    if draw(st.booleans()):
        return as_bytes(a_trace_event(**({"started_at": "2026-11-25T10:00:00Z"} | parts)))
    return as_bytes(an_outcome_event(**draw(OUTCOMES)))


def by_contract(value: bytes) -> Trace | OutcomeEvent | None:
    """What the contract reads; None where it refuses."""
    try:
        return decode_native(value)
    except InvalidRecord:
        return None


@settings(max_examples=1_000, deadline=None)
@given(events())
def test_nothing_is_read_otherwise_than_by_the_contract(value: bytes) -> None:
    """Whatever is read plainly, the contract reads, and the very same."""
    plain = read_plain(value, MAX_DEPTH)

    assert plain is None or by_contract(value) == plain
