"""Values that cross the boundary of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tag
from monitor.ingest.source import DeadLetterRecord, TopicPartition
from monitor.rollout.cohort import Comparison
from monitor.rollout.floors import CommittedFloor
from monitor.rollout.oncall import NewFailure, Signature
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import Verdict, VerdictState
from monitor.trace.model import NO_BUDGET, Budget, Ignored, Outcome, OutcomeEvent, Trace, TraceId
from monitor.trace.span import Span


class TaggedTrace(Struct, frozen=True, gc=False):
    """
    A trace on its way into the ledger.

    Attributes:
        features: What tagged it.
        outcomes: Every verdict that it carries itself.
        is_over_budget: It used more than it was allowed.
        budget: What it was allowed.
        declared_tier: The tier that its sender, or a rule of the config, gives it.
        cluster: Hash of what it shares with requests like it: its conversation, else its user, else its item.
            A negative number stands for this one request.
    """

    trace: Trace
    features: RequestFeatures
    tag: Tag
    outcomes: Sequence[Outcome] = ()
    is_over_budget: bool = False
    budget: Budget = NO_BUDGET
    declared_tier: str | None = None
    cluster: int | None = None


@dataclass(frozen=True, slots=True)
class PendingSpans:
    """
    Spans of a trace that is complete, or pending for longer than the settings allow.

    The first and the last of them came at a time in Unix seconds; *counted* are the heads of runs counted before.
    """

    trace_id: TraceId
    spans: Sequence[Span]
    first_received_at: float = 0.0
    last_received_at: float = 0.0
    counted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assembled:
    """
    What became of the pending spans of a trace.

    Attributes:
        span_count: How many there were; with another number in the ledger by now, they stay pending.
        tagged: The agent runs of the trace; none where the spans are not an agent's work.
    """

    trace_id: TraceId
    span_count: int
    tagged: Sequence[TaggedTrace]


@dataclass(frozen=True, slots=True)
class OffsetCommit:
    """
    The step of one partition, written in the batch's transaction.

    Attributes:
        partition: Topic and partition.
        expected_offset: What this owner last read from or wrote to the ledger; None where the ledger had no row.
        next_offset: Last handled offset + 1.
    """

    partition: TopicPartition
    expected_offset: int | None
    next_offset: int


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Everything that one transaction writes.

    Attributes:
        events: Traces and outcomes in the order of their records, so that counts do not depend on where a batch ends.
        dead_letters: Records that say nothing.
        offsets: The step of every partition that has records here.
        records: Records read per partition, dead letters included.
        received_at: Unix seconds.
        assembled: Traces whose pending spans are put together here.
        ignored: What was left aside in records that were read.
        postponed: Traces that are complete and still wait, and until when, Unix seconds.
        forget_before: Spans of counted traces expire when the last of them came before, Unix seconds.
        early_spans: Spans that are put together early, since their service held more than its share.
        spans: Spans that from now on are pending, until their trace is complete.
    """

    events: Sequence[TaggedTrace | OutcomeEvent] = ()
    dead_letters: Sequence[DeadLetterRecord] = ()
    offsets: Sequence[OffsetCommit] = ()
    records: Mapping[TopicPartition, int] = field(default_factory=dict)
    received_at: float = field(kw_only=True)
    assembled: Sequence[Assembled] = ()
    ignored: Mapping[Ignored, int] = field(default_factory=dict)
    postponed: Mapping[TraceId, float] = field(default_factory=dict)
    forget_before: float = float("-inf")
    early_spans: int = 0
    spans: Sequence[Span] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """
    What a batch did to the ledger.

    Attributes:
        counted: Traces counted.
        duplicates: Traces that it had already.
        labelled: Traces that got their first label.
        closed: Assembled traces whose spans are no longer pending, agent runs or not; the others stay as they are.
        failed_traces: Trace id of the latest failure in each counter of failures that the batch moved.
    """

    counted: int = 0
    duplicates: int = 0
    labelled: int = 0
    closed: int = 0
    failed_traces: Mapping[CounterKey, str] = field(default_factory=dict)


DURATION_BUCKETS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Upper bounds of the duration histogram; an agent run takes from a moment to an hour."""

STEP_BUCKETS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000)
"""Upper bounds of the histogram of steps; a long run has hundreds."""


FailureCounts = Mapping[Signature, int]
"""Failures of one arm by signature."""


CEILING = 2**62
"""Where a counter stays: one more batch could overflow 64 bits, and stop the service for good."""

WHOLE = "whole"
"""Detail of the part of a sum that is in whole seconds or dollars; what is left over is in the sum's own unit."""


