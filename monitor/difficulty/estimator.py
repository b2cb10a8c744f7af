"""
The ability-and-difficulty model: an online logistic regression that keeps the variance of every weight.

`posterior_mode` fits the same model to all labels at once, and also estimates the prior variance of items.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import base
from river.base.typing import ClfTarget, FeatureName
from scipy.sparse import csr_matrix, diags_array
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit

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
"""Groups of features of the version that answered, which are no part of a request's difficulty."""

_OTHER_VARIANCE = 0.3
_BIAS_VARIANCE = 4.0
_LOGISTIC = math.pi / 8.0
_EVICTED_PART = 0.1
_LARGEST_LOGIT = 35.0
_ROUNDS = 5
_FEWEST_WEIGHTS = 8
_WIDER = 2.0
_VARIANCES = (1e-3, 20.0)
_NEWTON_STEPS = 50
_PRECISE = 0.01  # slope in standard errors of each weight
_STEP_ERROR = 0.03
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(31)

_Array = NDArray[np.float64]


@dataclass(slots=True)
class Weight:
    """Posterior of one weight, and the prior variance that it started from."""

    mean: float
    variance: float
    prior_variance: float


class DifficultyClassifier(base.Classifier):
    """
    Logistic regression with a diagonal Gaussian posterior over its weights; True means that the request failed.

    The name of a feature begins with its group, up to the first ``=`` (``item=probe-17``, ``version=gpt-4-0613``); the
    group gives the prior variance of its weight. Features never seen count with that variance and a mean of 0.

    Args:
        max_features: Largest number of weights; beyond it, the tenth with the least information is evicted.

    Attributes:
        bias: Posterior of the constant term.
        weights: Posterior of each weight learnt so far, by feature name.

    Source:
        Assumed-density filtering of a logistic regression, as in Spiegelhalter and Lauritzen (1990), Networks 20:579,
        section 5; the mean of a logistic-normal by MacKay (1992), Neural Computation 4:720, equation 10.

    >>> model = DifficultyClassifier()
    >>> for failed in (True, True, False, True):
    ...     model.learn_one({"item=probe-17": 1.0, "version=a": 1.0}, failed)
    >>> model.predict_proba_one({"item=probe-17": 1.0})[True] > 0.5
    True
    """

    def __init__(self, max_features: int = 500_000) -> None:
        self.max_features = max_features
        self.bias = Weight(0.0, _BIAS_VARIANCE, _BIAS_VARIANCE)
        self.weights: dict[Any, Weight] = {}

    def learn_one(self, x: dict[Any, Any], y: ClfTarget) -> None:
        """Learn that a request with features *x* failed (True) or succeeded."""
        weights = self.weights
        active = [(self.bias, 1.0)]
        for name, value in x.items():
            active.append((weights.get(name) or weights.setdefault(name, _unlearnt(name)), value))
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
        Set every weight to its posterior mode under all labels, since learning one by one depends on their order.

        Args:
            rows: Features of each label; features without a weight are left out.
            failed: Outcome of each label, True for a failure.
        """
        weights = [*self.weights.values(), self.bias]
        design = design_of(rows, {name: column for column, name in enumerate(self.weights)})
        prior = np.array([weight.prior_variance for weight in weights])
        is_item = np.array([*(group_of(name) == "item" for name in self.weights), False])
        moments = posterior_mode(design, failed, prior, is_item=is_item)
        for weight, mean, variance in zip(weights, *moments, strict=True):
            weight.mean, weight.variance = float(mean), float(variance)

    def predict_proba_one(self, x: dict[Any, Any], **kwargs: Any) -> dict[ClfTarget, float]:
        """Probability that a request with features *x* succeeds (False) or fails (True)."""
        del kwargs
        mean, variance = self.bias.mean, self.bias.variance
        for name, value in x.items():
            weight = self.weights.get(name) or _unlearnt(name)
            mean += weight.mean * value
            variance += weight.variance * value * value
        probability = failure_probability(mean, variance)
        return {False: 1.0 - probability, True: probability}

    def _evict(self) -> None:
        weights = self.weights
        count = max(len(weights) - self.max_features, int(_EVICTED_PART * self.max_features))
        # The weights whose posterior precision exceeds the prior's least.
        least = heapq.nsmallest(count, weights, key=lambda name: weights[name].prior_variance / weights[name].variance)
        for name in least:
            del weights[name]


def group_of(name: FeatureName) -> str:
    """Group of a feature: its name up to the first ``=``."""
    return str(name).partition("=")[0]


def _unlearnt(name: FeatureName) -> Weight:
    variance = PRIOR_VARIANCE.get(group_of(name), _OTHER_VARIANCE)
    return Weight(0.0, variance, variance)


def failure_probability(mean: float, variance: float) -> float:
    """
    Mean of a logistic function of a normal variable.

    Args:
        mean: Mean of the logit.
        variance: Variance of the logit, not negative.

    Source:
        MacKay (1992), Neural Computation 4:720, equation 10; accurate to about 0.01.
    """
    logit = mean / math.sqrt(1.0 + _LOGISTIC * variance)
    return 1.0 / (1.0 + math.exp(-max(-_LARGEST_LOGIT, min(_LARGEST_LOGIT, logit))))


def design_of(rows: Iterable[Mapping[str, float]], columns: Mapping[str, int]) -> csr_matrix:
    """
    Features as a sparse matrix, shape (rows, weights + 1); the last column is the constant term.

    Args:
        rows: Values by name; names without a column are left out.
        columns: Column by name, from 0 without gaps.
    """
    indices, values, ends = [], [], [0]
    for row in rows:
        for name, value in row.items():
            column = columns.get(name)
            if column is not None:
                indices.append(column)
                values.append(value)
        indices.append(len(columns))
        values.append(1.0)
        ends.append(len(indices))
    return csr_matrix((values, indices, ends), shape=(len(ends) - 1, len(columns) + 1))


def posterior_mode(
    design: csr_matrix, failed: Sequence[bool], prior: _Array, *, is_item: NDArray[np.bool_]
) -> tuple[_Array, _Array]:
    """
    Posterior mode of the weights given all labels; for items, which have few labels each, exact posterior moments.

    The prior variance of items is estimated too: services differ in how much the requests of a class vary, and too wide
    a prior adds noise to the difficulties of similar requests. The estimate is doubled, because real items have longer
    tails than a normal prior, and a prior that is too narrow hides cliffs more than one that is too wide.

    Args:
        design: Features of each label, shape (labels, weights).
        failed: Outcome of each label.
        prior: Prior variance of each weight, logits squared.
        is_item: Weights whose common prior variance is estimated, starting from the one in *prior*.

    Returns:
        Mean and variance of every weight, in logits and logits squared, shape (weights,); except for items, variances
        come from a diagonal Laplace approximation.

    Source:
        The fixed point of MacKay (1992), Bayesian interpolation, Neural Computation 4:415, section 4.
    """
    labels = _Labels(design, design.T.tocsr(), np.asarray(failed, dtype=float), is_item)
    prior, mean = prior.copy(), np.zeros(design.shape[1])
    for remaining in range(_ROUNDS if is_item.sum() >= _FEWEST_WEIGHTS else 0, -1, -1):
        mean = _mode(labels, prior, mean)
        if remaining:
            item_mean, item_variance = _item_moments(labels, prior, mean)
            effective = float((1.0 - item_variance / prior[is_item]).sum())  # number of items that labels determine
            estimate = float((item_mean**2).sum()) / max(effective, 1.0)
            prior[is_item] = np.clip(estimate * (_WIDER if remaining == 1 else 1.0), *_VARIANCES)
    variance = _laplace_variance(labels, prior, mean)
    mean[is_item], variance[is_item] = _item_moments(labels, prior, mean)
    return mean, variance


class _Labels(NamedTuple):
    design: csr_matrix
    by_weight: csr_matrix
    failed: _Array
    is_item: NDArray[np.bool_]


def _mode(labels: _Labels, prior: _Array, start: _Array) -> _Array:
    """
    Posterior mode by Newton's method from *start*, with conjugate gradients, which need no matrix of all weight pairs.

    Scipy's L-BFGS and trust regions stop up to 0.7 logits from the mode of 200,000 labels, and take longer.
    """
    design, by_weight, failed, _ = labels

    def loss(weights: _Array) -> float:
        logit = design @ weights
        return float(np.logaddexp(0.0, logit).sum() - failed @ logit + 0.5 * (weights**2 / prior).sum())

    def information(direction: _Array) -> _Array:
        product: _Array = by_weight @ (rate * (1.0 - rate) * (design @ direction)) + direction / prior
        return product

    weights, size = start, 2 * start.shape
    for _ in range(_NEWTON_STEPS):
        rate = expit(design @ weights)
        slope = by_weight @ (failed - rate) - weights / prior
        variance = _laplace_variance(labels, prior, weights)
        if (slope**2 * variance).max() < _PRECISE**2:
            break
        step, _ = cg(LinearOperator(size, information, dtype=float), slope, rtol=_STEP_ERROR, M=diags_array(variance))
        while loss(weights + step) > loss(weights):  # overshot: the curvature changes along the step
            step = step / 2.0
        weights = weights + step
    return weights


def _laplace_variance(labels: _Labels, prior: _Array, weights: _Array) -> _Array:
    rate = expit(labels.design @ weights)
    variance: _Array = 1.0 / (1.0 / prior + labels.by_weight.power(2) @ (rate * (1.0 - rate)))
    return variance


def _item_moments(labels: _Labels, prior: _Array, weights: _Array) -> tuple[_Array, _Array]:
    """Posterior mean and variance of each item's weight, with all other weights at their mode."""
    labels_of = labels.by_weight[np.flatnonzero(labels.is_item)]
    others = labels.design @ np.where(labels.is_item, 0.0, weights)
    values = np.sqrt(prior[labels.is_item].max(initial=0.0)) * _NODES
    likelihood = np.array([labels_of @ (labels.failed * value - np.logaddexp(0.0, others + value)) for value in values])
    posterior = np.exp(likelihood - likelihood.max(axis=0)) * _NODE_WEIGHTS[:, None]
    posterior /= posterior.sum(axis=0)
    mean = values @ posterior
    return mean, values**2 @ posterior - mean**2
