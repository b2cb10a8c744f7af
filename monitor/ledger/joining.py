"""What the events of one batch add to the counts: traces joined with outcomes, each trace once, each label once."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.ledger.labels import Admission, VersionKey
from monitor.ledger.ledger import (
    DURATION_BUCKETS_SECONDS,
    STEP_BUCKETS,
    Assembled,
    CounterName,
    Recorded,
    TaggedTrace,
)
from monitor.trace.model import Outcome, OutcomeEvent
from monitor.trace.outcome_policy import resolve, standing
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import Span

Counted = tuple[str, str, str, str, str, str, str]
"""A counter's name and labels, in the order of `CounterKey`."""


@dataclass(slots=True)
class Slot:
    """What is known of one trace id while a batch is joined; *stored* says that the ledger has a row for it already."""

    stored: bool = False
    version: VersionKey | None = None
    counted_tier: str = ""
    capability: str = ""
    standing: tuple[Outcome, ...] = ()
    label: Outcome | None = None
    new_trace: TaggedTrace | None = None
    has_new_outcome: bool = False


@dataclass(slots=True)
class Activity:
    """What one batch adds to a model version."""

    first_started_at: float = float("inf")
    last_started_at: float = float("-inf")
    requests: int = 0
    labelled: int = 0


class Joining:
    """The counts that one batch adds, event by event."""

    def __init__(
        self,
        slots: dict[str, Slot],
        labels: Admission,
        outcomes: OutcomeSettings,
    ) -> None:
        self._slots = slots
        self._labels = labels
        self._outcomes = outcomes
        self.counts: Counter[Counted] = Counter()
        self.activity: dict[VersionKey, Activity] = {}

    def is_counted(self, trace_id: str) -> bool:
        """Whether the trace is a request already."""
        return self._slots[trace_id].version is not None

    def add(self, event: TaggedTrace | OutcomeEvent | Span) -> None:
        """Count what one record said; spans are counted as they begin to wait."""
        match event:
            case TaggedTrace():
                self.add_trace(event)
            case OutcomeEvent():
                self.add_outcome(self._slots[event.trace_id], event.outcome)
                self.count(CounterName.UNKNOWN_FIELDS, by=event.unknown_fields)

    def recorded(self, *, closed: int) -> Recorded:
        return Recorded(
            counted=sum(seen.requests for seen in self.activity.values()),
            duplicates=sum(value for key, value in self.counts.items() if key[0] == CounterName.DUPLICATES),
            labelled=sum(seen.labelled for seen in self.activity.values()),
            closed=closed,
        )

    def add_trace(self, tagged: TaggedTrace) -> None:
        """Count a trace once; one that is there already may still bring a newer outcome."""
        slot, trace = self._slots[tagged.trace.trace_id], tagged.trace
        # First, so that of the verdicts which come with a new trace only the one that stands is counted.
        for outcome in tagged.outcomes:
            self.add_outcome(slot, outcome)
        if slot.version is None:
            self._count_new_trace(slot, tagged)
        else:
            self._count_for(slot, CounterName.DUPLICATES, tier="", capability="")
        self.count(CounterName.UNKNOWN_FIELDS, by=trace.unknown_fields)

    def add_assembled(self, assembled: Assembled) -> None:
        """Count a trace that waited for its spans, and what became of them."""
        if assembled.tagged is None:
            became = "foreign"
        elif self.is_counted(assembled.trace_id):
            became = "late"  # they came while another replica was closing the trace
        else:
            became = "joined"
            self.add_trace(assembled.tagged)
        self.count(CounterName.SPANS, detail=became, by=assembled.span_count)

    def add_outcome(self, slot: Slot, outcome: Outcome) -> None:
        """Add *outcome* to the verdicts on the trace of *slot*; count a first label, or a revision of it."""
        now_standing = standing((*slot.standing, outcome)) if slot.standing else (outcome,)
        if now_standing == slot.standing:
            return
        previous, label = slot.label, resolve(now_standing, self._outcomes)
        slot.standing, slot.label, slot.has_new_outcome = now_standing, label, True
        if slot.version is None or label is None:
            return  # counted when the trace comes, or when somebody who is believed speaks
        if previous is None:
            self._count_label(slot, label)
        elif previous.success != label.success:
            self._count_for(
                slot, CounterName.OUTCOME_REVISIONS, detail=f"{_outcome_label(previous)}>{_outcome_label(label)}"
            )
            self._count_failure_class(slot, label)

    def count(self, name: CounterName, *, detail: str = "", by: int = 1) -> None:
        """Move a counter that belongs to no model version."""
        if by:
            self.counts[name, "", "", "", "", "", detail] += by

    def count_dropped(self) -> None:
        """Count the names that were refused, once everything is joined."""
        for label, times in self._labels.dropped.items():
            self.count(CounterName.SERIES_DROPPED, detail=label, by=times)

    def _count_new_trace(self, slot: Slot, tagged: TaggedTrace) -> None:
        trace = tagged.trace
        slot.new_trace = tagged
        slot.version = self._labels.version(trace.service, trace.environment, trace.model_version)
        slot.capability = self._labels.capability(slot.version, trace.request.capability)
        slot.counted_tier = tagged.tag.tier
        seen = self.activity.setdefault(slot.version, Activity())
        seen.requests += 1
        seen.first_started_at = min(seen.first_started_at, trace.started_at)
        seen.last_started_at = max(seen.last_started_at, trace.started_at)
        self._count_for(slot, CounterName.REQUESTS)
        self._count_work(slot, tagged)
        if slot.label is not None:
            self._count_label(slot, slot.label)

    def _count_work(self, slot: Slot, tagged: TaggedTrace) -> None:
        """Duration, steps, tokens, cost and tool calls, as far as reported."""
        trace = tagged.trace
        duration, usage = trace.duration_seconds, trace.usage
        if duration is not None:
            bound = _bucket(DURATION_BUCKETS_SECONDS, duration)
            self._count_for(slot, CounterName.DURATION_BUCKET, capability="", detail=bound)
            self._count_for(slot, CounterName.DURATION_MICROSECONDS, capability="", by=round(duration * 1e6))
        if trace.steps is not None:
            self._count_for(slot, CounterName.STEPS_BUCKET, capability="", detail=_bucket(STEP_BUCKETS, trace.steps))
            self._count_for(slot, CounterName.STEPS, capability="", by=trace.steps)
        if usage.input_tokens:
            self._count_for(slot, CounterName.TOKENS, capability="", detail="input", by=usage.input_tokens)
        if usage.output_tokens:
            self._count_for(slot, CounterName.TOKENS, capability="", detail="output", by=usage.output_tokens)
        if usage.cost_usd:
            self._count_for(slot, CounterName.COST_NANODOLLARS, capability="", by=round(usage.cost_usd * 1e9))
        if trace.tool_calls:
            self._count_for(slot, CounterName.TOOL_CALLS, capability="", by=trace.tool_calls)
        if tagged.is_over_budget:
            self._count_for(slot, CounterName.BUDGET_EXCEEDED, capability="")
        if trace.floating_alias:
            self._count_for(slot, CounterName.ALIAS_REQUESTS, tier="", capability="")

    def _count_label(self, slot: Slot, outcome: Outcome) -> None:
        if slot.version is None:  # pragma: no cover - callers have seen the trace
            return
        self.activity.setdefault(slot.version, Activity()).labelled += 1
        self._count_for(slot, CounterName.OUTCOMES, detail=_outcome_label(outcome))
        self._count_failure_class(slot, outcome)

    def _count_failure_class(self, slot: Slot, outcome: Outcome) -> None:
        if outcome.success or slot.version is None:
            return
        name = self._labels.failure_class(slot.version, outcome.failure_class or "unknown")
        self._count_for(slot, CounterName.FAILURES_BY_CLASS, capability="", detail=name)

    def _count_for(
        self,
        slot: Slot,
        name: CounterName,
        *,
        tier: str | None = None,
        capability: str | None = None,
        detail: str = "",
        by: int = 1,
    ) -> None:
        service, environment, version = slot.version or ("", "", "")
        tier = slot.counted_tier if tier is None else tier
        capability = slot.capability if capability is None else capability
        self.counts[name, service, environment, version, tier, capability, detail] += by


def _outcome_label(outcome: Outcome) -> str:
    return "success" if outcome.success else "failure"


def _bucket(bounds: Sequence[float], value: float) -> str:
    """Upper bound of the bucket that *value* is in, as Prometheus writes it."""
    bucket = bisect_left(bounds, value)
    return str(float(bounds[bucket])) if bucket < len(bounds) else "+Inf"
