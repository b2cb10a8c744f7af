"""OTLP in protobuf, as the OpenTelemetry Collector's Kafka exporter writes it by default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from monitor.trace.decoded import Decoded
from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.reader import DecodeOptions, Reader
from monitor.trace.settings import Limits
from monitor.trace.values import SPAN_ID_BYTES, TRACE_ID_BYTES

_RESOURCE_FIELD, _SCOPES_FIELD, _LEAVES_FIELD = 1, 2, 2
_RESOURCE_TAG = 0x0A  # field 1, a message: the first byte of every request that is not empty
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
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
    parts = () if traces is None else traces.resource_spans
    spans = [(part.resource.attributes, [span for scope in part.scope_spans for span in scope.spans]) for part in parts]
    if any(_is_whole(span) for _, leaves in spans for span in leaves):
        return reader.read(spans)
    request = _parsed(ExportLogsServiceRequest, value)
    scopes = () if request is None else (scope for part in request.resource_logs for scope in part.scope_logs)
    logs = [log for scope in scopes for log in scope.log_records]
    if any(log.time_unix_nano or log.observed_time_unix_nano for log in logs):
        return reader.read(logs=logs)
    if traces is None and request is None:
        raise InvalidRecord(DropReason.NOT_PROTOBUF, "neither traces nor logs of OTLP")
    if _has_more_leaves_than(0, value):
        raise InvalidRecord(DropReason.FIELD_INVALID, "no span has ids and a start, no log record a time")
    return reader.read()


_Request = TypeVar("_Request", bound=Message)


def _parsed(kind: type[_Request], value: bytes) -> _Request | None:
    request = kind()
    try:
        request.ParseFromString(value)
    except DecodeError:
        return None
    return request


def _is_whole(span: ProtoSpan) -> bool:
    has_ids = len(span.trace_id) == TRACE_ID_BYTES and len(span.span_id) == SPAN_ID_BYTES
    return has_ids and span.start_time_unix_nano > 0


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
