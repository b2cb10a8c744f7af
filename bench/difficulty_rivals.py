"""Predictors of the difficulty of a request: the product, and the ones that it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from river import linear_model, optim

from bench.outcomes import Outcomes
from monitor.difficulty.calibrating import calibrate, measure_scales
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, RequestFeatures, Scale, indicators
from monitor.difficulty.settings import DifficultySettings

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PredictedDifficulty:
    """
    The predicted difficulty of every request of a set; arrays have one entry per request.

    Attributes:
        logit: Difficulty, in logits.
        variance: Its variance, in logits squared; 0 if the predictor has none.
        is_known: 1 if the history has the request, else 0.
        calibration: The calibration behind it, or None.
    """

    logit: _Array
    variance: _Array
    is_known: _Array
    calibration: Calibration | None = None


Predictor = Callable[[Outcomes, Sequence[LabelledRequest]], PredictedDifficulty]


def history_of(outcomes: Outcomes, versions: Sequence[int], pool: NDArray[np.int64]) -> list[LabelledRequest]:
    """Labels of *pool* by *versions*, one version after the other."""
    return [
        LabelledRequest(
            outcomes.features[request], outcomes.versions[version], bool(outcomes.failed[version, request]), 0.0
        )
        for version in versions
        for request in pool
    ]


def by_calibration(outcomes: Outcomes, history: Sequence[LabelledRequest]) -> PredictedDifficulty:
    """The product: a frozen calibration."""
    calibration = calibrate(history, frozen_at=0.0, settings=DifficultySettings())
    if calibration is None:
        raise ValueError("a history has labels")
    estimates = [calibration.difficulty.estimate(features) for features in outcomes.features]
    return PredictedDifficulty(
        logit=np.array([estimate.logit for estimate in estimates]),
        variance=np.array([estimate.variance for estimate in estimates]),
        is_known=np.array([estimate.is_known for estimate in estimates], dtype=float),
        calibration=calibration,
    )


def by_capability(outcomes: Outcomes, history: Sequence[LabelledRequest]) -> PredictedDifficulty:
    """The same calibration, with the capability as the only feature."""
    bare = [
        LabelledRequest(RequestFeatures(label.features.capability), label.model_version, label.failed, label.started_at)
        for label in history
    ]
    calibration = calibrate(bare, frozen_at=0.0, settings=DifficultySettings())
    if calibration is None:
        raise ValueError("a history has labels")
    terms = [calibration.difficulty.weights.get("capability=" + each.capability) for each in outcomes.features]
    return PredictedDifficulty(
        logit=np.array([0.0 if term is None else term.mean for term in terms]),
        variance=np.zeros(len(terms)),
        is_known=np.array([term is not None for term in terms], dtype=float),
    )


def by_adagrad(outcomes: Outcomes, history: Sequence[LabelledRequest]) -> PredictedDifficulty:
    """River's logistic regression on the same features of the request."""
    scales = measure_scales(history)
    model = linear_model.LogisticRegression(optimizer=optim.AdaGrad(0.3), l2=0.0)
    for label in history:
        model.learn_one(_features(label.features, scales), label.failed)
    predict: Callable[[dict[Hashable, float]], dict[bool, float]] = model.predict_proba_one
    predicted = [predict(_features(features, scales))[True] for features in outcomes.features]
    probability = np.clip(np.array(predicted), 1e-6, 1 - 1e-6)
    known = {label.features.item for label in history}
    return PredictedDifficulty(
        logit=np.log(probability / (1 - probability)),
        variance=np.zeros(len(predicted)),
        is_known=np.array([features.item in known for features in outcomes.features], dtype=float),
    )


def _features(features: RequestFeatures, scales: dict[str, Scale]) -> dict[Hashable, float]:
    return dict(indicators(features, features.item, scales).items())


RIVALS: dict[str, Predictor] = {
    "capability only": by_capability,
    "river LogisticRegression(AdaGrad)": by_adagrad,
}
