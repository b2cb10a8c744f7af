"""OTLP in protobuf, as the OpenTelemetry Collector's Kafka exporter writes it by default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.reader import Decoded, DecodeOptions, Reader
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
    spans: _Spans = [
        (part.resource.attributes, [span for scope in part.scope_spans for span in scope.spans]) for part in parts
    ]
    if _is_any_whole(spans):
        return reader.read(spans)
    request = _parsed(ExportLogsServiceRequest, value)
    scopes = () if request is None else (scope for part in request.resource_logs for scope in part.scope_logs)
    logs = [log for scope in scopes for log in scope.log_records]
    if any(log.time_unix_nano or log.observed_time_unix_nano for log in logs):
        return reader.read(logs=logs)
    if traces is None and request is None:
        spans = _legible(value)
        if not _is_any_whole(spans):
            raise InvalidRecord(DropReason.NOT_PROTOBUF, "neither traces nor logs of OTLP")
        return reader.read(spans)
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


_Spans = list[tuple[Iterable[KeyValue], list[ProtoSpan]]]


def _is_any_whole(spans: _Spans) -> bool:
    return any(
        len(span.trace_id) == TRACE_ID_BYTES and len(span.span_id) == SPAN_ID_BYTES and span.start_time_unix_nano > 0
        for _, leaves in spans
        for span in leaves
    )


def _legible(value: bytes) -> _Spans:
    """Spans of a request that cannot be parsed as a whole, one by one: a broken text costs its own span alone."""
    with suppress(_MalformedError):
        return [
            (_resource(value, *resource), [_parsed(ProtoSpan, leaf) or ProtoSpan() for _, leaf in leaves])
            for resource, leaves in groupby(_leaves(value), itemgetter(0))
        ]
    return []


def _resource(value: bytes, start: int, end: int) -> Iterable[KeyValue]:
    parts = (
        _parsed(Resource, value[at:to]) for part, at, to in _messages_in(value, start, end) if part == _RESOURCE_FIELD
    )
    return (next(parts, None) or Resource()).attributes


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
    """The bytes are not a protobuf message."""


def _has_more_leaves_than(limit: int, value: bytes) -> bool:
    """Whether there are more than *limit* spans or log records, counted without parsing any of them."""
    if len(value) > limit * _SMALLEST_LEAF_BYTES:
        with suppress(_MalformedError):  # the parser says so with a reason
            return any(True for _ in islice(_leaves(value), limit, None))
    return False


def _leaves(value: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Spans or log records, unparsed, and where their resource starts and ends."""
    for resource, start, end in _messages_in(value, 0, len(value)):
        for scopes, at, to in _messages_in(value, start, end) if resource == _RESOURCE_FIELD else ():
            for leaf, first, last in _messages_in(value, at, to) if scopes == _SCOPES_FIELD else ():
                if leaf == _LEAVES_FIELD:
                    yield (start, end), value[first:last]


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
