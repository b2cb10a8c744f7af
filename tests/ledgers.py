"""Ledgers in tests: what was counted, and spans and calibrations to put into them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count

from hypothesis import HealthCheck
from hypothesis import strategies as st
from msgspec import structs

from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import NO_TAG, Tag, Tier
from monitor.ledger.ledger import (
    Assembled,
    CounterName,
    Recorded,
    TaggedTrace,
)
from monitor.ledger.sql import SqlLedger
from monitor.rollout.tracker import Rollout
from monitor.trace.assembly import build_traces
from monitor.trace.model import Budget, Outcome, OutcomeEvent, TraceId, Usage
from monitor.trace.settings import AssemblySettings, OutcomeSettings
from monitor.trace.span import Span
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    tagged,
)

HARD = Tag(Tier.HARD, 1.5, 0.25, is_known=True, bin=9, calibration_id="c1")
EASY = Tag(Tier.EASY, -3.0, 0.5, is_known=False, bin=1, calibration_id="c1")
ROLLOUT = Rollout("r1", "shop", "production", "model-1", "model-2", started_at=NOON, calibration_id="c1")

SHARED_LEDGER = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
"""The suite is inherited on purpose, and the examples of one run share a ledger without meeting each other's rows."""


def counts(ledger: SqlLedger, name: CounterName) -> Mapping[str, int]:
    """Totals of one counter by its detail."""
    totals: dict[str, int] = {}
    for key, value in ledger.counters().items():
        if key.name is name:
            totals[key.detail] = totals.get(key.detail, 0) + value
    return totals


def net_outcomes(ledger: SqlLedger) -> tuple[int, int]:
    """Successes and failures as they stand now: first labels, moved by revisions."""
    first, moved = counts(ledger, CounterName.OUTCOMES), counts(ledger, CounterName.OUTCOME_REVISIONS)
    shift = moved.get("failure>success", 0) - moved.get("success>failure", 0)
    return first.get("success", 0) + shift, first.get("failure", 0) - shift


def a_calibration(frozen_at: float = NOON) -> Calibration:
    history = [
        LabelledRequest(RequestFeatures("search", item=f"i{item}"), f"old-{version}", item % 3 == 0, NOON)
        for version in range(3)
        for item in range(60)
    ]
    calibration = calibrate(history, frozen_at=frozen_at, settings=DifficultySettings())
    assert calibration is not None
    return calibration


def assembled(trace_id: str, spans: Sequence[Span]) -> Assembled:
    """What a service makes of the spans that waited for a trace."""
    return Assembled(TraceId(trace_id), len(spans), [tagged(run) for run in build_traces(spans, OutcomeSettings())])


def close_trace(ledger: SqlLedger, trace_id: str, spans: Sequence[Span]) -> Recorded:
    """Close a trace as a service does that found *spans* waiting."""
    return ledger.record(dataclasses.replace(a_batch(), assembled=[assembled(trace_id, spans)]))


def close_due(ledger: SqlLedger, *, now: float = NOON + 60) -> int:
    """Close every trace that is due; how many there were."""
    due = ledger.due_spans(ASSEMBLY, now=now, max_spans=1_000)
    ledger.record(dataclasses.replace(a_batch(), assembled=[assembled(each.trace_id, each.spans) for each in due]))
    return len(due)


def problems(ledger: SqlLedger) -> list[str]:
    """Where what was counted is not what the rows say."""
    assert isinstance(ledger, SqlLedger)
    return [f"{check.name}: {problem}" for check in ledger.checks() for problem in check.problems]


def an_event(run: str) -> st.SearchStrategy[TaggedTrace | OutcomeEvent]:
    """A trace or a verdict, of few ids and many shapes, so that they meet; all of the service *run*."""
    ids = st.sampled_from([f"{run}-{number}" for number in range(6)])
    verdicts = st.builds(
        Outcome,
        success=st.booleans(),
        failure_class=st.sampled_from([None, "timeout", "wrong_tool"]),
        source=st.sampled_from(["human", "judge", "status", "reported", "somebody"]),
        labelled_at=st.sampled_from([None, NOON, NOON + 60]),
        evaluation=st.sampled_from([None, "tone"]),
    )
    traces = st.builds(
        lambda trace_id, tag, outcomes, **facts: structs.replace(
            tagged(a_trace(trace_id, service=run, **facts), tag), outcomes=tuple(outcomes)
        ),
        ids,
        st.sampled_from([HARD, EASY, NO_TAG]),
        st.lists(verdicts, max_size=2),
        environment=st.sampled_from(["production", "probes"]),
        model_version=st.sampled_from(["model-1", "model-2"]),
        capability=st.sampled_from(["search", "pay"]),
        started_at=st.sampled_from([NOON, NOON + 1.5, NOON + 7_200]),
        duration_seconds=st.sampled_from([None, 0.0, 2.5, 1e6]),
        usage=st.builds(
            Usage, st.sampled_from([None, 0, 812]), st.sampled_from([None, 90]), st.sampled_from([None, 0.0041])
        ),
        tool_calls=st.sampled_from([None, 0, 3]),
        steps=st.sampled_from([None, 1, 4, 2_000]),
        budget=st.sampled_from([Budget(), Budget(tool_calls=2)]),
    )
    return traces | st.builds(OutcomeEvent, ids.map(TraceId), verdicts)


def spans_left_over(ledger: SqlLedger) -> int:
    """Spans received that are nowhere: 0, always."""
    spans = Counter(counts(ledger, CounterName.SPANS))
    return spans["received"] - ledger.pending_spans() - sum(spans[name] for name in SPAN_FATES)


STORIES = count()

ASSEMBLY = AssemblySettings(quiet_seconds=30, idle_seconds=300, max_age_seconds=3_600)
SPAN_FATES = ("joined", "non_agent", "duplicate", "late")
