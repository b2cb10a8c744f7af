from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st

from monitor.trace.decode import decode
from monitor.trace.model import DropReason, Ignored, InvalidRecord
from monitor.trace.outcome_policy import resolve
from monitor.trace.reader import Decoded
from monitor.trace.settings import Limits, OutcomeSettings
from tests.trace.otlp import STARTED_AT

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def a_span(**changes: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE_ID,
        "spanId": "00f067aa0ba902b7",
        "name": "chat",
        "startTimeUnixNano": f"{STARTED_AT}000000000",
        "endTimeUnixNano": f"{STARTED_AT + 1}000000000",
        "status": {},
        "attributes": [an_attribute("gen_ai.operation.name", stringValue="chat")],
    } | changes


def an_attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def a_request(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def read(document: Any, **limits: int) -> Decoded:
    return decode(json.dumps(document).encode(), Limits(**limits))


def test_span_is_read() -> None:
    """Ids are hexadecimal, times are texts of nanoseconds."""
    (span,) = read(a_request(a_span())).spans

    assert (TRACE_ID, "00f067aa0ba902b7", STARTED_AT, STARTED_AT + 1.0) == (
        span.trace_id,
        span.span_id,
        span.started_at,
        span.ended_at,
    )


def test_numbers_may_be_numbers() -> None:
    """Some writers leave 64-bit integers as numbers."""
    (span,) = read(a_request(a_span(startTimeUnixNano=STARTED_AT * 10**9))).spans

    assert STARTED_AT == span.started_at


@pytest.mark.parametrize("name", ["startTimeUnixNano", "endTimeUnixNano"])
def test_a_time_of_hundreds_of_digits_costs_its_span_alone(name: str) -> None:
    """JSON may write any integer; the whole span beside it is read."""
    decoded = read(a_request(a_span(**{name: 10**400}), a_span(spanId="00f067aa0ba902b8")))

    assert "00f067aa0ba902b8" in {span.span_id for span in decoded.spans}


def test_half_a_character_costs_no_record() -> None:
    """JavaScript and Python write half of a pair where a text was cut within it, in messages within a text too."""
    cut = json.dumps([{"role": "user", "content": "Book \\ \ud83d\ude00 \ud83d"}])
    attributes = [
        *a_span()["attributes"],
        an_attribute("gen_ai.input.messages", stringValue=cut),
        an_attribute("user.id", stringValue="\udc00\ud83d"),
    ]

    (span,) = read(a_request(a_span(attributes=attributes))).spans

    assert ("Book \\ \U0001f600 \ufffd", "\ufffd\ufffd") == (span.text, span.user_id)


def test_ids_are_read_in_any_spelling() -> None:
    """Hexadecimal ids in capitals, and the base64 of general protobuf libraries, are the same ids."""
    capitals = read(a_request(a_span(traceId=TRACE_ID.upper()))).spans[0].trace_id
    base64 = read(a_request(a_span(traceId="S/kvNXezTaajzpKdDg5HNg==", spanId="APBnqgupArc="))).spans[0]

    uuid = read(a_request(a_span(traceId="4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"))).spans[0].trace_id
    bare = read(a_request(a_span(traceId="S_kvNXezTaajzpKdDg5HNg", spanId="APBnqgupArc"))).spans[0]
    assert TRACE_ID == capitals == base64.trace_id == uuid == bare.trace_id
    assert base64.span_id == bare.span_id == "00f067aa0ba902b7"


@pytest.mark.parametrize("code", [2, "STATUS_CODE_ERROR", "2", "Error"])
def test_status_is_read_in_any_spelling(code: Any) -> None:
    """Enums are numbers in OTLP's JSON, and names in protobuf's own."""
    assert read(a_request(a_span(status={"code": code}))).spans[0].error is True


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"intValue": "812"}, 812),
        ({"intValue": 812}, 812),
        ({"intValue": "812.0"}, 812),
        ({"doubleValue": 812.0}, 812),
        ({"doubleValue": "8.12e2"}, 812),
        ({"doubleValue": "NaN"}, None),
        ({"doubleValue": "9e99"}, None),
        ({"doubleValue": 10**400}, None),
        ({"intValue": "9" * 30}, None),
        ({"intValue": 10**400}, None),
        ({"intValue": "--1"}, None),
        ({"intValue": True}, None),
        ({"stringValue": ["812"]}, None),
        ({"boolValue": 1}, None),
        ({"arrayValue": 812}, None),
        ({"kvlistValue": {"values": 1}}, None),
        ({}, None),
        (812, None),
    ],
)
def test_values_of_every_type_are_read_or_left_out(value: Any, expected: int | None) -> None:
    """What has the wrong type counts as absent."""
    attributes = [
        an_attribute("gen_ai.operation.name", stringValue="chat"),
        {"key": "gen_ai.usage.input_tokens", "value": value},
    ]

    assert expected == read(a_request(a_span(attributes=attributes))).spans[0].input_tokens


