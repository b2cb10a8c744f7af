from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.trace.bounds import LARGEST_NUMBER, MOST_COUNTED
from monitor.trace.model import (
    Budget,
    DropReason,
    InvalidRecord,
    Outcome,
    OutcomeEvent,
    Request,
    Tool,
    Trace,
    Usage,
)
from tests.trace.events import TRACE_ID, a_full_trace_event, a_trace_event, an_outcome_event, as_bytes, decode_native

SECRET = "s3cr3t-text"


def reason_of(event: Any) -> DropReason:
    with pytest.raises(InvalidRecord) as refused:
        decode_native(event if isinstance(event, bytes) else as_bytes(event))
    return refused.value.reason


def test_full_event_is_read_whole() -> None:
    """Every field of the contract arrives in the trace."""
    decoded = decode_native(as_bytes(a_full_trace_event()))

    assert decoded == Trace(
        trace_id=TRACE_ID,
        service="support-agent",
        environment="staging",
        model_version="gpt-4-0613",
        request=Request(
            capability="parallel_function",
            request_id="probe-17",
            text="Book a table for two",
            messages=3,
            tools=(Tool("book_table", "Books.", '{"a": [true, null], "b": 1}'),),
            attributes={"codebase_scope": 2.0, "language": "en"},
        ),
        started_at=1795410120.123,
        ended_at=1795410123.4,
        usage=Usage(812, 90, 0.0041),
        tool_calls=2,
        steps=3,
        budget=Budget(tool_calls=50, steps=9, tokens=4000, seconds=600.0),
        outcome=Outcome(success=False, failure_class="wrong_tool", score=0.2, source="judge", labelled_at=1795410240.0),
    )


def test_smallest_event_gets_the_defaults() -> None:
    """What the sender leaves out is production, unclassified, and otherwise not known."""
    decoded = decode_native(as_bytes(a_trace_event()))

    assert decoded == Trace(
        trace_id=TRACE_ID,
        service="support-agent",
        environment="production",
        model_version="gpt-4-0613",
        request=Request(capability="unclassified"),
        started_at=1795410120.123,
    )


def test_outcome_event_is_read() -> None:
    """A verdict that travels on its own keeps its source and its time."""
    decoded = decode_native(as_bytes(an_outcome_event()))

    assert OutcomeEvent(TRACE_ID, Outcome(success=True, source="human", labelled_at=1795417200.0)) == decoded


def test_success_has_no_failure_class() -> None:
    """A failure class beside a success is left out."""
    decoded = decode_native(as_bytes(an_outcome_event(success=True, failure_class="wrong_tool")))

    assert isinstance(decoded, OutcomeEvent)
    assert decoded.outcome.failure_class is None


@pytest.mark.parametrize(("written", "read_as"), [("HUMAN", "human"), ("Judge", "judge"), ("MyRater", "MyRater")])
def test_a_known_source_may_be_in_capitals(written: str, read_as: str) -> None:
    """A person's verdict must not rank behind a judge's for its spelling; a name of one's own stays."""
    decoded = decode_native(as_bytes(an_outcome_event(source=written)))

    assert isinstance(decoded, OutcomeEvent)
    assert read_as == decoded.outcome.source


def test_null_is_absent_everywhere() -> None:
    """Serialisers write null for what they do not know; it is no unknown field either."""
    optional = a_full_trace_event().keys() - {"schema", "trace_id", "service", "model_version", "started_at"}
    event = a_full_trace_event() | dict.fromkeys(optional, None)

    read = decode_native(as_bytes(event))

    assert isinstance(read, Trace)
    assert ("production", Usage(), 0) == (read.environment, read.usage, read.unknown_fields)

    tool = {"name": "t", "description": None, "parameters": None}
    parts = decode_native(as_bytes(a_trace_event(request={"tools": [tool], "attributes": {"a": None, "b": True}})))
    assert isinstance(parts, Trace)
    assert ((Tool("t", "", "{}"),), {"b": 1.0}) == (parts.request.tools, parts.request.attributes)


