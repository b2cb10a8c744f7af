from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.trace import Tracer

from monitor.trace.decode import decode
from monitor.trace.model import DropReason, Ignored, InvalidRecord, Outcome
from monitor.trace.otlp_protobuf import is_otlp_protobuf
from monitor.trace.reader import Decoded
from monitor.trace.settings import Limits
from tests.trace.otlp import STARTED_AT, as_protobuf, recorded

TRACE_ID = bytes(range(16))


def encoded_length(length: int) -> bytes:
    """A length below 16,384 as a varint of two bytes."""
    return bytes([length & 0x7F | 0x80, length >> 7])


def a_request(*spans: dict[str, Any]) -> ExportTraceServiceRequest:
    """A request with raw *spans*; ids and times are filled in."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number, fields in enumerate(spans):
        whole = {
            "trace_id": TRACE_ID,
            "span_id": bytes([number + 1] * 8),
            "start_time_unix_nano": STARTED_AT * 10**9,
            "end_time_unix_nano": (STARTED_AT + 1) * 10**9,
        }
        scope.spans.add(**(whole | fields))
    return request


def a_log_request(*names: str, trace_id: bytes = TRACE_ID, **fields: Any) -> ExportLogsServiceRequest:
    """A request with a failed evaluation in a log record for each event name."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for name in names:
        log = scope.log_records.add(
            time_unix_nano=STARTED_AT * 10**9, event_name=name, trace_id=trace_id, severity_text="INFO", **fields
        )
        log.body.CopyFrom(AnyValue(string_value="x" * 200))
        log.attributes.add(key="gen_ai.evaluation.name").value.string_value = "correctness"
        log.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = "fail"
    return request


def read(request: Any, **limits: int) -> Decoded:
    return decode(request.SerializeToString(), Limits(**limits))


def reason_of(value: bytes, **limits: int) -> DropReason:
    with pytest.raises(InvalidRecord) as refused:
        decode(value, Limits(**limits))
    return refused.value.reason


def test_spans_of_several_resources_keep_their_service() -> None:
    """A message of the Collector holds spans of many services."""

    def play(tracer: Tracer) -> None:
        tracer.start_span("s").end()

    both = as_protobuf(recorded(play, {"service.name": "a"})) + as_protobuf(recorded(play, {"service.name": "b"}))

    assert ["a", "b"] == [span.service for span in decode(both, Limits()).spans]


def test_head_of_a_schema_registry_is_passed_over() -> None:
    """A zero, the id of the schema, and the first of its messages."""
    value = a_request({}).SerializeToString()

    assert decode(value, Limits()) == decode(b"\0\0\0\1\2\0" + value, Limits())


def test_times_and_ids_are_read() -> None:
    """Times are Unix seconds, ids hexadecimal text."""
    (span,) = read(a_request({"name": "root"})).spans

    assert (STARTED_AT, STARTED_AT + 1.0) == (span.started_at, span.ended_at)
    assert (TRACE_ID.hex(), "01" * 8, None) == (span.trace_id, span.span_id, span.parent_span_id)


def test_span_that_ends_before_it_starts_has_no_length() -> None:
    """A clock that stepped back makes no negative duration."""
    (span,) = read(a_request({"end_time_unix_nano": 1_000_000_000 * 10**9})).spans

    assert STARTED_AT == span.ended_at


def test_running_span_has_no_end() -> None:
    """A span without an end has not ended."""
    (span,) = read(a_request({"end_time_unix_nano": 0})).spans

    assert (None, False) == (span.ended_at, span.is_ended_root)


@pytest.mark.parametrize(
    "broken",
    [{"trace_id": b""}, {"trace_id": bytes(16)}, {"span_id": b"abc"}, {"start_time_unix_nano": 5}],
    ids=["no trace id", "trace id is zero", "short span id", "time long ago"],
)
def test_broken_span_beside_a_whole_one_is_counted(broken: dict[str, Any]) -> None:
    """One bad span does not cost the message."""
    decoded = read(a_request({"name": "good"}, broken))

    assert ["good"] == [span.name for span in decoded.spans]
    assert {Ignored.SPAN_INVALID: 1} == decoded.ignored


def test_request_without_a_whole_span_is_refused() -> None:
    """A message of nothing but broken spans goes to the dead letters."""
    assert reason_of(a_request({"trace_id": b""}).SerializeToString()) is DropReason.FIELD_INVALID


