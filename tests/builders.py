"""Values for tests: every argument has a default, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import NO_TAG, Tag
from monitor.ingest.source import DeadLetterRecord, Position, Record, TopicPartition
from monitor.ledger.ledger import Batch, OffsetCommit, TaggedTrace
from monitor.trace.model import (
    Budget,
    DropReason,
    ModelVersion,
    Outcome,
    OutcomeEvent,
    Request,
    Trace,
    TraceId,
    Usage,
)
from monitor.trace.outcome_policy import budget_of, implied_outcomes, is_over_budget
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import Span

NOON = 1_790_000_000.0
"""Some moment of September 2026, Unix seconds."""

PARTITION = TopicPartition("agent-traces", 0)


def a_trace(
    trace_id: str = "t1",
    *,
    service: str = "shop",
    environment: str = "production",
    model_version: str = "model-1",
    capability: str = "search",
    request_id: str | None = None,
    started_at: float = NOON,
    duration_seconds: float | None = None,
    outcome: Outcome | None = None,
    usage: Usage | None = None,
    tool_calls: int | None = None,
    steps: int | None = None,
    budget: Budget | None = None,
) -> Trace:
    return Trace(
        trace_id=TraceId(trace_id),
        service=service,
        environment=environment,
        model_version=ModelVersion(model_version),
        request=Request(capability=capability, request_id=request_id),
        started_at=started_at,
        ended_at=None if duration_seconds is None else started_at + duration_seconds,
        usage=usage or Usage(),
        tool_calls=tool_calls,
        steps=steps,
        budget=budget or Budget(),
        outcome=outcome,
    )


def tagged(trace: Trace, tag: Tag = NO_TAG) -> TaggedTrace:
    settings = OutcomeSettings()
    return TaggedTrace(
        trace,
        RequestFeatures(trace.request.capability, item=trace.request.request_id),
        tag,
        implied_outcomes(trace, settings),
        is_over_budget=is_over_budget(trace, budget_of(trace, settings)),
        budget=budget_of(trace, settings),
    )


def success(*, labelled_at: float | None = NOON, source: str = "judge") -> Outcome:
    return Outcome(success=True, source=source, labelled_at=labelled_at)


def failure(
    failure_class: str | None = "wrong_tool", *, labelled_at: float | None = NOON, source: str = "judge"
) -> Outcome:
    return Outcome(success=False, failure_class=failure_class, source=source, labelled_at=labelled_at)


def an_outcome(trace_id: str = "t1", outcome: Outcome | None = None) -> OutcomeEvent:
    return OutcomeEvent(TraceId(trace_id), outcome or success())


def a_dead_letter(offset: int = 0, reason: DropReason = DropReason.NOT_JSON) -> DeadLetterRecord:
    return DeadLetterRecord(Record(Position(*PARTITION, offset), None, b"no json"), reason, "Invalid JSON")


def a_batch(
    *events: TaggedTrace | OutcomeEvent | Span,
    expected_offset: int | None = None,
    next_offset: int | None = None,
    dead_letters: Sequence[DeadLetterRecord] = (),
    received_at: float = NOON,
) -> Batch:
    """A batch of partition 0; without a *next_offset* it moves no offset."""
    moves = [] if next_offset is None else [OffsetCommit(PARTITION, expected_offset, next_offset)]
    records = {PARTITION: len(events) + len(dead_letters)} if events or dead_letters else {}
    spans = [event for event in events if isinstance(event, Span)]
    others = [event for event in events if not isinstance(event, Span)]
    return Batch(others, dead_letters, moves, records, received_at=received_at, spans=spans)
