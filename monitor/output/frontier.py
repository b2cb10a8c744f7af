"""
Which model version for which capability class, and for runs of which length: pass rates with bounds.

By class they are of the hard tier, beside cost and latency; by length they are of all requests.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile

import numpy as np

from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.difficulty.trust import wilson
from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, WHOLE, CounterKey, CounterName, ProbeResult
from monitor.rollout.verdict import Interval
from monitor.trace.horizon import LENGTHS, UNKNOWN_LENGTH, Horizon

_NANO = 1e9

Counts = Mapping[tuple[str, str], Counter[str]]
"""`success` and `failure` of hard-tier requests, by capability class and model version."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a request of a model version takes; None where nothing says so."""

    cost_usd: float | None = None
    seconds_p95: float | None = None


@dataclass(frozen=True, slots=True)
class VersionRate:
    """Hard-tier pass rate (ratio 0 to 1, with 90 % bounds) of one version, and what its requests take."""

    model_version: str
    requests: int
    pass_rate: Interval
    use: Use


@dataclass(frozen=True, slots=True)
class ClassFrontier:
    """
    The versions of one capability class.

    Attributes:
        best: The version with the highest pass rate; None where none has enough labelled hard requests.
        alike: Versions whose bounds reach those of the best: chance may have ordered them.
        versions: All that have enough, the best first.
    """

    capability: str
    best: str | None
    alike: Sequence[str]
    versions: Sequence[VersionRate]


def class_frontiers(counts: Counts, uses: Mapping[str, Use], *, min_requests: int) -> Sequence[ClassFrontier]:
    """Each capability class of *counts*, in order of its name; a version counts from *min_requests* on."""
    classes: dict[str, list[VersionRate]] = defaultdict(list)
    for (capability, version), labels in counts.items():
        versions = classes[capability]
        if (requests := labels.total()) >= min_requests:
            rate = _pass_rate(labels["failure"], requests)
            versions.append(VersionRate(version, requests, rate, uses.get(version, Use())))
    return [_frontier(capability, classes[capability]) for capability in sorted(classes)]


def live_counts(counters: Mapping[CounterKey, int], service: str, environment: str) -> Counts:
    """Labelled hard requests as they were tagged when they came: what the dashboards show."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for key, value in _hard(counters, service, environment):
        if key.name is CounterName.OUTCOMES:
            counts[key.capability, key.model_version][key.detail] += value
    return counts


def panel_counts(results: Iterable[ProbeResult], tier_of: Callable[[str, str], Tier]) -> Counts:
    """Labelled runs of hard probes, whenever they ran; *tier_of* a capability and probe holds for all versions."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for result in results:
        if tier_of(result.capability, result.item) in HARD_TIER:
            passed = {"success": result.labelled - result.failures, "failure": result.failures}
            counts[result.capability, result.model_version].update(passed)
    return counts


def live_uses(counters: Mapping[CounterKey, int], service: str, environment: str) -> Mapping[str, Use]:
    """Cost and latency of hard requests by model version; as in `histogram_quantile`, linear inside a bucket."""
    sums: dict[str, Counter[tuple[CounterName, str]]] = defaultdict(Counter)
    for key, value in _hard(counters, service, environment):
        sums[key.model_version][key.name, key.detail] += value
    return {version: _use(each) for version, each in sums.items()}


def _hard(counters: Mapping[CounterKey, int], service: str, environment: str) -> Iterator[tuple[CounterKey, int]]:
    for key, value in counters.items():
        if (key.service, key.environment) == (service, environment) and key.tier in HARD_TIER:
            yield key, value


@dataclass(frozen=True, slots=True)
class LengthRate:
    """
    How the runs of one length end.

    Attributes:
        longer_than: The length that they exceed; None where theirs is unknown.
        up_to: The length that they do not exceed; None where there is no such bound.
        requests: Runs, labelled or not.
        pass_rate: Ratio 0 to 1, with 90 % bounds; None where too few are labelled.
        budgets: Requests whose budget lies in this length: the budget line.
    """

    longer_than: int | None
    up_to: int | None
    requests: int
    labelled: int
    pass_rate: Interval | None
    budgets: int