def test_request_without_spans_says_nothing() -> None:
    """An empty request is no error, and is counted."""
    request = ExportTraceServiceRequest()
    request.resource_spans.add().resource.attributes.add(key="service.name").value.string_value = "a"

    assert Decoded(ignored={Ignored.RECORD_SILENT: 1}) == read(request)


def test_evaluations_in_logs_become_outcomes() -> None:
    """Log records carry evaluations of spans that were exported elsewhere; other log records are counted."""
    decoded = read(a_log_request("gen_ai.evaluation.result", "user.clicked"))

    assert [TRACE_ID.hex()] == [event.trace_id for event in decoded.outcomes]
    assert decoded.outcomes[0].outcome == Outcome(
        success=False,
        failure_class="correctness",
        source="judge",
        labelled_at=float(STARTED_AT),
        evaluation="correctness",
    )
    assert {Ignored.LOG_IRRELEVANT: 1} == decoded.ignored


def test_event_name_may_be_an_attribute() -> None:
    """Older log records name their event in an attribute."""
    request = a_log_request("")
    log = request.resource_logs[0].scope_logs[0].log_records[0]
    log.attributes.add(key="event.name").value.string_value = "gen_ai.evaluation.result"

    assert len(read(request).outcomes) == 1


def test_log_may_have_no_time_but_that_of_its_observation() -> None:
    """A log record whose source had no clock is dated by whoever saw it."""
    request = a_log_request("gen_ai.evaluation.result")
    log = request.resource_logs[0].scope_logs[0].log_records[0]
    log.observed_time_unix_nano, log.time_unix_nano = log.time_unix_nano, 0

    assert [STARTED_AT] == [event.outcome.labelled_at for event in read(request).outcomes]


def test_log_may_have_no_time_at_all() -> None:
    """Both times are optional; a verdict counts all the same."""
    request = a_log_request("gen_ai.evaluation.result")
    log = request.resource_logs[0].scope_logs[0].log_records[0]
    log.ClearField("time_unix_nano")
    log.ClearField("observed_time_unix_nano")

    assert [None] == [event.outcome.labelled_at for event in read(request).outcomes]


def test_evaluation_without_a_trace_is_counted() -> None:
    """An evaluation that names no trace cannot be joined."""
    assert {Ignored.EVALUATION_UNLINKED: 1} == read(a_log_request("gen_ai.evaluation.result", trace_id=b"")).ignored


def test_logs_of_the_sdk_are_distinguished_from_traces() -> None:
    """The SDK's own log encoder writes what we read."""
    from opentelemetry.sdk._logs import LoggerProvider  # noqa: PLC0415
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor  # noqa: PLC0415

    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("tests").emit(
        event_name="gen_ai.evaluation.result",
        timestamp=STARTED_AT * 10**9,
        attributes={"gen_ai.evaluation.name": "q", "gen_ai.evaluation.score.label": "pass"},
    )

    decoded = decode(encode_logs(exporter.get_finished_logs()).SerializeToString(), Limits())

    assert {Ignored.EVALUATION_UNLINKED: 1} == decoded.ignored


def test_structured_values_are_read() -> None:
    """Lists and objects inside an attribute are as good as JSON text."""
    request = a_request({"name": "s"})
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
    message = span.attributes.add(key="gen_ai.input.messages").value.array_value.values.add().kvlist_value
    message.values.add(key="role").value.string_value = "user"
    message.values.add(key="content").value.string_value = "Book a table"
    message.values.add(key="bytes").value.bytes_value = b"\xff"

    assert read(request).spans[0].text == "Book a table"


def test_spans_are_counted_before_they_are_parsed() -> None:
    """One span above the limit, and nothing of the message is parsed."""
    request = a_request(*({} for _ in range(6)))
    request.resource_spans.add().scope_spans.add().spans.add()

    assert len(read(request, max_spans=7).spans) == 6
    assert reason_of(request.SerializeToString(), max_spans=6) is DropReason.TOO_MANY_SPANS


@pytest.mark.parametrize("value", [b"\x0a\x00" * 9, b"\x0a\x12" + b"\x12\x00" * 9], ids=["resources", "scopes"])
def test_empty_resources_and_scopes_are_counted_too(value: bytes) -> None:
    """Two bytes each: millions in one record would fill the memory."""
    assert {Ignored.RECORD_SILENT: 1} == decode(value, Limits(max_spans=9)).ignored
    assert reason_of(value, max_spans=8) is DropReason.TOO_MANY_SPANS


