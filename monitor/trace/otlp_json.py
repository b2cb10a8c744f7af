"""
OTLP in JSON, as the OpenTelemetry Collector's Kafka and file exporters write it.

Spans and log records get the field names of protobuf, so that one reader serves both.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar

from msgspec import Struct

from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.reader import Decoded, DecodeOptions, Reader
from monitor.trace.semconv import EVENTS
from monitor.trace.settings import Limits
from monitor.trace.values import written_number

_STATUS_CODES = {"OK": 1, "ERROR": 2}
_INT64 = re.compile(r"(-?[0-9]{1,20})(?:\.0+)?")
_BASE64_LENGTHS = {24, 22, 12, 11}  # of 16 and of 8 bytes, filled up or not


def is_otlp_json(document: Any) -> bool:
    """Whether *document* has the shape of an OTLP request."""
    return isinstance(document, dict) and any(isinstance(document.get(name), list) for name in _SIGNALS)


def decode_otlp_json(document: Mapping[str, Any], limits: Limits, options: DecodeOptions) -> Decoded:
    """
    Decodes an `ExportTraceServiceRequest` or `ExportLogsServiceRequest`; a field of the wrong type counts as absent.

    Raises:
        InvalidRecord: more spans, or more resources, than *limits* allow.
    """
    if not _SNAKE_CASE.isdisjoint(document):
        _to_camel_case(document)  # names of attributes are values, not keys
    spans = _resources(document, "resourceSpans", "scopeSpans", "spans")
    logs = _resources(document, "resourceLogs", "scopeLogs", "logRecords")
    if max(len(spans + logs), sum(len(leaves) for _, leaves in spans + logs)) > limits.max_spans:
        raise InvalidRecord(DropReason.TOO_MANY_SPANS, f"at most {limits.max_spans} are read")
    return Reader(options, limits, _value).read(
        [(_pairs(resource), map(_span, leaves)) for resource, leaves in spans],
        [_log(log) for _, leaves in logs for log in leaves],
    )


# Metrics and profiles hold no requests, but are no reason for an alert.
_SNAKE_CASE = {"resource_spans", "resource_logs", "resource_metrics", "resource_profiles"}
_SIGNALS = _SNAKE_CASE | {"resourceSpans", "resourceLogs", "resourceMetrics", "resourceProfiles"}
_UNDERSCORE = re.compile("_([a-z])")


def _to_camel_case(part: Any) -> None:
    """Rename the keys of *part* as in protobuf's JSON, in place: a copy of a hostile document could fill the memory."""
    for name in list(part) if isinstance(part, dict) else ():
        part[_UNDERSCORE.sub(lambda at: at[1].upper(), name)] = part.pop(name)
    for held in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _to_camel_case(held)


_Object = Mapping[str, Any]
_T = TypeVar("_T")


def _resources(document: _Object, resources: str, scopes: str, leaves: str) -> list[tuple[_Object, list[_Object]]]:
    names = scopes, scopes.replace("scope", "instrumentationLibrary")  # the second is the name until 2022

    def under(resource: _Object) -> list[_Object]:
        return [leaf for name in names for scope in _objects(resource, name) for leaf in _objects(scope, leaves)]

    return [(_held(each, "resource", {}), under(each)) for each in _objects(document, resources)]


def _span(span: _Object) -> Any:
    status: _Object = _held(span, "status", {})
    code = status.get("code")
    code = (isinstance(code, str) and _STATUS_CODES.get(code.upper().removeprefix("STATUS_CODE_"))) or _integer(code)
    return SimpleNamespace(
        trace_id=_id(span, "traceId"),
        span_id=_id(span, "spanId"),
        parent_span_id=_id(span, "parentSpanId"),
        name=_held(span, "name", ""),
        start_time_unix_nano=_integer(span.get("startTimeUnixNano")),
        end_time_unix_nano=_integer(span.get("endTimeUnixNano")),
        status=SimpleNamespace(code=code, message=_held(status, "message", "")),
        attributes=_pairs(span),
        events=[
            SimpleNamespace(name=name, time_unix_nano=_integer(event.get("timeUnixNano")), attributes=_pairs(event))
            for event in _objects(span, "events")
            if (name := _held(event, "name", "")) in EVENTS
        ],
        links=[SimpleNamespace(trace_id=_id(link, "traceId")) for link in _objects(span, "links")],
    )


def _log(log: _Object) -> Any:
    return SimpleNamespace(
        event_name=_held(log, "eventName", ""),
        time_unix_nano=_integer(log.get("timeUnixNano")),
        observed_time_unix_nano=_integer(log.get("observedTimeUnixNano")),
        attributes=_pairs(log),
        trace_id=_id(log, "traceId"),
        span_id=_id(log, "spanId"),
    )


class _Pair(Struct, frozen=True, gc=False):
    key: str
    value: Any


def _pairs(holder: _Object, name: str = "attributes") -> list[Any]:
    return [_Pair(key, pair.get("value")) for pair in _objects(holder, name) if isinstance(key := pair.get("key"), str)]


def _value(value: Any) -> Any:
    for name, held in value.items() if isinstance(value, dict) else ():
        if held is not None and name in _VALUES:
            return _VALUES[name](held)
    return None


def _as_integer(held: Any) -> int | None:
    if isinstance(held, str) and (found := _INT64.fullmatch(held)):  # protobuf's JSON writes 64-bit integers as text
        held = int(found[1])
    elif isinstance(held, float) and held.is_integer():  # some write large integers as floats
        held = int(held)
    return held if type(held) is int and abs(held) < 2**64 else None  # JSON may write thousands of digits


def _as_double(held: Any) -> float | None:
    if isinstance(held, str):  # protobuf's JSON allows it
        return written_number(held)
    return float(held) if isinstance(held, float | int) and abs(held) < 2**1023 else None


_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "stringValue": lambda held: held if isinstance(held, str) else None,
    "intValue": _as_integer,
    "doubleValue": _as_double,
    "boolValue": lambda held: held if isinstance(held, bool) else None,
    "arrayValue": lambda held: [_value(part) for part in _objects(held, "values")],
    "kvlistValue": lambda held: {pair.key: _value(pair.value) for pair in _pairs(held, "values")},
}


def _held(holder: _Object, name: str, otherwise: _T) -> _T:
    """The value of *holder* under *name*, or *otherwise* if it has another type."""
    held = holder.get(name)
    return held if isinstance(held, type(otherwise)) else otherwise


def _objects(holder: Any, name: str) -> list[_Object]:
    listed: list[Any] = _held(holder, name, []) if isinstance(holder, dict) else []
    return [part for part in listed if isinstance(part, dict)]


def _integer(held: Any) -> int:
    return _as_integer(held) or 0


def _id(holder: _Object, name: str) -> bytes:
    """An id in hexadecimal, with or without dashes, or in the base64 of protobuf libraries; empty if there is none."""
    held = _held(holder, name, "")
    try:
        if len(held) in _BASE64_LENGTHS:
            return base64.b64decode(held.replace("-", "+").replace("_", "/") + "=" * (-len(held) % 4), validate=True)
        return bytes.fromhex(held.replace("-", ""))
    except ValueError:
        return b""
