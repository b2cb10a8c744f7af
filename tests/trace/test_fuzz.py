"""Inputs that were nearly valid; `make fuzz` is the long run."""

from __future__ import annotations

import gzip
import json
import os
import random
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard
from msgspec import msgpack
from msgspec.structs import replace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.trace import Tracer

from monitor.ledger.ledger import CounterName
from monitor.trace.assembly import build_traces
from monitor.trace.decode import decode
from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.outcome_policy import implied_outcomes, resolve
from monitor.trace.semconv import EVALUATION_EVENT
from monitor.trace.settings import Limits, OutcomeSettings
from monitor.trace.span import Span
from tests.trace.events import a_full_trace_event, an_outcome_event, as_bytes
from tests.trace.otlp import SECOND, STARTED_AT, as_json, as_protobuf, recorded
from tests.traced import Monitor, a_monitor

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
_VALUES = [
    "",
    " ",
    "\0",
    "NaN",
    "-1",
    "9" * 400,
    "\u202e\u001b[31m",
    "x" * 70_000,
    "9999-12-31T23:59:59.999Z",
    "2026-02-30T00:00:00Z",
    None,
    True,
    0,
    -1,
    0.1,
    2**63,
    10**400,
    [],
    [None],
    {},
    {"": {"a": [[{}]]}},
    {"stringValue": 1},
    {"intValue": "9" * 400},
    {"doubleValue": "-Infinity"},
    {"arrayValue": {"values": [{}]}},
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
        "OTLP logs": _evaluation_logs(),
        "gzip": gzip.compress(as_protobuf(spans), mtime=0),
        "zstd": zstandard.compress(as_protobuf(spans)),
    }


def _evaluation_logs() -> bytes:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for number in (1, 2):
        log = records.add(
            time_unix_nano=STARTED_AT * SECOND, event_name=EVALUATION_EVENT, trace_id=bytes([number] * 16)
        )
        log.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = "fail"
    return request.SerializeToString()


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


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for at, each in inner:
        yield part, at
        yield from _places(each)


def _fate(value: bytes) -> str:
    """What became of *value*; all that comes out of it goes through everything that follows."""
    try:
        decoded = decode(value, Limits())
    except InvalidRecord as refused:
        return DropReason(refused.reason)
    assert decoded.traces or decoded.outcomes or decoded.spans or decoded.ignored
    spans = [msgpack.decode(msgpack.encode(span), type=Span) for span in decoded.spans]
    built = build_traces(spans, SETTINGS)
    for trace in [*decoded.traces, *built]:
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


@pytest.mark.parametrize("kind", ["native trace", "native outcome", "OTLP JSON", "Langfuse score"])
def test_any_value_may_stand_anywhere(kind: str) -> None:
    """Each part of a valid document is replaced by each value that another sender may have in mind, or an attacker."""
    document = json.loads(_seeds()[kind])
    fates = Counter[str]()
    for within, at in [*_places(document)]:
        meant = within[at]
        for value in _VALUES:
            within[at] = value
            fates[_fate(json.dumps(document).encode())] += 1
        within[at] = meant

    assert fates["read"]
    assert len(fates) > 1


@pytest.mark.timeout(3600)
def test_the_ledger_accounts_for_every_mutated_input() -> None:
    """Of every input the service counts what is in it, or a dead letter: the sums are those of each input alone."""
    dice = random.Random(20261124)
    seeds = list(_seeds().values())
    truth = Counter[str]()
    with a_monitor(partitions=3) as monitor:
        for _ in range(-(-INPUTS // _INPUTS_PER_BATCH)):
            for _ in range(_INPUTS_PER_BATCH):
                value = mutated(dice.choice(seeds), dice)
                truth.update(_holds(value))
                monitor.feed(value, partition=dice.randrange(3))
            monitor.read_all()  # which looks after every span
            for log in monitor.broker.logs.values():
                log[:] = [replace(record, value=b"") for record in log]  # the memory of 100,000 inputs
        counted = _counted(monitor)
        monitor.close_traces()
        fates = monitor.count(CounterName.SPANS)

    assert +truth == +counted
    assert {"records", "dead_lettered", "traces", "spans", "ignored"} <= set(+counted)
    assert truth["spans"] == sum(times for fate, times in fates.items() if fate != "received")


_INPUTS_PER_BATCH = 500


def _holds(value: bytes) -> Counter[str]:
    """What an input holds, by what the ledger has to count it as."""
    try:
        decoded = decode(value, Limits())
    except InvalidRecord as refused:
        return Counter({"records": 1, "dead_lettered": 1, f"dead_lettered as {refused.reason}": 1})
    held = {"records": 1, "traces": len(decoded.traces), "spans": len(decoded.spans)}
    ignored = {f"ignored as {reason}": times for reason, times in decoded.ignored.items()}
    return Counter({"ignored": sum(ignored.values()), **held, **ignored})


def _counted(monitor: Monitor) -> Counter[str]:
    fates = monitor.count(CounterName.SPANS)
    letters, ignored = monitor.count(CounterName.DEAD_LETTERS), monitor.count(CounterName.IGNORED)
    traces = (monitor.count(CounterName.REQUESTS), monitor.count(CounterName.DUPLICATES))
    return Counter(
        {
            "records": sum(monitor.count(CounterName.RECORDS).values()),
            "dead_lettered": sum(letters.values()),
            "traces": sum(sum(found.values()) for found in traces),
            "spans": fates["received"],
            "ignored": sum(ignored.values()),
        }
        | {f"dead_lettered as {reason}": times for reason, times in letters.items()}
        | {f"ignored as {reason}": times for reason, times in ignored.items()}
    )


def _bombs() -> dict[str, bytes]:
    """Payloads of a few kilobytes that would unfold to 256 MiB."""
    squeeze = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    squeezed = [squeeze.compress(bytes(1 << 20)) for _ in range(256)]
    dense = zstandard.ZstdCompressor().compressobj()
    packed = [dense.compress(bytes(1 << 20)) for _ in range(256)]
    return {"gzip": b"".join([*squeezed, squeeze.flush()]), "zstd": b"".join([*packed, dense.flush()])}


@pytest.mark.slow
def test_compression_bombs_are_refused_and_their_neighbours_counted() -> None:
    """A payload that unfolds to more than the limit is a dead letter, and hardly more than the limit is unfolded."""
    bombs = _bombs()
    with a_monitor() as monitor:
        monitor.feed(as_bytes(a_full_trace_event()), *bombs.values(), as_bytes(an_outcome_event()))
        tracemalloc.start()
        monitor.read_all()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert {"too_large": 2} == monitor.count(CounterName.DEAD_LETTERS)
        assert {"": 1} == monitor.count(CounterName.REQUESTS)
    assert max(map(len, bombs.values())) < 512 * 1024
    assert peak < 4 * Limits().max_decompressed_bytes
