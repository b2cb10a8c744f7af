"""A topic says no more than its rule allows, whatever is written to it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.ingest.source import Position, Record
from monitor.service.pipeline import DecodedRecord, DecodeRules, decode_records
from monitor.trace.settings import Limits, TopicRule, TraceSettings
from tests.trace.otlp import as_protobuf, recorded

RULES = DecodeRules(
    Limits(),
    TraceSettings(
        topics=(
            TopicRule(topic="team", services=("shop",), teaches=False, judges=False),
            TopicRule(topic="judges", services=()),
            TopicRule(topic="references", judges=False),
        )
    ),
)


def read(topic: str, value: bytes) -> DecodedRecord:
    (decoded,) = decode_records([Record(Position(topic, 0, 0), key=None, value=value)], RULES)
    return decoded


def a_trace(**told: Any) -> bytes:
    event = {"schema": "cliffwatch.trace/v1", "trace_id": "t", "service": "shop", "model_version": "m"}
    return json.dumps({**event, "started_at": "2026-11-28T12:00:00Z", **told}).encode()


OUTCOME = json.dumps(
    {"schema": "cliffwatch.outcome/v1", "trace_id": "t", "outcome": {"success": False, "source": "human"}}
).encode()
SPANS = as_protobuf(
    recorded(lambda tracer: tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat"}).end())
)


@pytest.mark.parametrize(
    ("topic", "value", "is_read"),
    [
        ("team", a_trace(), True),
        ("team", a_trace(service="bank"), False),
        ("team", a_trace(environment="reference"), False),
        ("team", a_trace(environment="probes"), False),
        ("team", OUTCOME, False),
        ("team", SPANS, False),
        ("judges", OUTCOME, True),
        ("judges", a_trace(), False),
        ("judges", SPANS, False),
        ("references", a_trace(service="bank", environment="reference"), True),
        ("references", OUTCOME, False),
        ("elsewhere", a_trace(service="bank", environment="reference"), True),
        ("elsewhere", OUTCOME, True),
        ("elsewhere", SPANS, True),
    ],
)
def test_a_topic_says_what_its_rule_allows(topic: str, value: bytes, *, is_read: bool) -> None:
    """Traces and spans of its services, teaching and judging; the rest is counted, and the record is read."""
    decoded = read(topic, value)

    assert decoded.dead_letter is None
    assert (is_read, {} if is_read else {"not_allowed": 1}) == (
        bool(decoded.events or decoded.spans),
        dict(decoded.ignored),
    )