def test_half_a_character_costs_no_event() -> None:
    """Of a text that was cut within one, the rest is read."""
    read = decode_native(as_bytes(a_trace_event(request={"text": "Book \ud83d"})))

    assert isinstance(read, Trace)
    assert "Book \ufffd" == read.request.text


def test_unknown_fields_are_counted_at_every_level() -> None:
    """Fields that the contract does not name are ignored, and their number is kept."""
    event = a_full_trace_event() | {"colour": "red"}
    event["request"]["temperature"] = 0.2
    event["usage"]["cached_tokens"] = 1
    event["budget"]["dollars"] = 2
    event["outcome"]["judge"] = "j"

    assert decode_native(as_bytes(event)).unknown_fields == 5
    assert decode_native(as_bytes(an_outcome_event(judge="j") | {"colour": "red"})).unknown_fields == 2


@pytest.mark.parametrize(
    ("reason", "event"),
    [
        pytest.param(DropReason.NOT_JSON, b"{", id="text breaks off"),
        pytest.param(DropReason.NOT_JSON, b"hello", id="no JSON at all"),
        pytest.param(DropReason.NOT_JSON, b'{"schema": "\\ud80"}', id="an escape breaks off"),
        pytest.param(DropReason.NOT_JSON, as_bytes(a_trace_event(x=0))[:-2] + b"1" * 5000 + b"}", id="endless integer"),
        pytest.param(DropReason.NOT_UTF8, b'{"schema": "\xff"}', id="text is not UTF-8"),
        pytest.param(DropReason.TOO_DEEP, b'{"schema": ' + b"[" * 5000 + b"]" * 5000 + b"}", id="parser gives up"),
        pytest.param(DropReason.SCHEMA_UNKNOWN, b"null", id="not an object"),
        pytest.param(DropReason.SCHEMA_UNKNOWN, b"[]", id="an array"),
        pytest.param(DropReason.SCHEMA_UNKNOWN, {}, id="no schema"),
        pytest.param(DropReason.SCHEMA_UNKNOWN, a_trace_event(schema="cliffwatch.trace/v9"), id="another schema"),
        pytest.param(DropReason.SCHEMA_UNKNOWN, a_trace_event(schema={}), id="schema is no text"),
        pytest.param(DropReason.NOT_FINITE, an_outcome_event(score=float("nan")), id="score is NaN"),
        pytest.param(DropReason.NOT_FINITE, a_trace_event(budget={"seconds": float("inf")}), id="endless budget"),
        pytest.param(
            DropReason.NOT_FINITE, a_trace_event(request={"attributes": {"a": float("-inf")}}), id="attribute"
        ),
        pytest.param(
            DropReason.NOT_FINITE,
            a_trace_event(request={"tools": [{"name": "t", "parameters": {"a": [float("nan")]}}]}),
            id="NaN inside a tool's parameters",
        ),
        pytest.param(
            DropReason.NOT_FINITE,
            as_bytes(a_trace_event(request={"tools": [{"name": "t", "parameters": {"a": 7}}]})).replace(
                b"7}", b"1e999}"
            ),
            id="number too large for a float inside a tool's parameters",
        ),
        pytest.param(DropReason.NOT_FINITE, a_trace_event(extra={"a": float("nan")}), id="NaN in an unknown field"),
        pytest.param(DropReason.FIELD_MISSING, {"schema": "cliffwatch.outcome/v1"}, id="nothing but the schema"),
        pytest.param(DropReason.FIELD_MISSING, an_outcome_event() | {"outcome": {}}, id="outcome says nothing"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(trace_id=""), id="empty trace id"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(trace_id=7), id="trace id is a number"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(trace_id="a\x00b"), id="control character in trace id"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(steps=-1), id="negative count"),
        pytest.param(DropReason.FIELD_INVALID, an_outcome_event(sampling_probability=1e-200), id="hardly ever sampled"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(steps=10**30), id="absurd count"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(request=[]), id="request is a list"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(started_at="2026-11-23T05:02:00"), id="time without zone"),
        pytest.param(DropReason.FIELD_INVALID, a_trace_event(started_at="1970-01-01T00:00:00Z"), id="time long ago"),
        pytest.param(
            DropReason.FIELD_INVALID, a_trace_event(ended_at="2026-11-23T05:01:00Z"), id="ends before it starts"
        ),
        pytest.param(
            DropReason.FIELD_INVALID,
            a_trace_event(request={"attributes": {str(i): 0 for i in range(65)}}),
            id="too many attributes",
        ),
        pytest.param(DropReason.LABEL_INVALID, a_trace_event(service='a"} 1\n'), id="service would break a metric"),
        pytest.param(DropReason.LABEL_INVALID, a_trace_event(model_version="m" * 129), id="endless model version"),
        pytest.param(DropReason.LABEL_INVALID, a_trace_event(environment=""), id="empty environment"),
        pytest.param(DropReason.LABEL_INVALID, a_trace_event(capability="a b"), id="space in a capability"),
        pytest.param(DropReason.LABEL_INVALID, an_outcome_event(success=False, failure_class="é"), id="failure class"),
        pytest.param(DropReason.LABEL_INVALID, an_outcome_event(source="-"), id="source"),
    ],
)
def test_bad_event_is_refused_with_its_reason(reason: DropReason, event: Any) -> None:
    """Each kind of bad event has a reason of its own."""
    assert reason_of(event) == reason


