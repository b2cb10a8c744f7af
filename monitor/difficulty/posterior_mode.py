"""Most probable weights of a logistic regression, all labels at once, with the spread of items learnt beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

_Array = NDArray[np.float64]

_ROUNDS = 5
_FEWEST_WEIGHTS = 8
_WIDER = 2.0
_VARIANCES = (1e-3, 20.0)
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


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
    Most probable weights given all labels; for items, of which each has few labels, exact moments beside them.

    The prior variance of items is learnt: in one service the requests of a class are alike, in another each is a world
    of its own, and a prior that fits the second puts noise into the difficulties of the first. The estimate is doubled,
    since real items have longer tails than a normal prior, and cliffs lose more by too narrow a prior than by too wide
    a one.

    Args:
        design: Features by label, shape (labels, weights).
        failed: Outcome by label.
        prior: Prior variance by weight, logits squared.
        is_item: Weights whose common prior variance is learnt; the one in *prior* is where it starts.

    Returns:
        Mean and variance of every weight, in logits and logits squared, shape (weights,); variances of weights other
        than items are those of a diagonal Laplace approximation.

    Source:
        The fixed point of MacKay (1992), Bayesian interpolation, Neural Computation 4:415, section 4.
    """
    labels = _Labels(design, design.T.tocsr(), np.asarray(failed, dtype=float), is_item)
    prior, mean = prior.copy(), np.zeros(design.shape[1])
    for remaining in range(_ROUNDS if is_item.sum() >= _FEWEST_WEIGHTS else 0, -1, -1):
        mean = _mode(labels, prior, mean)
        if remaining:
            middle, spread = _item_moments(labels, prior, mean)
            labelled = float((1.0 - spread / prior[is_item]).sum())  # items that labels speak of
            learnt = float((middle**2).sum()) / max(labelled, 1.0)
            prior[is_item] = np.clip(learnt * (_WIDER if remaining == 1 else 1.0), *_VARIANCES)
    variance = _laplace_variance(labels, prior, mean)
    mean[is_item], variance[is_item] = _item_moments(labels, prior, mean)
    return mean, variance


class _Labels(NamedTuple):
    design: csr_matrix
    by_weight: csr_matrix
    failed: _Array
    is_item: NDArray[np.bool_]


def _mode(labels: _Labels, prior: _Array, start: _Array) -> _Array:
    design, by_weight, failed, _ = labels

    def surprise(scaled: _Array, scale: _Array) -> tuple[float, _Array]:
        weights = scale * scaled
        logit = design @ weights
        value = np.logaddexp(0.0, logit).sum() - failed @ logit + 0.5 * (weights**2 / prior).sum()
        return float(value), scale * (by_weight @ (expit(logit) - failed) + weights / prior)

    scale = np.sqrt(_laplace_variance(labels, prior, start))
    found = minimize(
        surprise, start / scale, args=(scale,), method="L-BFGS-B", jac=True, options={"ftol": 1e-7, "gtol": 1e-2}
    )
    return scale * found.x


def _laplace_variance(labels: _Labels, prior: _Array, weights: _Array) -> _Array:
    rate = expit(labels.design @ weights)
    variance: _Array = 1.0 / (1.0 / prior + labels.by_weight.power(2) @ (rate * (1.0 - rate)))
    return variance


def _item_moments(labels: _Labels, prior: _Array, weights: _Array) -> tuple[_Array, _Array]:
    """Mean and variance of the weight of each item, all other weights at their mode."""
    labels_of = labels.by_weight[np.flatnonzero(labels.is_item)]
    others = labels.design @ np.where(labels.is_item, 0.0, weights)
    values = np.sqrt(prior[labels.is_item].max(initial=0.0)) * _NODES
    likelihood = np.array([labels_of @ (labels.failed * value - np.logaddexp(0.0, others + value)) for value in values])
    chance = np.exp(likelihood - likelihood.max(axis=0)) * _NODE_WEIGHTS[:, None]
    chance /= chance.sum(axis=0)
    mean = values @ chance
    return mean, values**2 @ chance - mean**2
