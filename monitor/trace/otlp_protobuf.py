"""
OTLP in protobuf, as the OpenTelemetry Collector's Kafka exporter writes it by default.

Protobuf encodes a nested message like bytes (protobuf.dev, "Encoding"), so a field that is declared as bytes holds the
message unparsed. Spans are read this way: they are counted before they are parsed, and a broken span costs no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.reader import Attributes, Decoded, DecodeOptions, Reader
from monitor.trace.settings import Limits
from monitor.trace.values import SPAN_ID_BYTES, TRACE_ID_BYTES


def _request_of_bytes() -> type[Message]:
    """The type of a request with resources, spans and whatever else may hold broken text declared as bytes."""
    pool = DescriptorPool()
    for module in (common_pb2, resource_pb2, trace_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for field in (field for message in file.message_type for field in message.field):
            if field.name in {"resource", "scope", "spans", "schema_url"}:
                field.type = FieldDescriptorProto.TYPE_BYTES
                field.label = FieldDescriptorProto.LABEL_REPEATED  # joining the parts of a message merges them
                field.ClearField("type_name")
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("opentelemetry.proto.trace.v1.TracesData"))


_Request: Any = _request_of_bytes()


def is_otlp_protobuf(value: bytes) -> bool:
    """Whether *value* has the shape of an OTLP request: resources and nothing else."""
    request = _parsed(_Request, value)
    return request is not None and bool(request.resource_spans) and not UnknownFieldSet(request)


def decode_protobuf(value: bytes, limits: Limits, options: DecodeOptions) -> Decoded:
    """
    Decodes an `ExportTraceServiceRequest` or `ExportLogsServiceRequest`, whichever fits the contents.

    Raises:
        InvalidRecord: neither of them, more spans, scopes or resources than *limits* allow, or no complete span or
            log record.
    """
    request = _parsed(_Request, value)  # fits logs too: resources and scopes have the field numbers of those of traces
    parts = () if request is None else request.resource_spans
    # Empty resources and scopes are two bytes each, and would fill the memory.
    if (
        len(parts) > limits.max_spans
        or sum(len(part.scope_spans) for part in parts) > limits.max_spans
        or sum(len(scope.spans) for part in parts for scope in part.scope_spans) > limits.max_spans
    ):
        raise InvalidRecord(DropReason.TOO_MANY_SPANS, f"at most {limits.max_spans} are read")
    decoded = Reader(options, limits, _value).read(map(_spans, parts))
    # A log record that is read as a span has no ids, and a span that is read as a log record no time: the field
    # numbers are the same, the types are not.
    if decoded.spans:
        return decoded
    leaves = [leaf for part in parts for leaf in _leaves(part)]
    logs = [log for leaf in leaves if (log := _parsed(LogRecord, leaf)) is not None]
    if any(log.time_unix_nano or log.observed_time_unix_nano or log.attributes for log in logs):
        return Reader(options, limits, _value).read(logs=logs)
    if any(_is_whole(span) for part in parts for span in _spans(part)[1]):  # and out of bounds, each of them
        return decoded
    metrics = [metric for leaf in leaves if (metric := _parsed(Metric, leaf)) is not None]
    if any(metric.WhichOneof("data") for metric in metrics):
        return Decoded()  # they say nothing of requests
    if request is None or (leaves and not logs):
        raise InvalidRecord(DropReason.NOT_PROTOBUF, "neither traces nor logs of OTLP")
    if leaves:
        raise InvalidRecord(DropReason.FIELD_INVALID, "no span has ids and a start, no log record a time")
    return Decoded()


def _leaves(part: Any) -> Iterator[bytes]:
    return (leaf for scope in part.scope_spans for leaf in scope.spans)


def _spans(part: Any) -> tuple[Attributes, Iterator[trace_pb2.Span]]:
    """The attributes of the resource *part*, and its spans, each parsed when it is read and still in the CPU cache."""
    resource = _parsed(resource_pb2.Resource, b"".join(part.resource)) or resource_pb2.Resource()
    return resource.attributes, (_parsed(trace_pb2.Span, leaf) or trace_pb2.Span() for leaf in _leaves(part))


_Message = TypeVar("_Message", bound=Message)


def _parsed(kind: type[_Message], value: bytes) -> _Message | None:
    try:
        return kind.FromString(value)
    except DecodeError:
        return None


def _is_whole(span: trace_pb2.Span) -> bool:
    return len(span.trace_id) == TRACE_ID_BYTES and len(span.span_id) == SPAN_ID_BYTES and span.start_time_unix_nano > 0


def _value(value: common_pb2.AnyValue) -> Any:
    text = value.string_value  # most values are text; of another kind it is empty
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