class CounterName(StrEnum):
    """Counters that the ledger keeps; each is a whole number of its unit, so that sums do not depend on their order."""

    REQUESTS = "requests"
    OUTCOMES = "outcomes"  # detail: success | failure
    OUTCOME_REVISIONS = "outcome_revisions"  # detail: from>to
    FAILURES_BY_CLASS = "failures_by_class"  # detail: failure class
    DURATION_BUCKET = "duration_bucket"  # detail: upper bound in seconds as Prometheus writes it
    DURATION_MICROSECONDS = "duration_microseconds"  # detail: whole, or empty
    STEPS_BUCKET = "steps_bucket"  # detail: upper bound in steps as Prometheus writes it
    STEPS = "steps"
    TOKENS = "tokens"  # detail: input | output
    COST_NANODOLLARS = "cost_nanodollars"  # detail: whole, or empty
    TOOL_CALLS = "tool_calls"
    BUDGET_EXCEEDED = "budget_exceeded"
    ALIAS_REQUESTS = "alias_requests"
    DUPLICATES = "duplicates"
    UNKNOWN_FIELDS = "unknown_fields"
    HORIZON = "horizon"  # detail: unit, length, outcome; a request moves when its outcome changes
    HORIZON_BUDGETS = "horizon_budgets"  # detail: unit, length that the budget lies in
    SPANS = "spans"  # detail: received | joined | non_agent | duplicate | late
    IGNORED = "ignored"  # detail: what was left aside
    RECORDS = "records"  # detail: topic/partition
    DEAD_LETTERS = "dead_letters"  # detail: reason
    VERSIONS_UNRESOLVED = "versions_unresolved"  # model_version: that was asked for; detail: outcome
    SERIES_DROPPED = "series_dropped"  # detail: label


@dataclass(frozen=True, slots=True)
class CounterKey:
    """Labels of one counter; those that a counter does not have are empty."""

    name: CounterName
    service: str = ""
    environment: str = ""
    model_version: str = ""
    tier: str = ""
    capability: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """
    A rollout with what was said of it.

    Attributes:
        verdict: The latest, None before the first look.
        changes: When the verdict changed (Unix seconds) and to which state, oldest first.
        floors: What the candidate is held to, as it was agreed on when the rollout started.
    """

    rollout: Rollout
    verdict: Verdict | None = None
    changes: Sequence[tuple[float, str]] = field(default=())
    floors: Sequence[CommittedFloor] = field(default=())

    @property
    def state(self) -> VerdictState:
        """The latest verdict; `waiting` before the first review."""
        return VerdictState.WAITING if self.verdict is None else self.verdict.state

    @property
    def is_decided_side_by_side(self) -> bool:
        """Whether requests of the same hours are enough: then no days before stand in for the baseline."""
        last = self.verdict
        return last is not None and last.state is not VerdictState.WAITING and last.comparison is Comparison.CONCURRENT

    @property
    def new_failures(self) -> Mapping[Signature, NewFailure]:
        """What became of signatures that this rollout or an earlier one brought."""
        return {} if self.verdict is None or self.verdict.on_call is None else self.verdict.on_call.states


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """
    A frozen calibration that the ledger keeps.

    Attributes:
        frozen_at: Unix seconds.
        promoted_at: When it was last put in force, Unix seconds; None where it never was.
        history_labels: Labelled requests that the history held when it was frozen or last put in force; growth since
            then calls for a new one.
    """

    calibration_id: str
    frozen_at: float
    promoted_at: float | None
    history_labels: int

    @property
    def is_promoted(self) -> bool:
        return self.promoted_at is not None


def record_in_force(records: Sequence[CalibrationRecord]) -> CalibrationRecord | None:
    """Of all *records* of a ledger, in its order, the one that is in force; None where there is none."""
    return records[-1] if records and records[-1].is_promoted else None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """
    How one version did on one probe.

    Attributes:
        first_started_at: Start of its first run, Unix seconds.
        runs: Times that the probe was asked.
        labelled: Those with an outcome.
        failures: Those whose outcome is a failure.
    """

    item: str
    capability: str
    model_version: str
    first_started_at: float
    runs: int
    labelled: int
    failures: int


class Lease(StrEnum):
    """A right that one thread of one replica holds at a time."""

    REVIEW = "review"
    CALIBRATION = "calibration"


class PruneSubject(StrEnum):
    """What the ledger deletes after a time."""

    REQUESTS = "requests"
    EVIDENCE = "evidence"  # cells, and the labelled requests that are kept for calibrations
    NAMES = "names"  # versions that are not used any more, with their counters
    OUTCOMES = "outcomes"  # whose trace never came
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True)
class Pruned:
    """Rows of one subject that were deleted, or are due to be."""

    subject: PruneSubject
    rows: int
