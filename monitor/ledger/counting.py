"""
Sums up what one batch adds to the counters, so that each counter is written once per batch.

Most records of a batch share their service, version, tier and capability. Their sums are plain numbers of one object,
because building a key of seven strings for each number of each record would dominate the cost of recording.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, pairwise

from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, WHOLE, CounterKey, CounterName, TaggedTrace
from monitor.rollout.tracker import VersionKey
from monitor.trace.grouping import added_up
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
        traces: Requests counted for the first time.
        duplicates: Traces that the ledger had already.
        successes: First labels that are a success.
        failures: First labels that are a failure.
        failed_trace: ID of the latest failed trace; empty without any.
        revisions: Changed labels, by `from>to`.
        failure_classes: Failures by class.
        horizons: Requests by `horizon_of` and present outcome; negative if more requests leave a value than enter it.
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
        """Every number with the name and labels of its counter."""
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
        for part, amount in _split([round(seconds * 1e6) for seconds in durations], 10**6):
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
            for unit, length in zip(Horizon, horizon.split(), strict=False):  # a corrupt row may hold any text
                yield CounterName.HORIZON, f"{unit} {length} {outcome}", times
        for budget in (tagged.budget for tagged in self.traces if tagged.budget != NO_BUDGET):
            for unit in Horizon:
                if (allowed := getattr(budget, unit)) is not None:
                    yield CounterName.HORIZON_BUDGETS, f"{unit} {length_of(allowed)}", 1


@dataclass(slots=True)
class Activity:
    """What one batch adds to a model version: the *starts* of its requests (Unix seconds) and its first labels."""

    starts: list[float] = field(default_factory=list)
    labelled: int = 0

    def hours(self) -> Iterator[tuple[int, Sequence[float]]]:
        """Starts grouped by hours since 1970."""
        for hour, starts in groupby(sorted(self.starts), lambda start: int(start // HOUR_SECONDS)):
            yield hour, list(starts)


class CounterDeltas:
    """The deltas of one batch, and the counts that belong to no model version."""

    def __init__(self) -> None:
        self._deltas: dict[tuple[VersionKey, str, str], CounterDelta] = {}
        self._others: Counter[Counted] = Counter()

    def of(self, version: VersionKey, tier: str, capability: str) -> CounterDelta:
        """The delta with these labels, created on first use."""
        key = (version, tier, capability)
        delta = self._deltas.get(key)
        if delta is None:
            delta = self._deltas[key] = CounterDelta(version, tier, capability)
        return delta

    def count(self, name: CounterName, version: VersionKey = ("", "", ""), *, detail: str = "", by: int = 1) -> None:
        """Increment a counter without tier and capability; leave out *version* if it does not belong to one."""
        if by:
            self._others[name, *version, "", "", detail] += by

    def counts(self) -> Counter[Counted]:
        """All increments that are not 0, by name and labels."""
        of_deltas = (pair for delta in self._deltas.values() for pair in delta.counted() if pair[1])
        return Counter(added_up(chain(self._others.items(), of_deltas)))

    def failed_traces(self) -> dict[CounterKey, str]:
        """ID of the latest failed trace for each counter of failures that increases."""
        return {
            CounterKey(CounterName.OUTCOMES, *version, tier, capability, "failure"): delta.failed_trace
            for (version, tier, capability), delta in self._deltas.items()
            if delta.failed_trace
        }

    def activity(self) -> dict[VersionKey, Activity]:
        """What the batch adds to each version of which it has requests or labels."""
        by_version: dict[VersionKey, Activity] = defaultdict(Activity)
        for delta in self._deltas.values():
            labelled = delta.successes + delta.failures
            if delta.traces or labelled:
                activity = by_version[delta.version]
                activity.labelled += labelled
                activity.starts += [tagged.trace.started_at for tagged in delta.traces]
        return by_version

    def duplicates(self) -> int:
        """Traces that the ledger had already."""
        return sum(delta.duplicates for delta in self._deltas.values())


def _split(amounts: Sequence[int], unit: int) -> tuple[tuple[str, int], tuple[str, int]]:
    """
    The sum of *amounts* as whole *unit*s and a remainder: in microseconds alone, a million long runs overflow 64 bits.

    Each amount is split on its own, so that the counters do not depend on which requests share a batch.
    """
    return (WHOLE, sum([amount // unit for amount in amounts])), ("", sum([amount % unit for amount in amounts]))


def _in_buckets(bounds: Sequence[float], values: Iterable[float]) -> Sequence[int]:
    """Number of *values* in each bucket; the last number counts values above all bounds."""
    ordered = sorted(values)
    within = [bisect_right(ordered, bound) for bound in bounds]
    return [above - below for below, above in pairwise([0, *within, len(ordered)])]


def _bounds(bounds: Sequence[float]) -> tuple[str, ...]:
    """Upper bounds in Prometheus notation (the label `le`)."""
    return (*(str(float(bound)) for bound in bounds), "+Inf")


_DURATION_BOUNDS = _bounds(DURATION_BUCKETS_SECONDS)
_STEP_BOUNDS = _bounds(STEP_BUCKETS)
