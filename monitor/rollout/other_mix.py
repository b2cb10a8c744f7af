"""Another mix of requests in the candidate: the evidence for it, and the change of the failure rate without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.rollout.bounds import Bounds
from monitor.rollout.clustering import correlation_of
from monitor.rollout.cohort import ClusterSums, Cohort, Mix, TierGroup
from monitor.rollout.confidence_sequence import Counts
from monitor.rollout.verdict import Interval

_LEAST_SHARED = 0.05  # part of the weight that rows compare, or of an arm's requests, that shared items need
_LEAST_CORRELATION = 0.3  # of two requests of an item: few items do not measure it
_NOISE_WIDTH = 0.5  # of the half-width of the rows' bound: about 1.6 standard errors of the difference
_LEAST_NOISE = 0.003  # difference of changes that does not matter, ratio


@dataclass(frozen=True, slots=True)
class OtherMix:
    """
    Evidence of one group of tiers for another mix of requests.

    If a row of similar requests holds harder items, users or prompts in one arm than in the other, its change differs
    from the change within the items, users or prompts that both arms served.

    Attributes:
        strength: Difference of the two changes over what chance explains: above 1 the mix differs.
        changes: The change of the failure rate without the effect of the mix: if the requests outside shared clusters
            differ in mix as much as those inside, then if they do not differ.
        width: Standard error of these changes over that of the change of rows.
    """

    strength: float
    changes: tuple[float, float]
    width: float

    def allow_for(self, rows: Interval) -> Interval:
        """Bounds that hold for both of `changes`. A rise has to show in the *rows* too, since they compare hours."""
        lower = min(rows.lower, min(self.changes) - self.width * (rows.estimate - rows.lower))
        upper = max(self.changes) + self.width * (rows.upper - rows.estimate)
        return Interval(self.changes[0], lower, upper)


def other_mixes(
    cohort: Cohort, pairs: Mapping[TierGroup, tuple[Counts, Counts] | None], bounds: Bounds
) -> Mapping[TierGroup, OtherMix]:
    """
    By group, the strongest evidence for another mix; a group with too few shared clusters has no entry.

    Args:
        cohort: Both arms, with the clusters that both served.
        pairs: Counts of both arms over the rows of a group; a group without counts has no entry.
        bounds: For the change of rows.
    """
    strongest: dict[TierGroup, OtherMix] = {}
    baseline, candidate = ({sums.group: sums for sums in arm.clusters} for arm in cohort.arms)
    for shared in cohort.shared_clusters:
        pair, arms = pairs.get(shared.group), (baseline[shared.group], candidate[shared.group])
        if pair is None:
            continue
        rows = bounds.change(*pair, shared.group)
        # Requests of one item are correlated; of one prompt family or tool set, the correlation is unknown, so 1.
        of_items = max(correlation_of(*arms, shared), _LEAST_CORRELATION)
        levels = (_other_mix(mix, 1.0 if at else of_items, arms, pair, rows) for at, mix in enumerate(shared.mixes))
        if differing := [each for each in levels if each is not None and each.strength > 0]:
            strongest[shared.group] = max(differing, key=lambda other: other.strength)
    return strongest


def _other_mix(
    mix: Mix, correlation: float, arms: Sequence[ClusterSums], pair: Sequence[Counts], rows: Interval
) -> OtherMix | None:
    """
    The evidence of one *mix*, whose requests have that *correlation* within a cluster; None if it shares too little.

    Source:
        Test of Hausman (1978), Econometrica 46:1251: of two consistent estimates, the variance of the less efficient
        one is the sum of the other's variance and the variance of their difference.
    """
    weight, before, after = mix.weighted
    rows_variance = sum(1.0 / counts.requests for counts in pair)
    part = min(weight * rows_variance, 1.0)
    # Of a large version, few requests are read; the shared clusters may still hold most of its traffic.
    share = min(served / arm.requests for served, arm in zip(mix.served[::2], arms, strict=True))
    if part <= 0 or max(part, share) < _LEAST_SHARED:
        return None
    within = (after - before) / weight
    # Rows may hold only a part of the clusters' requests, such as some hours of a week; chance then moves them more.
    outside = 1.0 - sum(1.0 / arm.requests for arm in arms) / rows_variance
    chance = min(1.0 / part - 1.0, correlation / part) + 2.0 * max(outside, 0.0)
    changes = _without_mix(mix, arms, rows.estimate, within)
    noise = max(_NOISE_WIDTH * (rows.estimate - rows.lower) * chance**0.5, _LEAST_NOISE)
    width = min(1.0 / part, 1.0 + correlation / part) ** 0.5
    return OtherMix(abs(rows.estimate - changes[0]) / noise, changes, width)


def _without_mix(mix: Mix, arms: Sequence[ClusterSums], rows: float, within: float) -> tuple[float, float]:
    """
    The change of the failure rate without the effect of another mix (`OtherMix.changes`).

    Args:
        mix: What both arms served.
        arms: All clusters of baseline and candidate.
        rows: The change within rows, which may hold different clusters in each arm.
        within: The change within shared clusters.
    """
    (n, f, m, g), (baseline, candidate) = mix.served, arms
    old, new, weight, outside = baseline.requests - n, candidate.requests - m, 0.0, within
    if min(old, new) > 0:
        weight = old * new / (old + new)
        outside = (candidate.failures - g) / new - (baseline.failures - f) / old
    shared = n * m / (n + m)
    raw = candidate.failures / candidate.requests - baseline.failures / baseline.requests
    mix_effect = _clip(g / m - f / n - within, outside - within)
    same, other = ((shared * within + weight * each) / (shared + weight) for each in (outside - mix_effect, outside))
    return rows - _clip(raw - same, rows - within), rows - _clip(raw - other, rows - within)


def _clip(change: float, limit: float) -> float:
    """*change*, limited to the range between 0 and *limit*, which may be negative."""
    return min(max(change, min(limit, 0.0)), max(limit, 0.0))
