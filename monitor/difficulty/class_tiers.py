"""Tiers of whole classes of requests, from the failure rates of the baseline before a rollout."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import Tier

_Class = tuple[str, str]  # capability, and tool set of requests without one


def class_tiers(counts: Mapping[_Class, tuple[int, int]], settings: DifficultySettings) -> Mapping[_Class, Tier]:
    """
    Tier of each class with enough labels, by its failure rate shrunk towards that of all classes.

    Only here may the baseline set tiers: with a hundred requests or more, a class shows hardly any regression to the
    mean. No class is frontier, because "no version solves it" is a property of a request, not of a mixture.

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
    A beta prior by the method of moments: mean failure rate of classes, and its weight in requests.

    Source:
        Kleinman (1973), Journal of the American Statistical Association 68:46.
    """
    total = sum(requests for requests, _ in counts)
    mean = sum(failures for _, failures in counts) / total
    within = mean * (1.0 - mean)
    spread = sum(requests * (failures / requests - mean) ** 2 for requests, failures in counts)
    effective = total - sum(requests**2 for requests, _ in counts) / total
    between = (spread - (len(counts) - 1) * within) / effective if effective > 0 else 0.0
    if between <= 0.0:  # one class, or classes that differ by no more than chance
        return mean, float(total) if within > 0.0 else 0.0
    return mean, max(0.0, within / between - 1.0)


def _tier(rate: float, settings: DifficultySettings) -> Tier:
    if rate >= settings.hard_failure_rate:
        return Tier.HARD
    return Tier.MEDIUM if rate >= settings.medium_failure_rate else Tier.EASY