def test_our_own_json_and_protobufs_own_json_agree() -> None:
    """A request that protobuf's general JSON printer wrote is read alike."""
    from tests.trace.test_otlp_protobuf import a_request as protobuf_request  # noqa: PLC0415

    request = protobuf_request({"name": "root"})

    for keeps_names in (False, True):  # `traceId` or `trace_id`
        text = MessageToJson(request, preserving_proto_field_name=keeps_names)
        assert decode(request.SerializeToString(), Limits()) == decode(text.encode(), Limits())


@pytest.mark.parametrize("signal", ["resourceMetrics", "resource_metrics", "resourceProfiles"])
def test_other_signals_say_nothing(signal: str) -> None:
    """A topic of all signals is no reason to alert."""
    assert Decoded(ignored={Ignored.RECORD_SILENT: 1}) == read({signal: [{}]})


def test_byte_order_mark_is_passed_over() -> None:
    """Some writers on Windows begin a text with one."""
    text = json.dumps(a_request(a_span()))

    assert decode(text.encode("utf-8-sig"), Limits()) == decode(text.encode(), Limits())


def test_broken_spans_are_counted() -> None:
    """A span without ids is counted, and whatever is no object is not there."""
    decoded = read(a_request(a_span(), a_span(traceId="xyz"), None, 7, "x"))

    assert len(decoded.spans) == 1
    assert {Ignored.SPAN_INVALID: 1} == decoded.ignored


def test_more_spans_than_the_limit_are_refused() -> None:
    """The limit itself is still read."""
    request = a_request(*(a_span(spanId=f"{n:016x}") for n in range(1, 4)))

    assert len(read(request, max_spans=3).spans) == 3
    for too_many in (request, {"resourceSpans": [{}] * 3}):
        with pytest.raises(InvalidRecord) as refused:
            read(too_many, max_spans=2)
        assert refused.value.reason is DropReason.TOO_MANY_SPANS


def test_evaluations_in_logs_become_outcomes() -> None:
    """Log records in JSON carry evaluations too."""
    log = {
        "timeUnixNano": f"{STARTED_AT}000000000",
        "eventName": "gen_ai.evaluation.result",
        "traceId": TRACE_ID,
        "attributes": [an_attribute("gen_ai.evaluation.score.label", stringValue="pass")],
    }
    older = {
        **log,
        "eventName": "",
        "attributes": [*log["attributes"], an_attribute("event.name", stringValue=log["eventName"])],
    }

    decoded = read({"resourceLogs": [{"scopeLogs": [{"logRecords": [log, older, {}]}]}]})

    assert [True, True] == [event.outcome.success for event in decoded.outcomes]
    assert {Ignored.LOG_IRRELEVANT: 1} == decoded.ignored


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"doubleValue": 0.05}, 0.05),
        ({"intValue": "1"}, 1.0),
        ({"doubleValue": 0}, None),
        ({"doubleValue": 1.5}, None),
        ({"stringValue": "often"}, None),
    ],
)
def test_an_evaluation_says_how_likely_it_was_asked_for(value: dict[str, Any], expected: float | None) -> None:
    """What is no probability is left aside, and the verdict counts."""
    chance = an_attribute("cliffwatch.outcome.sampling_probability", **value)
    label = an_attribute("gen_ai.evaluation.score.label", stringValue="pass")
    log = {"eventName": "gen_ai.evaluation.result", "traceId": TRACE_ID, "attributes": [label, chance]}

    (event,) = read({"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}).outcomes

    assert (True, expected) == (event.outcome.success, event.outcome.sampling_probability)


def test_verdicts_on_parts_of_a_trace_stand_beside_each_other() -> None:
    """As scores on observations do: a later verdict on another part takes nothing back. A truth value is a verdict."""
    logs = [
        {
            "timeUnixNano": f"{STARTED_AT + second}000000000",
            "eventName": "gen_ai.evaluation.result",
            "traceId": TRACE_ID,
            "spanId": part,
            "attributes": [an_attribute("gen_ai.evaluation.score.value", boolValue=good)],
        }
        for second, (part, good) in enumerate([("0" * 15 + "1", False), ("0" * 15 + "2", True)])
    ]

    told = [event.outcome for event in read({"resourceLogs": [{"scopeLogs": [{"logRecords": logs}]}]}).outcomes]

    assert [False, True] == [outcome.success for outcome in told]
    assert (label := resolve(told, OutcomeSettings())) is not None
    assert not label.success


def test_attribute_named_like_the_key_of_native_events_does_no_harm() -> None:
    """What tells native events apart may occur inside a request of OTLP."""
    attributes = [*a_span()["attributes"], an_attribute("schema", stringValue="schema")]

    assert len(read(a_request(a_span(attributes=attributes))).spans) == 1


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*a_span(), "key", "value", "values", "code", "events", "links", "stringValue", "kvlistValue"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*a_span(), "events", "links"]), _json))
def test_anything_in_the_place_of_anything_is_survived(changes: dict[str, Any]) -> None:
    """Every field of a span may hold any JSON; the span is read or counted, and the whole one beside it is read."""
    decoded = read(a_request(a_span(), a_span(**changes)))

    assert len(decoded.spans) + decoded.ignored.get(Ignored.SPAN_INVALID, 0) == 2
