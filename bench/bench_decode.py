"""
Decoding speed of each format that Cliffwatch reads, beside a bare decode of the same bytes.

CPU time, one core, best of several rounds. Prints a table and writes it to bench/out/decode.json.
Run: python -m bench.bench_decode [--quick]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from msgspec import msgpack, structs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from pydantic_core import from_json

from monitor.difficulty.tagger import Tagger
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.ledger import Assembled, Batch
from monitor.ledger.sql import SqlLedger
from monitor.service.pipeline import DecodeRules, assemble, tag_traces
from monitor.trace.assembly import build_traces
from monitor.trace.decode import decode
from monitor.trace.model import TraceId
from monitor.trace.served import ServedModels
from monitor.trace.settings import AssemblySettings, Limits, OutcomeSettings, TraceSettings
from monitor.trace.span import Span

OUT = Path(__file__).resolve().parent / "out" / "decode.json"
LIMITS = Limits()
TRACES_PER_MESSAGE = 10
_TRACES_PER_BATCH = 50
QUESTION = "Book a table for two in the old town tonight, somewhere quiet, and tell my sister when to be there. " * 3
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"What {name} does, in the two or three sentences that such descriptions take. " * 2,
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string"}, "people": {"type": "integer"}},
            },
        },
    }
    for name in ("find_restaurant", "book_table", "send_message")
]
MESSAGES = [{"role": "system", "content": "You are a helpful assistant. " * 20}, {"role": "user", "content": QUESTION}]


@dataclass(frozen=True, slots=True)
class Row:
    """One format: what a record of it costs, in microseconds of CPU time; *items* are its events or spans."""

    format: str
    bytes: int
    items: int
    decode_us: float
    bare_us: float

    @property
    def item_us(self) -> float:
        return self.decode_us / self.items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    seconds = 0.1 if parser.parse_args().quick else 1.0
    rows = [
        Row(
            name,
            len(value),
            items,
            _microseconds(partial(decode, value, LIMITS), seconds),
            _microseconds(bare, seconds),
        )
        for name, value, items, bare in _formats()
    ]
    print(f"{'format':<32}{'bytes':>8}{'items':>7}{'items/s':>10}{'us/item':>9}{'bare us/item':>14}{'times bare':>12}")
    for row in rows:
        print(
            f"{row.format:<32}{row.bytes:>8}{row.items:>7}{1e6 / row.item_us:>10,.0f}{row.item_us:>9.2f}"
            f"{row.bare_us / row.items:>14.2f}{row.decode_us / row.bare_us:>12.1f}"
        )
    spans = decode(encode_spans(_recorded(_genai_run)).SerializeToString(), LIMITS).spans
    steps = _assembly(spans, seconds)
    for name, per_span in steps.items():
        print(f"{name:<32}{'':>15}{1e6 / per_span:>10,.0f}{per_span:>9.2f}")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(
        json.dumps({"formats": [asdict(row) for row in rows], "assembly_us_per_span": steps}, indent=2) + "\n"
    )


def _formats() -> Sequence[tuple[str, bytes, int, Callable[[], Any]]]:
    native, outcome = _native_event(), _outcome_event()
    formats: list[tuple[str, bytes, int, Callable[[], Any]]] = [
        ("native trace", native, 1, partial(from_json, native)),
        ("native outcome", outcome, 1, partial(from_json, outcome)),
    ]
    runs = {"OpenTelemetry GenAI": _genai_run, "OpenInference": _openinference_run, "Langfuse": _langfuse_run}
    for name, run in runs.items():
        spans = [span for _ in range(TRACES_PER_MESSAGE) for span in _recorded(run)]
        request = encode_spans(spans)
        protobuf = request.SerializeToString()
        text = json.dumps(MessageToDict(request, use_integers_for_enums=True)).encode()
        formats.append((f"{name}, protobuf", protobuf, len(spans), _parsing(ExportTraceServiceRequest, protobuf)))
        formats.append((f"{name}, JSON", text, len(spans), partial(from_json, text)))
    logs = _evaluation_logs()
    formats.append(("evaluations in logs, protobuf", logs, 20, _parsing(ExportLogsServiceRequest, logs)))
    return formats


def _assembly(spans: Sequence[Span], seconds: float) -> dict[str, float]:
    """Microseconds per span of the processing after decode."""
    kept = msgpack.encode(spans)
    settings = OutcomeSettings()
    return {
        "span to msgpack": _microseconds(lambda: msgpack.encode(spans), seconds) / len(spans),
        "span from msgpack": _microseconds(lambda: msgpack.decode(kept, type=list[Span]), seconds) / len(spans),
        "trace from spans": _microseconds(lambda: build_traces(spans, settings), seconds) / len(spans),
        "wait in the ledger, be closed": _through_ledger(spans, traces=round(500 * seconds)),
    }


def _through_ledger(spans: Sequence[Span], *, traces: int) -> float:
    """Microseconds per span to store pending spans in SQLite, close runs and count them, best of three."""
    rules, best = DecodeRules(LIMITS, TraceSettings()), float("inf")
    of_trace = [[structs.replace(span, trace_id=TraceId(f"{n:032x}")) for span in spans] for n in range(traces)]
    for _ in range(3):
        ledger = SqlLedger(IN_MEMORY_URL)
        batch = Batch(events=(), dead_letters=(), offsets=(), records={}, received_at=0.0)
        start = time.process_time()
        for portion in range(0, traces, _TRACES_PER_BATCH):
            waiting = [span for several in of_trace[portion : portion + _TRACES_PER_BATCH] for span in several]
            ledger.record(replace(batch, spans=waiting))
        while due := ledger.due_spans(AssemblySettings(), now=86_400.0, max_spans=5_000):
            built = assemble(due, ServedModels((), 0.0), rules, now=inf, is_last_chance=True)[0]
            closed = [
                Assembled(each.trace_id, len(each.spans), tag_traces(runs, Tagger(None), rules)) for each, runs in built
            ]
            ledger.record(replace(batch, assembled=closed))
        best = min(best, time.process_time() - start)
        ledger.close()
    return best / (traces * len(spans)) * 1e6


def _microseconds(work: Callable[[], Any], seconds: float) -> float:
    """Least CPU time of one call of *work*, over rounds of *seconds* in total."""
    start = time.process_time()
    work()
    calls = max(1, int(0.1 * seconds / max(time.process_time() - start, 1e-6)))
    best = float("inf")
    for _ in range(10):
        start = time.process_time()
        for _ in range(calls):
            work()
        best = min(best, (time.process_time() - start) / calls)
    return best * 1e6


def _parsing(kind: Callable[[], Any], value: bytes) -> Callable[[], Any]:
    return lambda: kind().ParseFromString(value)


def _native_event() -> bytes:
    tools = [tool["function"] for tool in TOOLS]
    event = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "service": "support-agent",
        "model_version": "gpt-4-0613",
        "started_at": "2026-11-23T05:02:00.123Z",
        "ended_at": "2026-11-23T05:02:03.400Z",
        "request": {"text": QUESTION, "messages": 2, "tools": tools, "attributes": {"codebase_scope": 2.0}},
        "usage": {"input_tokens": 812, "output_tokens": 90, "cost_usd": 0.0041},
        "tool_calls": 2,
        "steps": 3,
        "outcome": {"success": False, "failure_class": "wrong_tool", "source": "judge"},
    }
    return json.dumps(event).encode()


def _outcome_event() -> bytes:
    event = {
        "schema": "cliffwatch.outcome/v1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "outcome": {"success": True, "source": "human", "labelled_at": "2026-11-23T07:00:00Z"},
    }
    return json.dumps(event).encode()


def _evaluation_logs() -> bytes:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for number in range(20):
        log = scope.log_records.add(
            time_unix_nano=1_795_410_120 * 10**9,
            event_name="gen_ai.evaluation.result",
            trace_id=bytes([number + 1] * 16),
        )
        log.attributes.add(key="gen_ai.evaluation.name").value.string_value = "correctness"
        log.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = "fail"
        log.attributes.add(key="gen_ai.evaluation.score.value").value.double_value = 0.2
    return request.SerializeToString()


def _recorded(run: Callable[[Tracer], None]) -> tuple[ReadableSpan, ...]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "support-agent", "service.version": "1.2.3"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    run(provider.get_tracer("bench"))
    return exporter.get_finished_spans()


def _play(tracer: Tracer, agent: dict[str, Any], call: dict[str, Any], tool: dict[str, Any]) -> None:
    """A web request, an agent in it, three model calls and two tool calls, each of which asks a database."""
    http: dict[str, Any] = {"http.request.method": "POST", "url.path": "/chat", "http.response.status_code": 200}
    with tracer.start_as_current_span("POST /chat", attributes=http):  # noqa: SIM117  # reads as the tree that it makes
        with tracer.start_as_current_span("agent", attributes=agent):
            for number in range(3):
                tracer.start_span("chat", attributes=call).end()
                if number:
                    with tracer.start_as_current_span("tool", attributes=tool):
                        tracer.start_span("SELECT", attributes={"db.system.name": "postgresql"}).end()


def _genai_run(tracer: Tracer) -> None:
    parts = [{"role": m["role"], "parts": [{"type": "text", "content": m["content"]}]} for m in MESSAGES]
    call = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 1000,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-123",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 812,
        "gen_ai.usage.output_tokens": 90,
        "gen_ai.input.messages": json.dumps(parts),
        "gen_ai.output.messages": json.dumps(parts[1:]),
        "gen_ai.tool.definitions": json.dumps(TOOLS),
        "server.address": "api.openai.com",
    }
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support", "gen_ai.conversation.id": "c-1"}
    _play(tracer, agent, call, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book_table"})


def _openinference_run(tracer: Tracer) -> None:
    call: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "llm.provider": "openai",
        "llm.model_name": "gpt-4o-2024-08-06",
        "llm.token_count.prompt": 812,
        "llm.token_count.completion": 90,
        "llm.token_count.total": 902,
        "input.value": json.dumps({"messages": MESSAGES}),
        "input.mime_type": "application/json",
        "output.value": QUESTION,
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": QUESTION,
    }
    for number, message in enumerate(MESSAGES):
        call[f"llm.input_messages.{number}.message.role"] = message["role"]
        call[f"llm.input_messages.{number}.message.content"] = message["content"]
    for number, tool in enumerate(TOOLS):
        call[f"llm.tools.{number}.tool.json_schema"] = json.dumps(tool)
    agent = {"openinference.span.kind": "AGENT", "input.value": QUESTION, "session.id": "c-1"}
    _play(tracer, agent, call, {"openinference.span.kind": "TOOL", "tool.name": "book_table", "input.value": "{}"})


def _langfuse_run(tracer: Tracer) -> None:
    call = {
        "langfuse.observation.type": "generation",
        "langfuse.environment": "production",
        "langfuse.observation.model.name": "gpt-4o-2024-08-06",
        "langfuse.observation.input": json.dumps({"messages": MESSAGES, "tools": TOOLS}),
        "langfuse.observation.output": json.dumps(MESSAGES[1]),
        "langfuse.observation.usage_details": '{"input": 812, "output": 90}',
        "langfuse.observation.cost_details": '{"total": 0.0041}',
        "langfuse.observation.model.parameters": '{"temperature": 0.2}',
    }
    agent = {"langfuse.observation.type": "agent", "langfuse.observation.input": QUESTION, "session.id": "c-1"}
    _play(tracer, agent, call, {"langfuse.observation.type": "tool", "langfuse.observation.input": "{}"})


if __name__ == "__main__":
    main()
