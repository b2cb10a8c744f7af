"""Inputs that were nearly valid; `CLIFFWATCH_FUZZ_INPUTS=100000 pytest tests/trace/test_fuzz.py` is the long run."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter

import pytest
from opentelemetry.trace import Tracer

from monitor.trace.assembly import build_trace
from monitor.trace.decode import decode
from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.outcome_policy import implied_outcomes, resolve
from monitor.trace.settings import Limits, OutcomeSettings
from monitor.trace.span import Span
from tests.trace.events import a_full_trace_event, an_outcome_event, as_bytes
from tests.trace.otlp import as_json, as_protobuf, recorded

INPUTS = int(os.environ.get("CLIFFWATCH_FUZZ_INPUTS", "2000"))
SETTINGS = OutcomeSettings()
_TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"NaN",
    b"-1e999",
    b"null",
    b"\xff",
    b"\\ud800",
    b"9" * 400,
    b"\x0a\x00",
]


def _play(tracer: Tracer) -> None:
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Book a table"}]}])
    with tracer.start_as_current_span("agent", attributes={"openinference.span.kind": "AGENT"}) as root:
        call = {
            "gen_ai.operation.name": "chat",
            "gen_ai.response.model": "m-1",
            "gen_ai.input.messages": messages,
            "gen_ai.usage.input_tokens": 812,
            "langfuse.observation.usage_details": '{"output": 3}',
            "llm.tools.0.tool.json_schema": '{"name": "book"}',
            "evaluations.0.evaluation.name": "q",
            "evaluations.0.evaluation.label": "pass",
            "cliffwatch.capability": "booking",
        }
        tracer.start_span("chat", attributes=call).end()
        root.add_event("gen_ai.evaluation.result", {"gen_ai.evaluation.score.label": "fail"})


def _seeds() -> dict[str, bytes]:
    spans = recorded(_play)
    score = {"name": "q", "value": 1, "traceId": "t", "dataType": "BOOLEAN"}
    return {
        "native trace": as_bytes(a_full_trace_event()),
        "native outcome": as_bytes(an_outcome_event()),
        "OTLP protobuf": as_protobuf(spans),
        "OTLP JSON": json.dumps(as_json(spans)).encode(),
        "Langfuse score": json.dumps(score).encode(),
        "gzip": gzip.compress(as_protobuf(spans), mtime=0),
    }


def mutated(value: bytes, dice: random.Random) -> bytes:
    """*value* after a few flips, cuts, copies and insertions."""
    for _ in range(dice.randint(1, 5)):
        start, end = sorted(dice.randrange(len(value) + 1) for _ in range(2))
        at = dice.randrange(len(value) + 1)
        match dice.randrange(5):
            case 0:
                flipped = bytearray(value)
                if flipped:
                    flipped[at % len(flipped)] ^= 1 << dice.randrange(8)
                value = bytes(flipped)
            case 1:
                value = value[:start] + value[end:]
            case 2:
                value = value[:at] + value[start:end] + value[at:]
            case 3:
                value = value[:at] + dice.choice(_TOKENS) + value[at:]
            case _:
                value = value[:at] + dice.randbytes(dice.randint(1, 4)) + value[at + 2 :]
    return value


def _fate(value: bytes) -> str:
    """What became of *value*; all that comes out of it goes through everything that follows."""
    try:
        decoded = decode(value, Limits())
    except InvalidRecord as refused:
        return DropReason(refused.reason)
    spans = [Span.from_json(span.to_json()) for span in decoded.spans]
    built = build_trace(spans, SETTINGS)
    for trace in [*decoded.traces, *([built] if built else [])]:
        resolve([*implied_outcomes(trace, SETTINGS), *(event.outcome for event in decoded.outcomes)], SETTINGS)
    return "read"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", _seeds())
def test_every_mutated_input_is_accounted_for(kind: str) -> None:
    """Whatever was done to a valid payload, it is read or refused with a reason, and nothing else happens."""
    seed = _seeds()[kind]
    dice = random.Random(20261123)
    inputs = -(-INPUTS // len(_seeds()))

    fates = Counter(_fate(mutated(seed, dice)) for _ in range(inputs))

    assert inputs == fates.total()
    assert fates["read"] < inputs
    assert len(fates) > 1
