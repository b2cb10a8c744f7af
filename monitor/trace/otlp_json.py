"""OTLP in JSON, as the OpenTelemetry Collector's Kafka and file exporters write it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from monitor.trace.decoded import Decoded
from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.reader import DecodeOptions, Pairs, RawEvent, RawSpan, Reader
from monitor.trace.semconv import EVENT_NAME, EVENTS
from monitor.trace.settings import Limits

_STATUS_CODES = {"STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_INT64 = re.compile(r"-?[0-9]{1,20}")
_BASE64_LENGTHS = {24, 12}  # of 16 and of 8 bytes


def is_otlp_json(document: Mapping[str, Any]) -> bool:
    """Whether *document* is built like an OTLP request."""
    return any(isinstance(document.get(name), list) for name in ("resourceSpans", "resourceLogs"))


def decode_otlp_json(document: Mapping[str, Any], limits: Limits, options: DecodeOptions) -> Decoded:
    """
    What an `ExportTraceServiceRequest` or `ExportLogsServiceRequest` says; what has the wrong type counts as absent.

    Raises:
        InvalidRecord: more spans than *limits* allow.
    """
    resource_spans, resource_logs = _objects(document, "resourceSpans"), _objects(document, "resourceLogs")
    spans = [(resource, _leaves(resource, "scopeSpans", "spans")) for resource in resource_spans]
    logs = [(resource, _leaves(resource, "scopeLogs", "logRecords")) for resource in resource_logs]
    if sum(len(leaves) for _, leaves in spans + logs) > limits.max_spans:
        raise InvalidRecord(DropReason.TOO_MANY_SPANS, f"at most {limits.max_spans} are read")
    reader = Reader(options, limits, _value)
    for resource, leaves in spans:
        reader.enter_resource(_pairs(_object(resource, "resource")))
        for span in leaves:
            reader.add_span(_raw_span(span))
    for resource, leaves in logs:
        reader.enter_resource(_pairs(_object(resource, "resource")))
        for log in leaves:
            reader.add_log(_raw_log(log))
    return reader.decoded()


def _raw_span(span: Mapping[str, Any]) -> RawSpan:
    return RawSpan(
        trace_id=_id(span, "traceId"),
        span_id=_id(span, "spanId"),
        parent_span_id=_id(span, "parentSpanId"),
        name=_text(span, "name"),
        start_ns=_integer(span.get("startTimeUnixNano")),
        end_ns=_integer(span.get("endTimeUnixNano")),
        status_code=_status_code(_object(span, "status").get("code")),
        attributes=_pairs(span),
        events=[_raw_event(event) for event in _objects(span, "events") if event.get("name") in _EVENT_NAMES],
        links=[_id(link, "traceId") for link in _objects(span, "links")],
        status_message=_text(_object(span, "status"), "message"),
    )


def _raw_event(event: Mapping[str, Any]) -> RawEvent:
    return RawEvent(_text(event, "name"), _integer(event.get("timeUnixNano")), _pairs(event))


def _raw_log(log: Mapping[str, Any]) -> RawEvent:
    return RawEvent(
        name=_text(log, "eventName") or _event_name(log),
        time_ns=_integer(log.get("timeUnixNano")) or _integer(log.get("observedTimeUnixNano")),
        attributes=_pairs(log),
        trace_id=_id(log, "traceId"),
    )


_EVENT_NAMES = list(EVENTS)  # no set: a hostile name need not be hashable


def _event_name(log: Mapping[str, Any]) -> str:
    for pair in _objects(log, "attributes"):
        if pair.get("key") == EVENT_NAME:
            name = _value(pair.get("value"))
            return name if isinstance(name, str) else ""
    return ""


def _pairs(holder: Mapping[str, Any]) -> Pairs:
    return [
        (key, pair.get("value")) for pair in _objects(holder, "attributes") if isinstance(key := pair.get("key"), str)
    ]


def _value(value: Any) -> Any:
    if not isinstance(value, dict):
        return None
    for name, read in _VALUES.items():
        held = value.get(name)
        if held is not None:
            return read(held)
    return None


def _as_text(held: Any) -> str | None:
    return held if isinstance(held, str) else None


def _as_integer(held: Any) -> int | None:
    if isinstance(held, str):
        # 64-bit integers are texts in protobuf's JSON.
        return int(held) if _INT64.fullmatch(held) else None
    if isinstance(held, float) and held.is_integer():  # some write JSON's numbers, and then large ones as floats
        return int(held)
    return held if isinstance(held, int) and not isinstance(held, bool) else None


def _as_double(held: Any) -> float | None:
    return float(held) if isinstance(held, float | int) and abs(held) < 2**1023 else None


def _as_truth(held: Any) -> bool | None:
    return held if isinstance(held, bool) else None


def _as_list(held: Any) -> list[Any]:
    return [_value(part) for part in _objects(held, "values")] if isinstance(held, dict) else []


def _as_object(held: Any) -> dict[str, Any]:
    pairs = _objects(held, "values") if isinstance(held, dict) else []
    return {key: _value(pair.get("value")) for pair in pairs if isinstance(key := pair.get("key"), str)}


_VALUES = {
    "stringValue": _as_text,
    "intValue": _as_integer,
    "doubleValue": _as_double,
    "boolValue": _as_truth,
    "arrayValue": _as_list,
    "kvlistValue": _as_object,
}


def _objects(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    listed = holder.get(name)
    return [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []


def _object(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    held = holder.get(name)
    return held if isinstance(held, dict) else {}


def _leaves(resource: Mapping[str, Any], scopes: str, leaves: str) -> list[Mapping[str, Any]]:
    return [leaf for scope in _objects(resource, scopes) for leaf in _objects(scope, leaves)]


def _text(holder: Mapping[str, Any], name: str) -> str:
    held = holder.get(name)
    return held if isinstance(held, str) else ""


def _integer(held: Any) -> int:
    return _as_integer(held) or 0


def _status_code(held: Any) -> int:
    return (isinstance(held, str) and _STATUS_CODES.get(held)) or _integer(held)


def _id(holder: Mapping[str, Any], name: str) -> str:
    """An id in hexadecimal, as OTLP wants it, or out of the base64 that general protobuf libraries write."""
    held = _text(holder, name)
    if len(held) not in _BASE64_LENGTHS:
        return held
    try:
        return base64.b64decode(held, validate=True).hex()
    except (binascii.Error, ValueError):
        return held
