"""The ability-and-difficulty model: an online logistic regression that keeps the variance of every weight."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from river import base
from river.base.typing import ClfTarget, FeatureName

from monitor.difficulty.frozen import Belief
from monitor.difficulty.posterior_mode import design_of, posterior_mode

PRIOR_VARIANCE: Mapping[str, float] = {
    "capability": 1.0,
    "tools": 0.1,
    "prompt": 0.1,
    "item": 12.0,
    "version": 2.0,
    "version|capability": 0.5,
    "attribute": 0.3,
    "number": 0.03,
}
"""Prior variance of a weight, in logits squared, by the group of its feature."""

NUISANCE_GROUPS = frozenset({"version", "version|capability"})
"""Groups that say who answered, not what was asked: no part of a request's difficulty."""

_OTHER_VARIANCE = 0.3
_BIAS_VARIANCE = 4.0
_LOGISTIC = math.pi / 8.0
_EVICTED_PART = 0.1
_LARGEST_LOGIT = 35.0


@dataclass(slots=True)
class Weight:
    """Posterior of one weight, and the prior variance that it started from."""

    mean: float
    variance: float
    prior_variance: float

    @property
    def information(self) -> float:
        """What labels have added to the prior precision, as a multiple of it."""
        return self.prior_variance / self.variance - 1.0


class DifficultyClassifier(base.Classifier):
    """
    Logistic regression with a diagonal Gaussian posterior over its weights; True means that the request failed.

    The name of a feature begins with its group, up to the first ``=`` (``item=probe-17``, ``version=gpt-4-0613``); the
    group gives the prior variance of its weight. Features never seen count with that variance and a mean of 0.

    Args:
        prior_variance: Prior variance by group, in logits squared; None for `PRIOR_VARIANCE`.
        bias_variance: Prior variance of the constant term, in logits squared.
        max_features: Most weights kept; the tenth that learnt least goes when there are more.

    Source:
        Assumed-density filtering of a logistic regression, as in Spiegelhalter and Lauritzen (1990), Networks 20:579,
        section 5; the mean of a logistic-normal by MacKay (1992), Neural Computation 4:720, equation 10.

    >>> model = DifficultyClassifier()
    >>> for failed in (True, True, False, True):
    ...     model.learn_one({"item=probe-17": 1.0, "version=a": 1.0}, failed)
    >>> model.predict_proba_one({"item=probe-17": 1.0})[True] > 0.5
    True
    """

    def __init__(
        self,
        prior_variance: dict[str, float] | None = None,
        bias_variance: float = _BIAS_VARIANCE,
        max_features: int = 500_000,
    ) -> None:
        self.prior_variance = prior_variance
        self.bias_variance = bias_variance
        self.max_features = max_features
        self._variance_by_group = dict(PRIOR_VARIANCE if prior_variance is None else prior_variance)
        self._bias = Weight(0.0, bias_variance, bias_variance)
        self._weights: dict[Any, Weight] = {}

    @property
    def bias(self) -> Belief:
        """Belief about the constant term."""
        return Belief(self._bias.mean, self._bias.variance)

    @property
    def weights(self) -> Mapping[str, Weight]:
        """Weights learnt so far, by feature name."""
        return self._weights

    def learn_one(self, x: dict[Any, Any], y: ClfTarget) -> None:
        """Learn that a request with features *x* failed (True) or succeeded."""
        weights = self._weights
        active = [(self._bias, 1.0)]
        for name, value in x.items():
            weight = weights.get(name)
            if weight is None:
                variance = self._prior_variance_of(name)
                weight = weights[name] = Weight(0.0, variance, variance)
            active.append((weight, value))
        mean = variance = 0.0
        for weight, value in active:
            mean += weight.mean * value
            variance += weight.variance * value * value
        probability = failure_probability(mean, variance)
        damping = 1.0 / (1.0 + _LOGISTIC * variance)
        slope = math.sqrt(damping) * (bool(y) - probability)
        curvature = damping * probability * (1.0 - probability)
        for weight, value in active:
            gain = weight.variance * value
            weight.mean += gain * slope
            weight.variance -= gain * gain * curvature
        if len(weights) > self.max_features:
            self._evict()

    def refit(self, rows: Iterable[Mapping[Any, float]], failed: Sequence[bool]) -> None:
        """
        Give every weight kept its posterior mode under all labels at once; one pass depends on the order of versions.

        Args:
            rows: Features by label; those without a weight are left out.
            failed: Outcome by label, True for a failure.
        """
        weights = [*self._weights.values(), self._bias]
        design = design_of(rows, {name: column for column, name in enumerate(self._weights)})
        prior = np.array([weight.prior_variance for weight in weights])
        is_item = np.array([*(group_of(name) == "item" for name in self._weights), False])
        for weight, mean, variance in zip(
            weights, *posterior_mode(design, failed, prior, is_item=is_item), strict=True
        ):
            weight.mean, weight.variance = float(mean), float(variance)

    def predict_proba_one(self, x: dict[Any, Any], **kwargs: Any) -> dict[ClfTarget, float]:
        """Probability that a request with features *x* succeeds (False) or fails (True)."""
        del kwargs
        belief = self._believe(x.items(), self.bias)
        failing = failure_probability(belief.mean, belief.variance)
        return {False: 1.0 - failing, True: failing}

    def difficulty(self, x: Mapping[Any, float]) -> Belief:
        """Belief about the difficulty of a request with features *x*: who answers is left out."""
        asked = ((name, value) for name, value in x.items() if group_of(name) not in NUISANCE_GROUPS)
        return self._believe(asked, Belief(self._bias.mean, 0.0))

    def _believe(self, items: Iterable[tuple[FeatureName, float]], start: Belief) -> Belief:
        mean, variance = start
        weights = self._weights
        for name, value in items:
            weight = weights.get(name)
            if weight is None:
                variance += self._prior_variance_of(name) * value * value
            else:
                mean += weight.mean * value
                variance += weight.variance * value * value
        return Belief(mean, variance)

    def _prior_variance_of(self, name: FeatureName) -> float:
        return self._variance_by_group.get(group_of(name), _OTHER_VARIANCE)

    def _evict(self) -> None:
        excess = len(self._weights) - self.max_features
        count = max(excess, int(_EVICTED_PART * self.max_features))
        least = heapq.nsmallest(count, self._weights.items(), key=lambda item: item[1].information)
        for name, _ in least:
            del self._weights[name]


def group_of(name: FeatureName) -> str:
    """Group of a feature: its name up to the first ``=``."""
    return str(name).partition("=")[0]


def failure_probability(mean: float, variance: float) -> float:
    """
    Mean of a logistic function under a normal belief.

    Args:
        mean: Mean of the logit.
        variance: Variance of the logit, not negative.

    Source:
        MacKay (1992), Neural Computation 4:720, equation 10; good to about 0.01.
    """
    logit = mean / math.sqrt(1.0 + _LOGISTIC * variance)
    return 1.0 / (1.0 + math.exp(-max(-_LARGEST_LOGIT, min(_LARGEST_LOGIT, logit))))
