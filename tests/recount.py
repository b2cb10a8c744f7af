"""Both arms of a rollout counted again from its events: nothing of the product is used but the tags."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from monitor.difficulty.correction import DifficultyBin
from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, Tag, Tier
from monitor.rollout.cohort import Arm, ClusterSums, Cohort, Comparison, Mix, SharedClusterSums, Stratum, TierGroup

_HOURS_OF_DAY = 24
_GROUPS = {
    TierGroup.ALL: frozenset(Tier),
    TierGroup.EASIER: frozenset(EASIER_TIERS),
    TierGroup.HARD: frozenset(HARD_TIER),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A labelled request; *hour* since 1970."""

    hour: int
    capability: str
    item: str
    failed: bool
    tag: Tag

    @property
    def alike(self) -> tuple[Tier, str, int, bool]:
        """What it has in common with those that it is compared with."""
        return self.tag.tier, self.capability, self.tag.bin, self.tag.is_known


def asked(events: Iterable[Mapping[str, Any]], tag: Callable[[Mapping[str, Any]], Tag]) -> list[Asked]:
    """*events* of one arm, each with its *tag*."""
    return [
        Asked(
            hour=int(datetime.fromisoformat(event["started_at"]).timestamp() // 3600),
            capability=event["capability"],
            item=event["request_id"],
            failed=not event["outcome"]["success"],
            tag=tag(event),
        )
        for event in events
    ]


def bins_at_the_same_hours(arms: Sequence[Sequence[Asked]]) -> Sequence[Sequence[DifficultyBin]]:
    """
    The bins of both arms after a cutover, each hour of the day with the weight of the other arm's part in it.

    With n and m requests of the arms in an hour, one of the first weighs m / (n + m) and one of the second n / (n + m);
    a bin counts for as many requests as would have its variance without weights, its sum squared over that of squares.
    """
    hours = [np.array([each.hour % _HOURS_OF_DAY for each in arm]) for arm in arms]
    n, m = (np.bincount(each, minlength=_HOURS_OF_DAY) for each in hours)
    keys = sorted({each.alike for arm in arms for each in arm})
    return [
        _weighted(arm, (other / np.maximum(n + m, 1))[hour], keys)
        for arm, hour, other in zip(arms, hours, (m, n), strict=True)
    ]


def _weighted(arm: Sequence[Asked], weight: np.ndarray, keys: Sequence[tuple[Any, ...]]) -> Sequence[DifficultyBin]:
    place = np.array([keys.index(each.alike) for each in arm])
    columns = np.array([(each.failed, each.tag.difficulty_logit, each.tag.difficulty_variance) for each in arm]).T
    size, squares = (np.bincount(place, power, len(keys)) for power in (weight, weight**2))
    failures, logits, variances = (np.bincount(place, weight * column, len(keys)) for column in columns)
    counted, whole = size / np.where(squares > 0, squares, 1.0), np.where(size > 0, size, 1.0)
    return [
        DifficultyBin(
            difficulty_logit=logits[at] / whole[at],
            difficulty_variance=variances[at] / whole[at],
            is_known=key[-1],
            requests=size[at],
            labelled=size[at] * counted[at],
            failures=failures[at] * counted[at],
        )
        for at, key in enumerate(keys)
    ]


def cohort_after_a_cutover(arms: Mapping[str, Sequence[Asked]], calibration_id: str) -> Cohort:
    """Both arms by name, baseline first, in strata of hours, with items for clusters."""
    old, new = (Arm(name, _strata(arm), _cluster_sums(arm)) for name, arm in arms.items())
    return Cohort(
        old, new, calibration_id, comparison=Comparison.BEFORE_AFTER, shared_clusters=_shared_sums(*arms.values())
    )


def _strata(arm: Sequence[Asked]) -> Sequence[Stratum]:
    alike = defaultdict(list)
    for each in arm:
        alike[each.hour, each.alike].append(each)
    return [
        Stratum(
            *key,
            requests=len(members),
            labelled=len(members),
            failures=sum(each.failed for each in members),
            logit_sum=sum(each.tag.difficulty_logit for each in members),
            variance_sum=sum(each.tag.difficulty_variance for each in members),
            block=hour,
        )
        for (hour, key), members in alike.items()
    ]


def _sizes(arm: Sequence[Asked], group: TierGroup) -> tuple[Counter[str], Counter[str]]:
    """Requests and failures of each item in *group*."""
    chosen = [each for each in arm if each.tag.tier in _GROUPS[group]]
    return Counter(each.item for each in chosen), Counter(each.item for each in chosen if each.failed)


def _cluster_sums(arm: Sequence[Asked]) -> Sequence[ClusterSums]:
    return [
        ClusterSums(
            group,
            len(n),
            n.total(),
            f.total(),
            sum(size * size for size in n.values()),
            sum(size * f[item] for item, size in n.items()),
            sum(failed * failed for failed in f.values()),
        )
        for group in TierGroup
        for n, f in [_sizes(arm, group)]
    ]


def _shared_sums(baseline: Sequence[Asked], candidate: Sequence[Asked]) -> Sequence[SharedClusterSums]:
    return [
        SharedClusterSums(
            group,
            *(sum(one[item] * other[item] for item in n) for one, other in ((n, m), (f, m), (n, g), (f, g))),
            mixes=[
                Mix(
                    tuple(
                        sum(one[item] * other[item] / (n[item] + m[item]) for item in n)
                        for one, other in ((n, m), (f, m), (n, g))
                    ),
                    tuple(sum(each[item] for item in n if m[item]) for each in (n, f))
                    + tuple(sum(each[item] for item in n) for each in (m, g)),
                )
            ],
        )
        for group in TierGroup
        for (n, f), (m, g) in [(_sizes(baseline, group), _sizes(candidate, group))]
    ]
