"""OTLP in protobuf, as the OpenTelemetry Collector's Kafka exporter writes it by default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from monitor.trace.decoded import Decoded
from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.reader import DecodeOptions, Pairs, RawEvent, RawSpan, Reader
from monitor.trace.semconv import EVENT_NAME, EVENTS
from monitor.trace.settings import Limits

_RESOURCE_FIELD, _SCOPES_FIELD, _LEAVES_FIELD = 1, 2, 2
_RESOURCE_TAG = 0x0A  # field 1, a message: the first byte of every request that is not empty
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_SMALLEST_LEAF_BYTES = 2
_LONGEST_VARINT_BYTES = 10


def is_otlp_protobuf(value: bytes) -> bool:
    """Whether *value* is built like an OTLP request: nothing but resources, end to end."""
    if value[0] != _RESOURCE_TAG:
        return False
    try:
        return all(number == _RESOURCE_FIELD for number, _, _ in _messages_in(value, 0, len(value)))
    except _MalformedError:
        return False


def decode_protobuf(value: bytes, limits: Limits, options: DecodeOptions) -> Decoded:
    """
    What an `ExportTraceServiceRequest` or `ExportLogsServiceRequest` says; the two are told apart by what is in them.

    Raises:
        InvalidRecord: neither of them, more spans than *limits* allow, or not one span or log record that is whole.
    """
    if _has_more_leaves_than(limits.max_spans, value):
        raise InvalidRecord(DropReason.TOO_MANY_SPANS, f"at most {limits.max_spans} are read")
    reader = Reader(options, limits, _value)
    # A log record that is read as a span has no ids, and a span that is read as a log record no time: the field
    # numbers are the same, the types are not.
    traces = _parsed(ExportTraceServiceRequest, value)
    if traces is not None and any(_is_whole_span(span) for part in traces.resource_spans for span in _spans(part)):
        _read_traces(traces, reader)
        return reader.decoded()
    logs = _parsed(ExportLogsServiceRequest, value)
    if logs is not None and any(_is_whole_log(log) for part in logs.resource_logs for log in _logs(part)):
        _read_logs(logs, reader)
        return reader.decoded()
    if traces is None and logs is None:
        raise InvalidRecord(DropReason.NOT_PROTOBUF, "neither traces nor logs of OTLP")
    if _has_more_leaves_than(0, value):
        raise InvalidRecord(DropReason.FIELD_INVALID, "no span has ids and a start, no log record a time")
    return reader.decoded()


_Request = TypeVar("_Request", bound=Message)


def _parsed(kind: type[_Request], value: bytes) -> _Request | None:
    request = kind()
    try:
        request.ParseFromString(value)
    except DecodeError:
        return None
    return request


def _spans(resource: Any) -> Iterator[ProtoSpan]:
    for scope in resource.scope_spans:
        yield from scope.spans


def _logs(resource: Any) -> Iterator[LogRecord]:
    for scope in resource.scope_logs:
        yield from scope.log_records


def _is_whole_span(span: ProtoSpan) -> bool:
    return (
        len(span.trace_id) == _TRACE_ID_BYTES and len(span.span_id) == _SPAN_ID_BYTES and span.start_time_unix_nano > 0
    )


def _is_whole_log(log: LogRecord) -> bool:
    return log.time_unix_nano > 0 or log.observed_time_unix_nano > 0


def _read_traces(request: ExportTraceServiceRequest, reader: Reader) -> None:
    for resource in request.resource_spans:
        reader.enter_resource(_pairs(resource.resource.attributes))
        for span in _spans(resource):
            reader.add_span(_raw_span(span))


def _read_logs(request: ExportLogsServiceRequest, reader: Reader) -> None:
    for resource in request.resource_logs:
        reader.enter_resource(_pairs(resource.resource.attributes))
        for log in _logs(resource):
            reader.add_log(
                RawEvent(
                    name=log.event_name or _event_name(log.attributes),
                    time_ns=log.time_unix_nano or log.observed_time_unix_nano,
                    attributes=_pairs(log.attributes),
                    trace_id=log.trace_id.hex(),
                )
            )


def _raw_span(span: ProtoSpan) -> RawSpan:
    return RawSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status_code=span.status.code,
        attributes=_pairs(span.attributes),
        events=[
            RawEvent(event.name, event.time_unix_nano, _pairs(event.attributes))
            for event in span.events
            if event.name in EVENTS
        ],
        links=[link.trace_id.hex() for link in span.links],
        status_message=span.status.message,
    )


def _event_name(attributes: Iterable[KeyValue]) -> str:
    return next((pair.value.string_value for pair in attributes if pair.key == EVENT_NAME), "")


def _pairs(attributes: Iterable[KeyValue]) -> Pairs:
    return [(key, pair.value) for pair in attributes if (key := pair.key)]


def _value(value: AnyValue) -> Any:
    text = value.string_value  # as most are; what another kind is has none
    if text:
        return text
    kind = value.WhichOneof("value")
    if kind in _SCALARS:
        return getattr(value, kind)
    # Nesting is at most a hundred deep: the parser refuses more.
    if kind == "array_value":
        return [_value(part) for part in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    return None


_SCALARS = frozenset({"string_value", "bool_value", "int_value", "double_value"})


class _MalformedError(Exception):
    """The bytes are no protobuf message."""


def _has_more_leaves_than(limit: int, value: bytes) -> bool:
    """Whether there are more than *limit* spans or log records, counted without parsing any of them."""
    if len(value) <= limit * _SMALLEST_LEAF_BYTES:
        return False
    count = 0
    try:
        for resource, start, end in _messages_in(value, 0, len(value)):
            if resource != _RESOURCE_FIELD:
                continue
            for scopes, scope_start, scope_end in _messages_in(value, start, end):
                if scopes == _SCOPES_FIELD:
                    count += sum(leaf == _LEAVES_FIELD for leaf, _, _ in _messages_in(value, scope_start, scope_end))
            if count > limit:
                return True
    except _MalformedError:
        return False  # the parser says so with a reason
    return False


def _messages_in(value: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field between *start* and *end*."""
    while start < end:
        tag, start = _varint(value, start, end)
        wire_type = tag & 7
        if wire_type == _LENGTH:
            length, start = _varint(value, start, end)
            if start + length > end:
                raise _MalformedError
            yield tag >> 3, start, start + length
            start += length
        elif wire_type == _VARINT:
            _, start = _varint(value, start, end)
        elif wire_type in {_FIXED64, _FIXED32}:
            start += 8 if wire_type == _FIXED64 else 4
        else:
            raise _MalformedError
    if start > end:
        raise _MalformedError


def _varint(value: bytes, start: int, end: int) -> tuple[int, int]:
    number = 0
    for position in range(start, min(end, start + _LONGEST_VARINT_BYTES)):
        byte = value[position]
        number |= (byte & 0x7F) << 7 * (position - start)
        if byte < 0x80:  # noqa: PLR2004  # the bit that says that more follow
            return number, position + 1
    raise _MalformedError