@pytest.mark.parametrize("name", ["trace_id", "service", "model_version", "started_at"])
def test_required_field_is_named_when_missing(name: str) -> None:
    """The detail names the field that the sender forgot."""
    event = a_trace_event()
    del event[name]

    with pytest.raises(InvalidRecord, match=rf"^field_missing: {name}: ") as refused:
        decode_native(as_bytes(event))

    assert refused.value.reason is DropReason.FIELD_MISSING


def test_text_may_speak_of_nan() -> None:
    """The words NaN and Infinity inside a text are no numbers."""
    decoded = decode_native(as_bytes(a_trace_event(request={"text": "Why is it NaN and not -Infinity?"})))

    assert isinstance(decoded, Trace)
    assert decoded.request.text == "Why is it NaN and not -Infinity?"


@pytest.mark.parametrize(
    "event",
    [
        a_trace_event(schema=SECRET),
        a_trace_event(schema={SECRET: SECRET}),
        a_trace_event(service=SECRET + "\n"),
        a_trace_event(trace_id=SECRET * 100),
        a_trace_event(started_at=SECRET),
        a_trace_event(steps=SECRET),
        a_trace_event(request=SECRET),
        a_trace_event(request={"text": [SECRET]}),
        a_trace_event(request={"attributes": {SECRET: [SECRET]}}),
        a_trace_event(request={"attributes": {SECRET: SECRET * 100}}),
        a_trace_event(request={"attributes": {SECRET * 100: 1}}),
        a_trace_event(request={"tools": [{"name": SECRET, "parameters": SECRET}]}),
        a_trace_event(request={"tools": [{"name": "t", "parameters": {SECRET: float("nan")}}]}),
        a_trace_event(request={"tools": {SECRET: SECRET}}),
        a_trace_event(**{SECRET: float("nan")}),
        an_outcome_event(success=SECRET),
        an_outcome_event(score=SECRET),
        as_bytes(a_trace_event(service=SECRET))[:-3],
        SECRET.encode(),
        b'{"' + SECRET.encode() + b'": \xff}',
    ],
)
def test_refusal_never_repeats_the_sender(event: Any) -> None:
    """Neither the detail nor the chain of causes holds text of the payload: both may be logged."""
    with pytest.raises(InvalidRecord) as refused:
        decode_native(event if isinstance(event, bytes) else as_bytes(event))

    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__


_labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,40}", fullmatch=True)
_counts = st.integers(0, MOST_COUNTED)
_instants = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
_numbers = st.floats(-LARGEST_NUMBER, LARGEST_NUMBER)
_texts = st.text(st.characters(codec="utf-8"))
_json = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


valid_outcomes = st.fixed_dictionaries(
    {"success": st.booleans()},
    optional={
        "failure_class": _labels,
        "score": _numbers,
        "source": _labels,
        "labelled_at": _instants.map(datetime.isoformat),
    },
)
valid_traces = st.fixed_dictionaries(
    {
        "schema": st.just("cliffwatch.trace/v1"),
        "trace_id": st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=60),
        "service": _labels,
        "model_version": _labels,
        "started_at": _instants.map(datetime.isoformat),
    },
    optional={
        "environment": _labels,
        "capability": _labels,
        "request_id": _labels,
        "request": optional(
            text=_texts,
            messages=_counts,
            tools=st.lists(
                st.fixed_dictionaries(
                    {"name": _labels},
                    optional={"description": _texts, "parameters": st.dictionaries(_texts, _json, max_size=3)},
                ),
                max_size=3,
            ),
            attributes=st.dictionaries(
                st.text(st.characters(codec="utf-8"), max_size=40), _numbers | _labels, max_size=4
            ),
        ),
        "usage": optional(input_tokens=_counts, output_tokens=_counts, cost_usd=st.floats(0, 1e6)),
        "tool_calls": _counts,
        "steps": _counts,
        "budget": optional(tool_calls=_counts, steps=_counts, tokens=_counts, seconds=st.floats(0, 1e9)),
        "outcome": valid_outcomes,
    },
)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _same(part: dict[str, Any], decoded: object, read: Callable[[Any], Any] = lambda value: value) -> bool:
    return all(read(value) == getattr(decoded, name) for name, value in part.items())


@given(valid_traces)
def test_valid_trace_is_read_back_as_it_was_written(event: dict[str, Any]) -> None:
    """Whatever a sender writes within the contract comes out unchanged."""
    decoded = decode_native(as_bytes(event))

    assert isinstance(decoded, Trace)
    assert (event["trace_id"], event["service"], event["model_version"]) == (
        decoded.trace_id,
        decoded.service,
        decoded.model_version,
    )
    assert _seconds(event["started_at"]) == decoded.started_at
    assert event.get("environment", "production") == decoded.environment
    assert event.get("capability", "unclassified") == decoded.request.capability
    assert event.get("request_id") == decoded.request.request_id
    request = event.get("request", {})
    assert (request.get("text"), request.get("messages")) == (decoded.request.text, decoded.request.messages)
    assert request.get("attributes", {}) == decoded.request.attributes
    assert [tool["name"] for tool in request.get("tools", [])] == [tool.name for tool in decoded.request.tools]
    assert _same(event.get("usage", {}), decoded.usage)
    assert _same(event.get("budget", {}), decoded.budget)
    assert (event.get("tool_calls"), event.get("steps")) == (decoded.tool_calls, decoded.steps)
    assert ("outcome" in event) == (decoded.outcome is not None)
    assert decoded.unknown_fields == 0


@given(valid_outcomes)
def test_valid_outcome_is_read_back_as_it_was_written(outcome: dict[str, Any]) -> None:
    """A verdict comes out as the judge wrote it."""
    event = {"schema": "cliffwatch.outcome/v1", "trace_id": TRACE_ID, "outcome": outcome}

    decoded = decode_native(as_bytes(event))

    assert decoded == OutcomeEvent(
        TRACE_ID,
        Outcome(
            success=outcome["success"],
            failure_class=None if outcome["success"] else outcome.get("failure_class"),
            score=outcome.get("score"),
            source=outcome.get("source", "reported"),
            labelled_at=_seconds(outcome["labelled_at"]) if "labelled_at" in outcome else None,
        ),
    )
