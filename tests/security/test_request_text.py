"""What users ask and agents answer is used to tell what is alike, and kept nowhere."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor.difficulty.settings import DifficultySettings
from monitor.ingest.dead_letter import NoDeadLetters
from monitor.ledger.ledger import CounterName
from monitor.ledger.sql import SqlLedger
from monitor.log import LogLevel, LogSettings, configure
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import encode_openmetrics
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.rollout.policy import Policy
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from monitor.service.stages import Stages
from monitor.trace.settings import Limits, TraceSettings
from tests.fakes import FakeBroker, FakeSource
from tests.ledgers import counts
from tests.traced import FakeClock

CANARY = "canary7Q"
TEXT = f"Please tell {CANARY} about the weather in Paris tomorrow"
MESSAGES = json.dumps([{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}])
STARTED_NS = 1_795_410_120 * 10**9


def native(**changes: Any) -> bytes:
    event = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": f"{changes.pop('number', 1):032x}",
        "service": "shop",
        "model_version": "gpt-4-0613",
        "started_at": "2026-11-23T05:02:00Z",
        "request": {"text": TEXT, "messages": 3},
        "response": TEXT,
        "outcome": {"success": False, "failure_class": "wrong_tool", "explanation": TEXT},
    }
    return json.dumps({**event, **changes}).encode()


def otlp(number: int, attributes: dict[str, str], *, parent: str = "") -> bytes:
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": parent,
        "name": "invoke_agent helper",
        "startTimeUnixNano": str(STARTED_NS),
        "endTimeUnixNano": str(STARTED_NS + 10**9),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
        "events": [{"timeUnixNano": str(STARTED_NS), "name": "gen_ai.user.message", "attributes": _content()}],
    }
    scope = {"spans": [span]}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}).encode()


def _content() -> list[dict[str, Any]]:
    return [{"key": "content", "value": {"stringValue": TEXT}}]


RECORDS = {
    "native": native(),
    "native that is refused": native(number=2, model_version=TEXT),
    "native that lacks a brace": native(number=3)[:-1],
    "OpenTelemetry": otlp(
        4,
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.request.model": "gpt-4-0613",
            "gen_ai.input.messages": MESSAGES,
            "gen_ai.output.messages": MESSAGES,
            "gen_ai.system_instructions": TEXT,
        },
    ),
    "OpenInference": otlp(
        5,
        {
            "openinference.span.kind": "AGENT",
            "llm.model_name": "gpt-4-0613",
            "input.value": TEXT,
            "output.value": TEXT,
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": TEXT,
        },
    ),
    "Langfuse": otlp(
        6,
        {
            "langfuse.observation.type": "agent",
            "langfuse.observation.model.name": "gpt-4-0613",
            "langfuse.observation.input": MESSAGES,
            "langfuse.observation.output": MESSAGES,
            "langfuse.trace.input": TEXT,
        },
    ),
    "a span that waits for its root": otlp(
        7, {"gen_ai.operation.name": "chat", "gen_ai.input.messages": MESSAGES}, parent="00000000000000aa"
    ),
    "a Langfuse score": json.dumps(
        {"id": "s", "traceId": f"{1:032x}", "name": "correct", "value": 1, "comment": TEXT, "dataType": "BOOLEAN"}
    ).encode(),
}


def test_text_of_requests_is_kept_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Not in the ledger's bytes, not even while spans wait, nor in logs at level debug or metrics."""
    configure(LogSettings(level=LogLevel.DEBUG))
    broker, clock = FakeBroker(), FakeClock()
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db")
    settings, policy = ServiceSettings(review_interval_seconds=1e9, snapshot_interval_seconds=1e9), Policy()
    snapshots = SnapshotHolder(Snapshot(now=0.0, policy=policy))
    reviewer = Reviewer(ledger, settings=settings, difficulty=DifficultySettings(), policy=policy)
    stages = Stages(FakeSource(broker, ledger.offsets), NoDeadLetters(), ledger, reviewer, clock, snapshots)
    service = Service(stages, rules=DecodeRules(Limits(), TraceSettings()), settings=settings)
    for record in RECORDS.values():
        broker.append(record)

    with closing(ledger):
        service.run_once()
        while_waiting = _bytes_of(tmp_path)
        waiting = ledger.pending_spans()
        clock.advance(1e6)
        service.run_once()
        service.publish()
        requests = sum(counts(ledger, CounterName.REQUESTS).values())
        dead = sum(counts(ledger, CounterName.DEAD_LETTERS).values())
        afterwards = _bytes_of(tmp_path)
    metrics = encode_openmetrics(families_of(snapshots.current))
    log = capfd.readouterr()

    assert waiting >= 3
    assert requests >= 4, "one of each format, and it was understood"
    assert 2 == dead
    for where, content in {
        "while spans wait": while_waiting,
        "when all are counted": afterwards,
        "in a scrape": metrics,
        "in the log": (log.out + log.err).encode(),
    }.items():
        assert CANARY.encode() not in content, where


def _bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())
