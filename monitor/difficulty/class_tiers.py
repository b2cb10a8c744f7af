"""Tiers of whole classes of requests, from what a baseline did before its rollout: the rung without references."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier

_Class = TypeVar("_Class", bound=Hashable)


def class_tiers(counts: Mapping[_Class, tuple[int, int]], settings: DifficultySettings) -> Mapping[_Class, Tier]:
    """
    Tier of each class with labels enough, by its failure rate shrunk towards that of all classes.

    A class of a hundred requests and more has hardly a lucky draw to regress from, which is why the baseline may teach
    here and nowhere else. No class is frontier: that none solves a request is said of requests, not of mixtures.

    Args:
        counts: Labelled requests and failures of the baseline before the rollout, by class.
        settings: The cuts, and the labels that a class needs.
    """
    large = {name: pair for name, pair in counts.items() if pair[0] >= settings.min_class_labels}
    if not large:
        return {}
    mean, weight = _prior(list(large.values()))
    return {
        name: _tier((failures + weight * mean) / (requests + weight), settings)
        for name, (requests, failures) in large.items()
    }


def _prior(counts: list[tuple[int, int]]) -> tuple[float, float]:
    """
    Mean failure rate of classes, and the requests that it is worth: a beta prior by the method of moments.

    Source:
        Kleinman (1973), Journal of the American Statistical Association 68:46.
    """
    total = sum(requests for requests, _ in counts)
    mean = sum(failures for _, failures in counts) / total
    chance = mean * (1.0 - mean)
    spread = sum(requests * (failures / requests - mean) ** 2 for requests, failures in counts)
    effective = total - sum(requests**2 for requests, _ in counts) / total
    between = (spread - (len(counts) - 1) * chance) / effective if effective > 0 else 0.0
    if between <= 0.0:  # one class, or classes that differ by no more than chance
        return mean, float(total) if chance > 0.0 else 0.0
    return mean, max(0.0, chance / between - 1.0)


def _tier(rate: float, settings: DifficultySettings) -> Tier:
    if rate >= settings.hard_failure_rate:
        return Tier.HARD
    return Tier.MEDIUM if rate >= settings.medium_failure_rate else Tier.EASY
