"""
What one batch adds to the counters, held as plain numbers and written out once at its end.

Most records of a batch share their service, version, tier and capability; a counter key of seven strings for each
number of each record was the largest cost of recording.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, WHOLE, CounterKey, CounterName, TaggedTrace
from monitor.rollout.tracker import VersionKey
from monitor.trace.horizon import Horizon, length_of
from monitor.trace.model import NO_BUDGET

HOUR_SECONDS = 3_600

Counted = tuple[str, str, str, str, str, str, str]
"""A counter's name and labels, in the order of `CounterKey`."""


@dataclass(slots=True)
class CounterDelta:
    """
    What a batch adds to the counters of one version, tier and capability.

    Attributes:
        traces: Requests that are counted here for the first time.
        duplicates: Traces that were there already.
        successes: First labels.
        failures: First labels.
        failed_trace: The latest trace among *failures*; empty without any.
        revisions: Labels that were changed, by `from>to`.
        failure_classes: Failures by class.
        horizons: Requests by `horizon_of` and outcome as it is now; less than 0 where more left than came.
    """

    version: VersionKey
    tier: str
    capability: str
    traces: list[TaggedTrace] = field(default_factory=list)
    duplicates: int = 0
    successes: int = 0
    failures: int = 0
    failed_trace: str = ""
    revisions: dict[str, int] = field(default_factory=dict)
    failure_classes: dict[str, int] = field(default_factory=dict)
    horizons: Counter[tuple[str, str]] = field(default_factory=Counter)

    def counted(self) -> Iterator[tuple[Counted, int]]:
        """Every number under its name and labels; a label that a counter does not have is empty."""
        tiered = (*self.version, self.tier, self.capability)
        for_tier = (*self.version, self.tier, "")
        for_version = (*self.version, "", "")
        traces = [tagged.trace for tagged in self.traces]
        usages = [trace.usage for trace in traces]
        durations = [trace.ended_at - trace.started_at for trace in traces if trace.ended_at is not None]
        steps = [trace.steps for trace in traces if trace.steps is not None]
        yield (CounterName.REQUESTS, *tiered, ""), len(traces)
        yield (CounterName.OUTCOMES, *tiered, "success"), self.successes
        yield (CounterName.OUTCOMES, *tiered, "failure"), self.failures
        for detail, times in self.revisions.items():
            yield (CounterName.OUTCOME_REVISIONS, *tiered, detail), times
        for name, times in self.failure_classes.items():
            yield (CounterName.FAILURES_BY_CLASS, *for_tier, name), times
        for bound, times in zip(_DURATION_BOUNDS, _in_buckets(DURATION_BUCKETS_SECONDS, durations), strict=True):
            yield (CounterName.DURATION_BUCKET, *for_tier, bound), times
        for bound, times in zip(_STEP_BOUNDS, _in_buckets(STEP_BUCKETS, steps), strict=True):
            yield (CounterName.STEPS_BUCKET, *for_tier, bound), times
        for part, amount in _split([round(each * 1e6) for each in durations], 10**6):
            yield (CounterName.DURATION_MICROSECONDS, *for_tier, part), amount
        yield (CounterName.STEPS, *for_tier, ""), sum(steps)
        yield (CounterName.TOKENS, *for_tier, "input"), sum([usage.input_tokens or 0 for usage in usages])
        yield (CounterName.TOKENS, *for_tier, "output"), sum([usage.output_tokens or 0 for usage in usages])
        for part, amount in _split([round(usage.cost_usd * 1e9) for usage in usages if usage.cost_usd], 10**9):
            yield (CounterName.COST_NANODOLLARS, *for_tier, part), amount
        yield (CounterName.TOOL_CALLS, *for_tier, ""), sum([trace.tool_calls or 0 for trace in traces])
        yield (CounterName.BUDGET_EXCEEDED, *for_tier, ""), sum([tagged.is_over_budget for tagged in self.traces])
        for name, detail, times in self._horizons():
            yield (name, *for_version, detail), times
        yield (CounterName.ALIAS_REQUESTS, *for_version, ""), sum([trace.floating_alias for trace in traces])
        yield (CounterName.DUPLICATES, *for_version, ""), self.duplicates

    def _horizons(self) -> Iterator[tuple[CounterName, str, int]]:
        for (horizon, outcome), times in self.horizons.items():
            for unit, length in zip(Horizon, horizon.split(), strict=False):  # a damaged row may hold any text
                yield CounterName.HORIZON, f"{unit} {length} {outcome}", times
        for budget in (tagged.budget for tagged in self.traces if tagged.budget != NO_BUDGET):
            for unit in Horizon:
                if (allowed := getattr(budget, unit)) is not None:
                    yield CounterName.HORIZON_BUDGETS, f"{unit} {length_of(allowed)}", 1


