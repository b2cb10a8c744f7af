"""Types that the ledger takes and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tag, Tier
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
        features: The features that its tag is based on.
        outcomes: The outcomes that it carries or implies.
        is_over_budget: Whether it used more than its budget.
        budget: Most steps, tokens and so on that it may use.
        declared_tier: The tier that its sender, or a rule of the config, gives it.
        cluster: Hash of the conversation, user or item that it shares with other requests.
            A negative number marks a cluster of one request.
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
    Pending spans of one trace.

    Attributes:
        first_received_at: Arrival of its first span, Unix seconds.
        last_received_at: Arrival of its last span, Unix seconds.
        counted: Span IDs of the heads of its runs that were counted before.
    """

    trace_id: TraceId
    spans: Sequence[Span]
    first_received_at: float = 0.0
    last_received_at: float = 0.0
    counted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assembled:
    """
    The result of assembling the pending spans of a trace.

    Attributes:
        span_count: Number of spans assembled; if the ledger has another number by now, they stay pending.
        tagged: The agent runs of the trace; none if it is not the work of an agent.
    """

    trace_id: TraceId
    span_count: int
    tagged: Sequence[TaggedTrace]


@dataclass(frozen=True, slots=True)
class OffsetCommit:
    """
    The new offset of one partition, committed in the batch's transaction.

    Attributes:
        partition: Topic and partition.
        expected_offset: The offset that this owner last read from or wrote to the ledger; None if it had none.
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
        dead_letters: Records that cannot be decoded.
        offsets: The new offset of every partition that has records in the batch.
        records: Records read per partition, dead letters included.
        received_at: Unix seconds.
        assembled: Traces that were assembled from pending spans.
        ignored: How many parts of records were ignored, by reason.
        postponed: Traces that cannot be assembled yet, with the time until which they wait, Unix seconds.
        forget_before: Counted traces whose last span came before this time (Unix seconds) expire.
        early_spans: Spans that were assembled early, since too many were pending.
        spans: New spans, pending until their trace is complete.
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
    The result of recording a batch.

    Attributes:
        counted: Traces counted.
        duplicates: Traces that the ledger had already.
        labelled: Traces that got their first label.
        closed: Assembled traces whose spans are no longer pending, agent runs or not.
        failed_traces: ID of the latest failed trace for each counter of failures that the batch incremented.
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
"""Largest value of a counter: an overflow of 64 bits would make every later batch fail."""

WHOLE = "whole"
"""Detail of the part of a sum in whole seconds or dollars; the remainder is in microseconds or nanodollars."""


class CounterName(StrEnum):
    """Counters in the ledger. Each is an integer number of its unit, so that sums do not depend on their order."""

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
    HORIZON_BUDGETS = "horizon_budgets"  # detail: unit, length class of the budget
    SPANS = "spans"  # detail: received | joined | non_agent | duplicate | late
    IGNORED = "ignored"  # detail: reason
    RECORDS = "records"  # detail: topic/partition
    DEAD_LETTERS = "dead_letters"  # detail: reason
    VERSIONS_UNRESOLVED = "versions_unresolved"  # model_version: the requested model; detail: outcome
    SERIES_DROPPED = "series_dropped"  # detail: the cap


@dataclass(frozen=True, slots=True)
class CounterKey:
    """Name and labels of one counter; labels that it does not have are empty."""

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
    A rollout with its verdicts.

    Attributes:
        verdict: The latest verdict; None before the first look.
        changes: Times at which the verdict changed (Unix seconds) with the new state, oldest first.
        floors: Floors that the candidate must reach, as configured when the rollout started.
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
    def class_tiers(self) -> Mapping[float, Sequence[tuple[str, str, Tier]]]:
        """Class tiers that earlier looks used (see `Verdict.class_tiers`); empty before the first verdict."""
        return {} if self.verdict is None else self.verdict.class_tiers

    @property
    def is_decided_side_by_side(self) -> bool:
        """Whether concurrent traffic has decided it, so that earlier traffic of the baseline is not needed."""
        last = self.verdict
        return last is not None and last.state is not VerdictState.WAITING and last.comparison is Comparison.CONCURRENT

    @property
    def new_failures(self) -> Mapping[Signature, NewFailure]:
        """State of the failure signatures that appeared in this rollout or an earlier one."""
        return {} if self.verdict is None or self.verdict.on_call is None else self.verdict.on_call.states


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """
    A frozen calibration in the ledger.

    Attributes:
        frozen_at: Unix seconds.
        promoted_at: When it was last put in force, Unix seconds; None if never.
        history_labels: Labelled requests in the history when it was frozen or last put in force; growth since then
            makes a new calibration due.
    """

    calibration_id: str
    frozen_at: float
    promoted_at: float | None
    history_labels: int

    @property
    def is_promoted(self) -> bool:
        return self.promoted_at is not None


def record_in_force(records: Sequence[CalibrationRecord]) -> CalibrationRecord | None:
    """The calibration in force among all *records* of a ledger, in their order; None if there is none."""
    return records[-1] if records and records[-1].is_promoted else None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """
    Runs of one probe by one model version.

    Attributes:
        first_started_at: Start of the first run, Unix seconds.
        runs: Number of runs.
        labelled: Runs with an outcome.
        failures: Runs that failed.
    """

    item: str
    capability: str
    model_version: str
    first_started_at: float
    runs: int
    labelled: int
    failures: int


class Lease(StrEnum):
    """A lock that one thread of one replica holds at a time."""

    REVIEW = "review"
    CALIBRATION = "calibration"


class PruneSubject(StrEnum):
    """Kinds of rows that the ledger deletes after their retention."""

    REQUESTS = "requests"
    EVIDENCE = "evidence"  # cells, and the sample of labelled requests for calibrations
    NAMES = "names"  # versions that are no longer used, with their counters
    OUTCOMES = "outcomes"  # outcomes whose trace never came
    DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, slots=True)
class Pruned:
    """Number of rows of one subject that were deleted, or are due to be."""

    subject: PruneSubject
    rows: int
