"""Generates spans of agent runs as a Collector's Kafka exporter writes them, with messages of 2 to 20 kB."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS_PER_RUN = 8
SPANS_PER_RECORD = 40
_AT_ONCE = 10
"""Runs of one process that are under way at the same time, so that a record holds spans of several."""

_PROSE = (
    "please find a quiet table for our team in the old town and tell everyone when to be there because last time "
    "nobody knew whether the order had been paid or what to do with the invoice that came back from the bank"
)
_WORDS = _PROSE.split()
_RESOURCE = {"service.name": "support-agent", "service.version": "1.2.3", "deployment.environment.name": "production"}
_TOOLS = json.dumps(
    [
        {
            "type": "function",
            "name": name,
            "description": f"What {name} does, in the two or three sentences that such descriptions take. " * 2,
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
        }
        for name in ("find_restaurant", "book_table", "send_message")
    ]
)


def span_records(runs: int, *, seed: int = 0) -> Iterator[bytes]:
    """Records of spans in the order in which they end; two runs in a hundred end in an error."""
    dice = random.Random(seed)
    prose = [" ".join(dice.choices(_WORDS, k=150)) for _ in range(200)]
    waiting: list[Span] = []
    for _ in range(0, runs, _AT_ONCE):
        some = [_run(dice, prose) for _ in range(_AT_ONCE)]
        waiting += [run[number] for number in range(SPANS_PER_RUN) for run in some]
        while len(waiting) >= SPANS_PER_RECORD:
            yield _record(waiting[:SPANS_PER_RECORD])
            del waiting[:SPANS_PER_RECORD]
    if waiting:
        yield _record(waiting)


def _record(spans: Sequence[Span]) -> bytes:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _put(resource.resource, _RESOURCE)
    resource.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def _run(dice: random.Random, prose: Sequence[str]) -> list[Span]:
    """A web request, an agent in it, three model calls with growing input, two tool calls and a database query."""
    trace_id, start = dice.randbytes(16), time.time() - 120.0
    question = dice.choice(prose)
    failed = dice.random() < 0.02
    history = [_said("user", question)]
    most = dice.uniform(2_000, 20_000)
    calls: list[dict[str, Any]] = []
    for number in range(3):
        while len(json.dumps(history)) < most * (number + 1) / 3:
            history.append(_said("assistant", dice.choice(prose)))
        calls.append(_call(history, dice.choice(prose)))
    agent = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "support",
        "gen_ai.conversation.id": f"c-{dice.randrange(10**9)}",
        "gen_ai.input.messages": json.dumps(history[:1]),
        "gen_ai.output.messages": json.dumps(history[-1:]),
    }
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book_table", "gen_ai.tool.call.id": "call_1"}
    http: dict[str, Any] = {"http.request.method": "POST", "url.path": "/chat", "http.response.status_code": 200}
    query = {"db.system.name": "postgresql", "db.query.text": "SELECT * FROM tables WHERE place = $1"}
    # Parents by their place among the ids; the order is that in which spans end.
    tree: list[tuple[str, int, int | None, Mapping[str, Any]]] = [
        ("chat", 2, 1, calls[0]),
        ("SELECT", 5, 3, query),
        ("execute_tool", 3, 1, tool),
        ("chat", 4, 1, calls[1]),
        ("execute_tool", 6, 1, tool),
        ("chat", 7, 1, calls[2]),
        ("invoke_agent", 1, 0, agent),
        ("POST /chat", 0, None, http),
    ]
    ids = [dice.randbytes(8) for _ in range(SPANS_PER_RUN)]
    spans = []
    for number, (name, own, parent, attributes) in enumerate(tree):
        span = Span(
            trace_id=trace_id,
            span_id=ids[own],
            parent_span_id=b"" if parent is None else ids[parent],
            name=name,
            start_time_unix_nano=int((start + 0.1 * own) * 1e9),
            end_time_unix_nano=int((start + 1.0 + 0.1 * number) * 1e9),
        )
        if failed and own in {0, 1}:
            span.status.code = Status.STATUS_CODE_ERROR
        _put(span, attributes)
        spans.append(span)
    return spans


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _call(history: Sequence[Any], answer: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 1_000,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-123",
        "gen_ai.usage.input_tokens": 812,
        "gen_ai.usage.output_tokens": 90,
        "gen_ai.input.messages": json.dumps(history),
        "gen_ai.output.messages": json.dumps([_said("assistant", answer)]),
        "gen_ai.tool.definitions": _TOOLS,
        "server.address": "api.openai.com",
    }


def _put(holder: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        held = holder.attributes.add(key=name).value
        if isinstance(value, str):
            held.string_value = value
        elif isinstance(value, float):
            held.double_value = value
        else:
            held.int_value = value