@dataclass(frozen=True, slots=True)
class VersionHorizon:
    """
    How often runs of a version pass as they get longer.

    Attributes:
        passes_80_up_to: Up to this length runs of every length are shown to pass at least 80 % of the time; None where
            not even the shortest are.
        passes_50_up_to: The same of half of the time.
        lengths: The shortest first, those of unknown length last.
    """

    model_version: str
    passes_80_up_to: int | None
    passes_50_up_to: int | None
    lengths: Sequence[LengthRate]


def version_horizons(
    counters: Mapping[CounterKey, int], service: str, environment: str, unit: Horizon, *, min_requests: int
) -> Sequence[VersionHorizon]:
    """Each version of a service, in order of its name; a length has a pass rate from *min_requests* labels on."""

    def count(name: CounterName, version: str, *detail: object) -> int:
        key = CounterKey(name, service, environment, version, detail=" ".join(map(str, (unit, *detail))))
        return counters.get(key, 0)

    def rate(version: str, length: int | str, up_to: int | None) -> LengthRate:
        ends = {end: count(CounterName.HORIZON, version, length, end) for end in ("success", "failure", "unlabelled")}
        labelled, budgets = ends["success"] + ends["failure"], count(CounterName.HORIZON_BUDGETS, version, length)
        longer_than = None if length == UNKNOWN_LENGTH else int(length)
        passing = _pass_rate(ends["failure"], labelled) if labelled >= min_requests else None
        return LengthRate(longer_than, up_to, sum(ends.values()), labelled, passing, budgets)

    of = (CounterName.HORIZON, service, environment)
    versions = sorted({key.model_version for key in counters if (key.name, key.service, key.environment) == of})
    horizons = []
    for version in versions:
        lengths = [each for each in (rate(version, *length) for length in _LENGTHS) if each.requests or each.budgets]
        horizons.append(VersionHorizon(version, _passes_up_to(0.8, lengths), _passes_up_to(0.5, lengths), lengths))
    return horizons


_LENGTHS = (*pairwise(LENGTHS), (LENGTHS[-1], None), (UNKNOWN_LENGTH, None))


def _passes_up_to(least: float, lengths: Iterable[LengthRate]) -> int | None:
    known = [(each.pass_rate.lower, each.up_to) for each in lengths if each.pass_rate and each.up_to]
    return max((up_to for _, up_to in takewhile(lambda rate: rate[0] >= least, known)), default=None)


def _pass_rate(failures: int, requests: int) -> Interval:
    rate = 1 - failures / requests
    return Interval(rate, *wilson(rate, requests))


def _use(sums: Counter[tuple[CounterName, str]]) -> Use:
    requests = sums[CounterName.REQUESTS, ""]
    cost = sums[CounterName.COST_NANODOLLARS, WHOLE] + sums[CounterName.COST_NANODOLLARS, ""] / _NANO
    within = [sums[CounterName.DURATION_BUCKET, str(bound)] for bound in DURATION_BUCKETS_SECONDS]
    timed = sum(within) + sums[CounterName.DURATION_BUCKET, "+Inf"]
    seconds = np.interp(0.95 * timed, [0, *accumulate(within)], [0.0, *DURATION_BUCKETS_SECONDS])
    return Use(cost / requests if cost and requests else None, float(seconds) if timed else None)


def _frontier(capability: str, rates: Iterable[VersionRate]) -> ClassFrontier:
    versions = sorted(rates, key=lambda each: (-each.pass_rate.estimate, -each.requests, each.model_version))
    if not versions:
        return ClassFrontier(capability, None, (), ())
    best, *others = versions
    alike = [each.model_version for each in others if each.pass_rate.upper >= best.pass_rate.lower]
    return ClassFrontier(capability, best.model_version, alike, versions)