@dataclass(slots=True)
class Activity:
    """What one batch adds to a model version: requests by their *starts* (Unix seconds), and first labels."""

    starts: list[float] = field(default_factory=list)
    labelled: int = 0

    def hours(self) -> Iterator[tuple[int, Sequence[float]]]:
        """Starts by their hour since 1970."""
        for hour, starts in groupby(sorted(self.starts), lambda start: int(start // HOUR_SECONDS)):
            yield hour, list(starts)


class CounterDeltas:
    """The deltas of one batch, and the counts that belong to no model version."""

    def __init__(self) -> None:
        self._deltas: dict[tuple[VersionKey, str, str], CounterDelta] = {}
        self._others: Counter[Counted] = Counter()

    def of(self, version: VersionKey, tier: str, capability: str) -> CounterDelta:
        """The delta under these labels; an empty one the first time."""
        key = (version, tier, capability)
        delta = self._deltas.get(key)
        if delta is None:
            delta = self._deltas[key] = CounterDelta(version, tier, capability)
        return delta

    def count(self, name: CounterName, version: VersionKey = ("", "", ""), *, detail: str = "", by: int = 1) -> None:
        """Move a counter that has neither tier nor capability, and no *version* where it belongs to none."""
        if by:
            self._others[name, *version, "", "", detail] += by

    def counts(self) -> Counter[Counted]:
        """Everything that was counted, by name and labels."""
        counts = Counter(self._others)
        for delta in self._deltas.values():
            for key, number in delta.counted():
                if number:
                    counts[key] += number
        return counts

    def failed_traces(self) -> dict[CounterKey, str]:
        """The latest trace of each counter of failures that moved."""
        return {
            CounterKey(CounterName.OUTCOMES, *each.version, each.tier, each.capability, "failure"): each.failed_trace
            for each in self._deltas.values()
            if each.failed_trace
        }

    def activity(self) -> dict[VersionKey, Activity]:
        """What the batch adds to each version that it counted something of."""
        activity: dict[VersionKey, Activity] = defaultdict(Activity)
        for delta in self._deltas.values():
            labelled = delta.successes + delta.failures
            if delta.traces or labelled:
                seen = activity[delta.version]
                seen.labelled += labelled
                seen.starts += [tagged.trace.started_at for tagged in delta.traces]
        return activity

    def duplicates(self) -> int:
        """Traces that the ledger had already."""
        return sum(delta.duplicates for delta in self._deltas.values())


def _split(amounts: Sequence[int], unit: int) -> tuple[tuple[str, int], tuple[str, int]]:
    """
    The sum of *amounts* as whole *unit*s and what is left over: a million long runs in microseconds overflow 64 bits.

    Each is split by itself, so that the counters do not depend on which requests share a batch.
    """
    return (WHOLE, sum([each // unit for each in amounts])), ("", sum([each % unit for each in amounts]))


def _in_buckets(bounds: Sequence[float], values: Iterable[float]) -> Sequence[int]:
    """How many of *values* lie within each bound and above the one before it; the last number: above them all."""
    ordered = sorted(values)
    within = [bisect_right(ordered, bound) for bound in bounds]
    return [above - below for below, above in pairwise([0, *within, len(ordered)])]


def _bounds(bounds: Sequence[float]) -> tuple[str, ...]:
    """Upper bounds of the buckets, as Prometheus writes them."""
    return (*(str(float(bound)) for bound in bounds), "+Inf")


_DURATION_BOUNDS = _bounds(DURATION_BUCKETS_SECONDS)
_STEP_BOUNDS = _bounds(STEP_BUCKETS)
