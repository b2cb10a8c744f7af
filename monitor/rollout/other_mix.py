"""Another mix of requests in the candidate: how surely it is seen, and the change of the failure rate without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.rollout.bounds import Bounds
from monitor.rollout.clustering import correlation_of
from monitor.rollout.cohort import ClusterSums, Cohort, Mix, TierGroup
from monitor.rollout.confidence_sequence import Counts
from monitor.rollout.verdict import Interval

_LEAST_WITHIN = 0.05  # part of what rows compare, or of an arm's requests
_LEAST_ALIKE = 0.3  # correlation of two requests of an item, which a few do not tell
_NO_CHANCE = 0.5  # bounds of the change of rows: at 1.6 standard errors of the difference
_LEAST_SEEN = 0.003  # difference in points that matters


@dataclass(frozen=True, slots=True)
class OtherMix:
    """
    What one group of tiers tells of another mix.

    A row of alike requests holds harder items, users or prompts in one arm than in the other, so its change is another
    one than that within those that both arms served.

    Attributes:
        seen: How far the two changes are apart, over what chance explains: above 1 they are seen to differ.
        changes: The change of the failure rate without what the mix adds to it: if all other requests have another mix
            as well, and if they have not.
        wider: The standard error of that over the one of the change of rows.
    """

    seen: float
    changes: tuple[float, float]
    wider: float

    def allow_for(self, rows: Interval) -> Interval:
        """Bounds that hold either way. A rise has to show in the *rows* as well, which compare hours."""
        lower = min(rows.lower, min(self.changes) - self.wider * (rows.estimate - rows.lower))
        upper = max(self.changes) + self.wider * (rows.upper - rows.estimate)
        return Interval(self.changes[0], lower, upper)


def other_mixes(
    cohort: Cohort, pairs: Mapping[TierGroup, tuple[Counts, Counts] | None], bounds: Bounds
) -> Mapping[TierGroup, OtherMix]:
    """
    By group, the way to tell alike requests that shows another mix most clearly; none where too few are alike.

    Args:
        cohort: Both arms, with the clusters that both served.
        pairs: Both arms over the rows of a group; a group without them is left out.
        bounds: For the change of rows.
    """
    found: dict[TierGroup, OtherMix] = {}
    baseline, candidate = ({sums.group: sums for sums in arm.clusters} for arm in cohort.arms)
    for shared in cohort.shared_clusters:
        pair, arms = pairs.get(shared.group), (baseline[shared.group], candidate[shared.group])
        if pair is None:
            continue
        rows = bounds.change(*pair, shared.group)
        # What other items make of a rate is known as well as they are alike; of other kinds it is not known.
        of_items = max(correlation_of(*arms, shared), _LEAST_ALIKE)
        levels = (_told(mix, 1.0 if level else of_items, arms, pair, rows) for level, mix in enumerate(shared.mixes))
        if seen := [told for told in levels if told is not None and told.seen > 0]:
            found[shared.group] = max(seen, key=lambda told: told.seen)
    return found


def _told(
    mix: Mix, alike: float, arms: Sequence[ClusterSums], pair: Sequence[Counts], rows: Interval
) -> OtherMix | None:
    """
    What requests tell that are *alike*, 0 to 1.

    Source:
        Test of Hausman (1978), Econometrica 46:1251: of two estimates of the same, the more careful one has the
        variance of the other and that of their difference.
    """
    weight, before, after = mix.alike
    of_rows = sum(1.0 / side.requests for side in pair)
    part = min(weight * of_rows, 1.0)
    # What is read of a large version is a small part of its shared clusters, which may hold most requests.
    share = min(served / arm.requests for served, arm in zip(mix.served[::2], arms, strict=True))
    if part <= 0 or max(part, share) < _LEAST_WITHIN:
        return None
    within = (after - before) / weight
    # Rows that hold a part of what clusters do, as of a few hours of a week, differ by chance alone.
    beside = 1.0 - sum(1.0 / arm.requests for arm in arms) / of_rows
    chance = min(1.0 / part - 1.0, alike / part) + 2.0 * max(beside, 0.0)
    changes = _without(mix, arms, rows.estimate, within)
    doubt = max(_NO_CHANCE * (rows.estimate - rows.lower) * chance**0.5, _LEAST_SEEN)
    return OtherMix(abs(rows.estimate - changes[0]) / doubt, changes, min(1.0 / part, 1.0 + alike / part) ** 0.5)


def _without(mix: Mix, arms: Sequence[ClusterSums], rows: float, within: float) -> tuple[float, float]:
    """
    The change of the failure rate without what another mix explains of it.

    Args:
        mix: Clusters that both arms served, or other kinds of requests that are alike.
        arms: All clusters of baseline and candidate.
        rows: The change of rows of alike requests, which may hold other clusters in each arm.
        within: The change within shared clusters.

    Returns:
        *rows* without it if requests beside shared clusters have another mix as much as these, and if they have not.
    """
    (n, f, m, g), (baseline, candidate) = mix.served, arms
    beside, other, weight, change = baseline.requests - n, candidate.requests - m, 0.0, within
    if min(beside, other) > 0:
        weight = beside * other / (beside + other)
        change = (candidate.failures - g) / other - (baseline.failures - f) / beside
    alike = n * m / (n + m)
    everything = candidate.failures / candidate.requests - baseline.failures / baseline.requests
    mixed = _part(g / m - f / n - within, change - within)
    with_mix, without = ((alike * within + weight * each) / (alike + weight) for each in (change - mixed, change))
    return rows - _part(everything - with_mix, rows - within), rows - _part(everything - without, rows - within)


def _part(change: float, of: float) -> float:
    """*change*, from 0 to *of*."""
    return min(max(change, min(of, 0.0)), max(of, 0.0))
