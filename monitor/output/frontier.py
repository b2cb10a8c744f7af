"""
Compares model versions: pass rates with bounds by capability class or by length of the runs.

By class, rates are those of the hard tier, with cost and latency; by length, those of all requests.
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
    """Cost and latency of a request of a model version; None if unknown."""

    cost_usd: float | None = None
    seconds_p95: float | None = None


@dataclass(frozen=True, slots=True)
class VersionRate:
    """Hard-tier pass rate (ratio 0 to 1, with 90 % bounds) of one version; cost and latency of its requests."""

    model_version: str
    requests: int
    pass_rate: Interval
    use: Use


@dataclass(frozen=True, slots=True)
class ClassFrontier:
    """
    The versions of one capability class.

    Attributes:
        best: The version with the highest pass rate; None if none has enough labelled hard requests.
        alike: Versions whose bounds overlap those of the best, so that the order may be due to chance.
        versions: All versions with enough labelled hard requests, the best first.
    """

    capability: str
    best: str | None
    alike: Sequence[str]
    versions: Sequence[VersionRate]


def class_frontiers(counts: Counts, uses: Mapping[str, Use], *, min_requests: int) -> Sequence[ClassFrontier]:
    """Each capability class of *counts*, by name; versions with fewer than *min_requests* are left out."""
    classes: dict[str, list[VersionRate]] = defaultdict(list)
    for (capability, version), labels in counts.items():
        versions = classes[capability]
        if (requests := labels.total()) >= min_requests:
            rate = _pass_rate(labels["failure"], requests)
            versions.append(VersionRate(version, requests, rate, uses.get(version, Use())))
    return [_frontier(capability, classes[capability]) for capability in sorted(classes)]


def live_counts(counters: Mapping[CounterKey, int], service: str, environment: str) -> Counts:
    """Labelled requests that were tagged as hard when they arrived, as on the dashboards."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for key, value in _hard(counters, service, environment):
        if key.name is CounterName.OUTCOMES:
            counts[key.capability, key.model_version][key.detail] += value
    return counts


def panel_counts(results: Iterable[ProbeResult], tier_of: Callable[[str, str], Tier]) -> Counts:
    """Labelled runs of hard probes; *tier_of* gives the tier of a capability and probe, the same for all versions."""
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
    return {version: _use(of_version) for version, of_version in sums.items()}


def _hard(counters: Mapping[CounterKey, int], service: str, environment: str) -> Iterator[tuple[CounterKey, int]]:
    for key, value in counters.items():
        if (key.service, key.environment) == (service, environment) and key.tier in HARD_TIER:
            yield key, value


@dataclass(frozen=True, slots=True)
class LengthRate:
    """
    Outcomes of the runs in one range of lengths.

    Attributes:
        longer_than: Lower end of the range, exclusive; None for runs of unknown length.
        up_to: Upper end, inclusive; None if there is none.
        requests: Runs, labelled or not.
        pass_rate: Ratio 0 to 1, with 90 % bounds; None if too few are labelled.
        budgets: Requests whose budget lies in this range.
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
    Pass rates of a version by the length of its runs.

    Attributes:
        passes_80_up_to: Greatest length up to which runs of every length are proven to pass at least 80 % of the time;
            None if there is none.
        passes_50_up_to: The same for 50 %.
        lengths: Ranges of lengths, the shortest first, unknown lengths last.
    """

    model_version: str
    passes_80_up_to: int | None
    passes_50_up_to: int | None
    lengths: Sequence[LengthRate]


def version_horizons(
    counters: Mapping[CounterKey, int], service: str, environment: str, unit: Horizon, *, min_requests: int
) -> Sequence[VersionHorizon]:
    """Each version of a service, by name; a length with fewer than *min_requests* labels has no pass rate."""

    def count(name: CounterName, version: str, *detail: object) -> int:
        key = CounterKey(name, service, environment, version, detail=" ".join(map(str, (unit, *detail))))
        return counters.get(key, 0)

    def rate(version: str, length: int | str, up_to: int | None) -> LengthRate:
        runs = {end: count(CounterName.HORIZON, version, length, end) for end in ("success", "failure", "unlabelled")}
        labelled, budgets = runs["success"] + runs["failure"], count(CounterName.HORIZON_BUDGETS, version, length)
        longer_than = None if length == UNKNOWN_LENGTH else int(length)
        pass_rate = _pass_rate(runs["failure"], labelled) if labelled >= min_requests else None
        return LengthRate(longer_than, up_to, sum(runs.values()), labelled, pass_rate, budgets)

    of = (CounterName.HORIZON, service, environment)
    versions = sorted({key.model_version for key in counters if (key.name, key.service, key.environment) == of})
    horizons = []
    for version in versions:
        lengths = [r for r in (rate(version, *length) for length in _LENGTHS) if r.requests or r.budgets]
        horizons.append(VersionHorizon(version, _passes_up_to(0.8, lengths), _passes_up_to(0.5, lengths), lengths))
    return horizons


_LENGTHS = (*pairwise(LENGTHS), (LENGTHS[-1], None), (UNKNOWN_LENGTH, None))


def _passes_up_to(least: float, lengths: Iterable[LengthRate]) -> int | None:
    known = [(length.pass_rate.lower, length.up_to) for length in lengths if length.pass_rate and length.up_to]
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
    versions = sorted(rates, key=lambda rate: (-rate.pass_rate.estimate, -rate.requests, rate.model_version))
    if not versions:
        return ClassFrontier(capability, None, (), ())
    best, *others = versions
    alike = [other.model_version for other in others if other.pass_rate.upper >= best.pass_rate.lower]
    return ClassFrontier(capability, best.model_version, alike, versions)
