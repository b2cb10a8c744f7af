"""
Where spans and evaluations go: Kafka, as the Collector's Kafka exporter writes them, or a file, as its file exporter.

An agent in production sends OTLP to a Collector and has none of this; it is here so that the example needs none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from kafka import KafkaProducer
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_PER_REQUEST = 100


class Sink(Protocol):
    """Takes OTLP requests."""

    def write(self, request: Message, topic: str) -> None:
        """Take one `ExportTraceServiceRequest` or `ExportLogsServiceRequest`."""
        ...


class KafkaSink:
    """One record per request, OTLP protobuf, in any partition: what the Collector does by default."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer: Any = KafkaProducer(
            bootstrap_servers=bootstrap_servers.split(","), acks="all", compression_type="gzip", linger_ms=20
        )

    def write(self, request: Message, topic: str) -> None:
        self._producer.send(topic, request.SerializeToString())

    def flush(self) -> None:
        """Wait until the brokers have everything."""
        self._producer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.close()


class FileSink:
    """One line per request, OTLP JSON."""

    def __init__(self, path: Path) -> None:
        self._lines = path.open("w", encoding="utf-8")

    def write(self, request: Message, topic: str) -> None:
        del topic  # a file holds both
        self._lines.write(json.dumps(otlp_json(request), separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Write everything out."""
        self._lines.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()


class SpansTo(SpanExporter):
    """Gathers spans into requests of a hundred or so, which is what a batch processor makes of busy traffic."""

    def __init__(self, sink: Sink, topic: str) -> None:
        self._sink, self._topic = sink, topic
        self._waiting: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._waiting += spans
        if len(self._waiting) >= _PER_REQUEST:
            self.force_flush()
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        del timeout_millis
        if self._waiting:
            self._sink.write(encode_spans(self._waiting), self._topic)
            self._waiting = []
        return True

    def shutdown(self) -> None:
        self.force_flush()


class EvaluationsTo(LogRecordExporter):
    """The same for the log records that carry evaluations."""

    def __init__(self, sink: Sink, topic: str) -> None:
        self._sink, self._topic = sink, topic
        self._waiting: list[ReadableLogRecord] = []

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self._waiting += batch
        if len(self._waiting) >= _PER_REQUEST:
            self.force_flush()
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        del timeout_millis
        if self._waiting:
            self._sink.write(encode_logs(self._waiting), self._topic)
            self._waiting = []
        return True

    def shutdown(self) -> None:
        self.force_flush()


def otlp_json(request: Message) -> dict[str, Any]:
    """An OTLP request in OTLP's JSON: protobuf's own, but with hexadecimal ids and numbers for enums."""
    document: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    _write_ids_as_hexadecimal(document)
    return document


def _write_ids_as_hexadecimal(part: Any) -> None:
    if isinstance(part, dict):
        for name, value in part.items():
            if name in {"traceId", "spanId", "parentSpanId"}:
                part[name] = base64.b64decode(value).hex()
            else:
                _write_ids_as_hexadecimal(value)
    elif isinstance(part, list):
        for inner in part:
            _write_ids_as_hexadecimal(inner)
