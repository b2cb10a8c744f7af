from __future__ import annotations

import json
from collections.abc import Sequence

from opentelemetry.trace import Tracer

from monitor.ingest.source import Position, Record
from monitor.service.pipeline import DecodeRules
from monitor.service.tail import SeenRequest, Watch
from monitor.trace.settings import Limits, OutcomeSettings, TraceSettings
from tests.trace.otlp import as_protobuf, recorded

UNJUDGED = TraceSettings(outcomes=OutcomeSettings(status="ignored"))


def a_watch() -> Watch:
    return Watch(DecodeRules(Limits(), UNJUDGED), lambda: None, quiet_seconds=2.0)


def record(value: object) -> Record:
    return Record(
        Position("agent-traces", 0, 0), None, value if isinstance(value, bytes) else json.dumps(value).encode()
    )


def a_native_trace(**more: object) -> Record:
    schema = {"schema": "cliffwatch.trace/v1", "trace_id": "t", "service": "shop", "model_version": "m-1"}
    return record(schema | {"started_at": "2026-11-23T05:02:00Z"} | more)


def said(*, success: bool) -> Record:
    outcome = {"success": success, "source": "judge", "labelled_at": f"2026-11-23T0{6 + success}:00:00Z"}
    return record({"schema": "cliffwatch.outcome/v1", "trace_id": "t", "outcome": outcome})


def shown(seen: Sequence[SeenRequest]) -> list[tuple[bool | None, bool]]:
    return [(None if each.outcome is None else each.outcome.success, each.is_revised) for each in seen]


def test_a_native_trace_is_shown_at_once_and_again_with_each_new_verdict() -> None:
    """A verdict that says what was said before is not worth a line."""
    watch = a_watch()

    seen = list(watch.see([a_native_trace(), said(success=False), said(success=False), said(success=True)], now=0.0))

    assert [(None, False), (False, True), (True, True)] == shown(seen)


def test_a_declared_tier_is_shown() -> None:
    """It needs no calibration, and says nothing of the difficulty in logits."""
    (seen,) = a_watch().see([a_native_trace(request={"attributes": {"tier": "hard"}})], now=0.0)

    assert ("hard", "") == (seen.tag.tier, seen.tag.calibration_id)


def test_a_verdict_that_comes_first_is_shown_with_its_request() -> None:
    """Topics are read side by side, so that either may come first."""
    watch = a_watch()

    seen = list(watch.see([said(success=False), a_native_trace()], now=0.0))

    assert [(False, False)] == shown(seen)


def test_spans_are_shown_as_one_request_once_they_were_quiet() -> None:
    """Not before the root has ended and no span came for two seconds."""

    def play(tracer: Tracer) -> None:
        with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
            call = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "m-1"}
            tracer.start_span("call", attributes=call).end()

    call, agent = recorded(play)
    watch = a_watch()

    early = [*watch.see([record(as_protobuf([call]))], now=0.0), *watch.due(now=60.0)]
    early += [*watch.see([record(as_protobuf([agent]))], now=60.0), *watch.due(now=61.0)]
    (seen,) = watch.due(now=62.0)

    assert [] == early
    assert ("support-agent", "m-1") == (seen.trace.service, seen.trace.model_version)
    assert [] == list(watch.rest())


def test_what_cannot_be_read_is_counted() -> None:
    """And does not stop the rest."""
    watch = a_watch()

    seen = list(watch.see([record(b"\x1f\x8bbroken"), a_native_trace()], now=0.0))

    assert 1 == len(seen)
    assert 1 == watch.unreadable
