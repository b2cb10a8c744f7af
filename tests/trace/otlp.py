"""Bytes of OTLP requests as the real libraries make them: opentelemetry-sdk spans through its OTLP encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

STARTED_AT = 1_795_410_120
"""2026-11-23T05:02:00Z, in Unix seconds."""

SECOND = 10**9


def recorded(play: Callable[[Tracer], None], resource: Mapping[str, Any] | None = None) -> tuple[ReadableSpan, ...]:
    """Spans that the SDK finished while *play* ran, under a service of the given *resource* attributes."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "support-agent"} if resource is None else resource))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    play(provider.get_tracer("tests"))
    provider.shutdown()
    return exporter.get_finished_spans()


def as_protobuf(spans: Sequence[ReadableSpan]) -> bytes:
    """*spans* as the Collector's Kafka exporter writes them by default."""
    return encode_spans(spans).SerializeToString()


def as_json(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """*spans* in OTLP's JSON, which differs from protobuf's own in its ids (hexadecimal) and enums (numbers)."""
    return otlp_json(encode_spans(spans))


def otlp_json(request: Any) -> dict[str, Any]:
    """An OTLP protobuf request in OTLP's JSON."""
    document = MessageToDict(request, use_integers_for_enums=True)
    _with_hexadecimal_ids(document)
    return document


def _with_hexadecimal_ids(part: Any) -> None:
    import base64  # noqa: PLC0415

    if isinstance(part, dict):
        for name, value in part.items():
            if name in {"traceId", "spanId", "parentSpanId"}:
                part[name] = base64.b64decode(value).hex()
            else:
                _with_hexadecimal_ids(value)
    elif isinstance(part, list):
        for inner in part:
            _with_hexadecimal_ids(inner)
