"""Bytes of OTLP requests as the real libraries make them: opentelemetry-sdk spans through its OTLP encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from examples.support_agent.export import otlp_json

STARTED_AT = 1_795_410_120
"""2026-11-23T05:02:00Z, in Unix seconds."""

SECOND = 10**9

__all__ = ["SECOND", "STARTED_AT", "as_json", "as_protobuf", "otlp_json", "recorded"]


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
