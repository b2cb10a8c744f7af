"""
What one batch adds to the counters, held as plain numbers and spelt out once at its end.

Most records of a batch share their service, version, tier and capability; a counter key of seven strings for each
number of each record was the largest cost of recording.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from monitor.ledger.labels import VersionKey
from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, CounterName, TaggedTrace
from monitor.trace.model import Trace

HOUR_SECONDS = 3_600

Counted = tuple[str, str, str, str, str, str, str]
"""A counter's name and labels, in the order of `CounterKey`."""


@dataclass(slots=True)
class Cell:
    """What a batch adds under one version, tier and capability; each number in the unit of its counter."""

    version: VersionKey
    tier: str
    capability: str
    requests: int = 0
    duplicates: int = 0
    first_started_at: float = float("inf")
    last_started_at: float = float("-inf")
    hours: dict[int, int] = field(default_factory=dict)  # requests by hour of their start, hours since 1970
    successes: int = 0
    failures: int = 0
    revisions: dict[str, int] = field(default_factory=dict)
    failure_classes: dict[str, int] = field(default_factory=dict)
    durations: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BUCKETS_SECONDS) + 1))
    duration_microseconds: int = 0
    steps_of: list[int] = field(default_factory=lambda: [0] * (len(STEP_BUCKETS) + 1))
    steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanodollars: int = 0
    tool_calls: int = 0
    budget_exceeded: int = 0
    alias_requests: int = 0

    def add_trace(self, tagged: TaggedTrace) -> None:
        """Count a request: its start, duration, steps, tokens, cost and tool calls, as far as reported."""
        trace = tagged.trace
        started_at = trace.started_at
        self.requests += 1
        self.first_started_at = min(self.first_started_at, started_at)
        self.last_started_at = max(self.last_started_at, started_at)
        hour = int(started_at // HOUR_SECONDS)
        self.hours[hour] = self.hours.get(hour, 0) + 1
        if trace.ended_at is not None:
            duration = trace.ended_at - started_at
            self.durations[bisect_left(DURATION_BUCKETS_SECONDS, duration)] += 1
            self.duration_microseconds += round(duration * 1e6)
        if trace.steps is not None:
            self.steps_of[bisect_left(STEP_BUCKETS, trace.steps)] += 1
            self.steps += trace.steps
        if tagged.is_over_budget:
            self.budget_exceeded += 1
        if trace.floating_alias:
            self.alias_requests += 1
        self._add_use(trace)

    def _add_use(self, trace: Trace) -> None:
        usage = trace.usage
        if usage.input_tokens:
            self.input_tokens += usage.input_tokens
        if usage.output_tokens:
            self.output_tokens += usage.output_tokens
        if usage.cost_usd:
            self.cost_nanodollars += round(usage.cost_usd * 1e9)
        if trace.tool_calls:
            self.tool_calls += trace.tool_calls

    def counted(self) -> Iterator[tuple[Counted, int]]:
        """Every number under its name and labels; a label that a counter does not have is empty."""
        tiered = (*self.version, self.tier, self.capability)
        for_tier = (*self.version, self.tier, "")
        for_version = (*self.version, "", "")
        yield (CounterName.REQUESTS, *tiered, ""), self.requests
        yield (CounterName.OUTCOMES, *tiered, "success"), self.successes
        yield (CounterName.OUTCOMES, *tiered, "failure"), self.failures
        for detail, times in self.revisions.items():
            yield (CounterName.OUTCOME_REVISIONS, *tiered, detail), times
        for name, times in self.failure_classes.items():
            yield (CounterName.FAILURES_BY_CLASS, *for_tier, name), times
        for bound, times in zip(_DURATION_BOUNDS, self.durations, strict=True):
            yield (CounterName.DURATION_BUCKET, *for_tier, bound), times
        for bound, times in zip(_STEP_BOUNDS, self.steps_of, strict=True):
            yield (CounterName.STEPS_BUCKET, *for_tier, bound), times
        yield (CounterName.DURATION_MICROSECONDS, *for_tier, ""), self.duration_microseconds
        yield (CounterName.STEPS, *for_tier, ""), self.steps
        yield (CounterName.TOKENS, *for_tier, "input"), self.input_tokens
        yield (CounterName.TOKENS, *for_tier, "output"), self.output_tokens
        yield (CounterName.COST_NANODOLLARS, *for_tier, ""), self.cost_nanodollars
        yield (CounterName.TOOL_CALLS, *for_tier, ""), self.tool_calls
        yield (CounterName.BUDGET_EXCEEDED, *for_tier, ""), self.budget_exceeded
        yield (CounterName.ALIAS_REQUESTS, *for_version, ""), self.alias_requests
        yield (CounterName.DUPLICATES, *for_version, ""), self.duplicates


@dataclass(slots=True)
class Activity:
    """What one batch adds to a model version."""

    first_started_at: float = float("inf")
    last_started_at: float = float("-inf")
    requests: int = 0
    labelled: int = 0
    hours: Counter[int] = field(default_factory=Counter)


class Cells:
    """The cells of one batch, and the counts that belong to none."""

    def __init__(self) -> None:
        self._cells: dict[tuple[VersionKey, str, str], Cell] = {}
        self._others: Counter[Counted] = Counter()

    def of(self, version: VersionKey, tier: str, capability: str) -> Cell:
        """The cell of these labels."""
        key = (version, tier, capability)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell(version, tier, capability)
        return cell

    def count(self, name: CounterName, *, detail: str = "", by: int = 1) -> None:
        """Move a counter that belongs to no model version."""
        if by:
            self._others[name, "", "", "", "", "", detail] += by

    def counts(self) -> Counter[Counted]:
        """Everything that was counted, by name and labels."""
        counts = Counter(self._others)
        for cell in self._cells.values():
            for key, number in cell.counted():
                if number:
                    counts[key] += number
        return counts

    def activity(self) -> dict[VersionKey, Activity]:
        """What the batch adds to each version that it counted something of."""
        activity: dict[VersionKey, Activity] = {}
        for cell in self._cells.values():
            labelled = cell.successes + cell.failures
            if cell.requests or labelled:
                seen = activity.setdefault(cell.version, Activity())
                seen.first_started_at = min(seen.first_started_at, cell.first_started_at)
                seen.last_started_at = max(seen.last_started_at, cell.last_started_at)
                seen.requests += cell.requests
                seen.labelled += labelled
                seen.hours.update(cell.hours)
        return activity

    def duplicates(self) -> int:
        """Traces that the ledger had already."""
        return sum(cell.duplicates for cell in self._cells.values())


def _bounds(bounds: Sequence[float]) -> tuple[str, ...]:
    """Upper bounds of the buckets, as Prometheus writes them."""
    return (*(str(float(bound)) for bound in bounds), "+Inf")


_DURATION_BOUNDS = _bounds(DURATION_BUCKETS_SECONDS)
_STEP_BOUNDS = _bounds(STEP_BUCKETS)
