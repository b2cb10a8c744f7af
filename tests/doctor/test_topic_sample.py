from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from google.protobuf.json_format import ParseDict
from openinference.semconv.trace import SpanAttributes
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import Tracer

from monitor.doctor.topic_sample import Dated, Format, glimpse, sample
from monitor.ingest.source import Position, Record
from monitor.service.pipeline import DecodeRules
from monitor.trace.settings import Limits, TraceSettings
from tests.trace.otlp import as_json, as_protobuf, recorded

RULES = DecodeRules(Limits(), TraceSettings())
TRACE = {
    "schema": "cliffwatch.trace/v1",
    "trace_id": "t",
    "service": "shop",
    "model_version": "m-1",
    "started_at": "2026-11-23T05:02:00Z",
    "outcome": {"success": True, "source": "judge"},
}
SCORE = {"name": "solved", "dataType": "BOOLEAN", "value": 1, "traceId": "t", "timestamp": "2026-11-24T00:00:00Z"}


def play(tracer: Tracer) -> None:
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        tracer.start_span("call", attributes={"gen_ai.operation.name": "chat", "gen_ai.response.model": "m-2"}).end()


def play_openinference(tracer: Tracer) -> None:
    tracer.start_span("call", attributes={SpanAttributes.OPENINFERENCE_SPAN_KIND: "LLM", "llm.model_name": "m-3"}).end()


SPANS = recorded(play)


def record(value: bytes | None, timestamp: float | None = None) -> Record:
    return Record(Position("agent-traces", 0, 0), None, value, timestamp=timestamp)


@pytest.mark.parametrize(
    ("value", "expected", "packed"),
    [
        pytest.param(json.dumps(TRACE).encode(), Format.NATIVE, "", id="a native event"),
        pytest.param(as_protobuf(SPANS), Format.OTLP_PROTOBUF, "", id="OTLP protobuf"),
        pytest.param(json.dumps(as_json(SPANS)).encode(), Format.OTLP_JSON, "", id="OTLP JSON"),
        pytest.param(gzip.compress(as_protobuf(SPANS)), Format.OTLP_PROTOBUF, "gzip", id="gzip"),
        pytest.param(zstandard.compress(json.dumps(TRACE).encode()), Format.NATIVE, "zstd", id="zstd"),
        pytest.param(json.dumps(SCORE).encode(), Format.LANGFUSE_SCORES, "", id="a Langfuse score"),
        pytest.param(b"{}", Format.UNREADABLE, "", id="something else"),
    ],
)
def test_a_format_is_recognised_by_its_content(value: bytes, expected: Format, packed: str) -> None:
    """Whoever reads the topic has not been told what is in it."""
    seen = glimpse(record(value), RULES)

    assert (expected, packed) == (seen.format, seen.compression)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(b'{"level": "info", "msg": "hi"}', "JSON of another kind, with the keys level, msg", id="JSON"),
        pytest.param(b"[1]", "JSON that is not an object", id="a list"),
        pytest.param(b"hello", "text that is not JSON", id="text"),
        pytest.param(b"\x00\x00\x00\x00\x07avro", "behind a schema registry", id="a schema registry"),
        pytest.param(b"\xff\xfe\xfd", "binary data", id="bytes"),
        pytest.param(None, "nothing (a tombstone)", id="a tombstone"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(value: bytes | None, words: str) -> None:
    """So that a person recognises the topic that she named by mistake."""
    assert words in glimpse(record(value), RULES).looks_like


def test_a_sample_says_who_was_seen_and_whose_names_are_used() -> None:
    """Formats, conventions, services with their versions, traces, outcomes, and the newest times."""
    records = [
        record(json.dumps(TRACE).encode(), 1_795_500_000.0),
        record(as_protobuf(SPANS), 1_795_500_100.0),
        record(as_protobuf(recorded(play_openinference))),
        record(b"broken"),
    ]

    found = sample("agent-traces", records, RULES)

    assert found.is_readable
    assert ["OTLP protobuf", "native events", "unreadable"] == list(found.formats)
    assert ["OpenInference", "OpenTelemetry GenAI"] == list(found.conventions)
    assert {"shop": ["m-1"], "support-agent": ["m-2", "m-3"]} == dict(found.versions)
    assert (4, 3, 1, {"not_json": 1}) == (found.records, found.traces, found.outcomes, found.reasons)
    assert 1_795_500_100.0 == found.written_at


def test_a_sample_says_how_each_producer_dates_its_events() -> None:
    """By service, environment and version, and by the client where a header names it; spans by the last of a record."""
    started = 1_795_410_120.0
    value = json.dumps({**TRACE, "ended_at": "2026-11-23T05:02:09Z"}).encode()
    headers = (("client.id", b"host-7"),)
    named = Record(Position("agent-traces", 3, 0), None, value, headers=headers, timestamp=started + 10)

    history = json.dumps({**TRACE, "environment": "reference"}).encode()  # of any age

    found = sample(
        "agent-traces", [record(value, started + 5), named, record(history, 2e9), record(value)], RULES
    ).clocks

    assert {
        "shop, production, m-1": [Dated(started + 5, 4.0, 0)],
        "shop, production, m-1, client host-7": [Dated(started + 10, -1.0, 3)],
    } == found
    of_spans = sample("agent-traces", [record(as_protobuf(SPANS), 1e9)], RULES).clocks
    assert ["support-agent, production, m-2"] == list(of_spans)


def test_a_topic_of_other_things_is_not_ours() -> None:
    """One stray record of ours among many others makes no topic to read."""
    records = [record(b"{}"), record(b"{}"), record(json.dumps(TRACE).encode())]

    assert not sample("logs", records, RULES).is_readable
    assert not sample("empty", [], RULES).is_readable


def with_base64_ids(part: dict[str, Any]) -> dict[str, Any]:
    """Ids as protobuf's own JSON has them, which is not OTLP's."""
    ids = {key: part[key] for key in ("traceId", "spanId", "parentSpanId") if key in part}
    return part | {key: base64.b64encode(bytes.fromhex(value)).decode() for key, value in ids.items()}


@pytest.mark.parametrize(
    ("capture", "library"),
    [
        ("pyd", "Pydantic AI"),
        ("crew-oi", "OpenInference for CrewAI"),
        ("strands-n", "Strands Agents"),
        ("lf-native", "Langfuse"),
        ("traceloop", "Traceloop"),
    ],
)
@pytest.mark.parametrize("in_protobuf", [True, False], ids=["protobuf", "JSON"])
def test_libraries_are_recognised_by_their_scopes(capture: str, library: str, *, in_protobuf: bool) -> None:
    """In either encoding, whatever else is in the record."""
    file = Path(__file__).parent.parent / "trace" / "captures" / f"{capture}.jsonl.gz"
    lines = gzip.decompress(file.read_bytes()).splitlines()
    values = [
        ParseDict(json.loads(line, object_hook=with_base64_ids), ExportTraceServiceRequest()).SerializeToString()
        for line in lines
    ]

    found = sample("agent-traces", [record(value) for value in (values if in_protobuf else lines)], RULES)

    assert library in [each.name for each in found.libraries]