def test_parts_of_one_resource_are_merged() -> None:
    """A message that comes in two fields is one message, as every parser of protobuf reads it."""
    request = a_request({})
    request.resource_spans[0].resource.attributes.add(key="service.name").value.string_value = "booking"
    other = ExportTraceServiceRequest()
    other.resource_spans.add().resource.attributes.add(key="host.name").value.string_value = "h1"
    parts = [each.resource_spans[0].SerializeToString() for each in (request, other)]
    value = b"".join(parts)

    decoded = decode(b"\x0a" + encoded_length(len(value)) + value, Limits())

    assert ["booking"] == [span.service for span in decoded.spans]


@pytest.mark.parametrize("value", [b"\x0a\x02\x12\x7f", b"\x0a\x04\x12\x7f\x0a\x00", b"\x0a\x02\x12\x80"])
def test_length_beyond_the_end_is_refused_while_counting(value: bytes) -> None:
    """Spans are counted without trusting the lengths inside."""
    assert reason_of(value, max_spans=1) is DropReason.NOT_PROTOBUF


def test_metrics_say_nothing() -> None:
    """Metrics look alike from afar and say nothing about agents, and a topic of all signals is no reason to alert."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="a" * 16, description="b" * 8)
    metric.gauge.data_points.add(as_int=1)

    assert read(request) == Decoded(ignored={Ignored.RECORD_SILENT: 1})


def test_text_that_is_not_utf8_is_refused() -> None:
    """Protobuf text is UTF-8, or the message is broken."""
    value = a_request({"name": "@@@@"}).SerializeToString().replace(b"@@@@", b"\xff" * 4)

    assert reason_of(value) is DropReason.NOT_PROTOBUF


def test_text_that_is_not_utf8_costs_its_own_span() -> None:
    """Some SDKs cut a text within a character; the other spans of the batch are read."""
    value = a_request({"name": "@@@@"}, {"name": "fine"}).SerializeToString().replace(b"@@@@", b"\xff" * 4)

    decoded = decode(b"".join([value, as_protobuf(recorded(lambda tracer: tracer.start_span("own").end()))]), Limits())

    assert [("fine", None), ("own", "support-agent")] == [(span.name, span.service) for span in decoded.spans]
    assert {Ignored.SPAN_INVALID: 1} == decoded.ignored


@pytest.mark.parametrize("place", ["schema_url", "scope", "resource"])
def test_text_around_the_spans_that_is_not_utf8_costs_no_span(place: str) -> None:
    """A library whose name or schema is cut within a character has its spans read."""
    request = a_request({"name": "fine"})
    resource = request.resource_spans[0]
    if place == "schema_url":
        resource.schema_url = resource.scope_spans[0].schema_url = "@@@@"
    elif place == "scope":
        resource.scope_spans[0].scope.name = "@@@@"
    else:
        resource.resource.attributes.add(key="service.name").value.string_value = "@@@@"

    decoded = decode(request.SerializeToString().replace(b"@@@@", b"\xff" * 4), Limits())

    assert [("fine", None)] == [(span.name, span.service) for span in decoded.spans]


@pytest.mark.parametrize("cut", [1, 2, 3, 40])
def test_message_that_breaks_off_is_refused(cut: int) -> None:
    """A message without its end is not taken for a shorter one."""
    value = a_request({"name": "s"}).SerializeToString()

    assert not is_otlp_protobuf(value[:-cut])
    assert reason_of(value[:-cut]) is DropReason.NOT_PROTOBUF


@pytest.mark.parametrize(
    "value",
    [b"\x0a\x80", b"\x0a" + b"\xff" * 11, b"\x0a\x01", b"\x0b", b"\x0a\x00\x12\x00", b"\x0a\x00\x09\x00", b"\n{}"],
    ids=["open length", "endless length", "beyond the end", "group", "another field", "fixed beyond the end", "JSON"],
)
def test_other_bytes_are_not_taken_for_otlp(value: bytes) -> None:
    """Only resources, end to end, are an OTLP request."""
    assert not is_otlp_protobuf(value)


def test_deeply_nested_value_is_refused() -> None:
    """Nesting beyond the parser's own limit is no message."""
    request = a_request({"name": "s"})
    value = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="gen_ai.input.messages").value
    for _ in range(150):
        value = value.array_value.values.add()

    assert reason_of(request.SerializeToString()) is DropReason.NOT_PROTOBUF
