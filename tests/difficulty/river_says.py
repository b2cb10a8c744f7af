"""What the estimator believes of a request's difficulty, computed weight by weight: the reference for faster ways."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.difficulty.calibration import Normal
from monitor.difficulty.estimator import NUISANCE_GROUPS, PRIOR_VARIANCE, DifficultyClassifier, Weight, group_of


def difficulty_of(x: Mapping[str, float], model: DifficultyClassifier) -> Normal:
    """Posterior of *model* for the difficulty of a request with features *x*: who answers is left out."""
    mean, variance = model.bias.mean, 0.0
    for name, value in x.items():
        group = group_of(name)
        if group not in NUISANCE_GROUPS:
            weight = model.weights.get(name, Weight(0.0, PRIOR_VARIANCE.get(group, 0.3), 0.0))
            mean += weight.mean * value
            variance += weight.variance * value * value
    return Normal(mean, variance)
