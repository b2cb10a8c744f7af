"""Calibrating: difficulty is learnt from history, gated and frozen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from monitor.difficulty.calibration import DEFAULT_SETTINGS, Calibration
from monitor.difficulty.cuts import bin_edges
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.learning import Learner, measure_scales
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TierCuts
from monitor.difficulty.trust import Trust
from monitor.difficulty.trust_gate import Prediction, assess, response_slope


def calibrate(
    history: Iterable[LabelledRequest], *, frozen_at: float, settings: DifficultySettings = DEFAULT_SETTINGS
) -> Calibration | None:
    """
    Learn difficulty from *history* in one pass, then freeze; None where the history is empty.

    Args:
        history: Versions in order of first appearance, each in trace order.
        frozen_at: Unix seconds.
        settings: Limits, cut points and gates.
    """
    labels = list(history)
    if not labels:
        return None
    learner = Learner(settings, measure_scales(labels))
    predictions: dict[str, list[Prediction]] = defaultdict(list)
    for request in labels:
        predictions[request.model_version].append(learner.learn(request))
    latest = list(predictions)[-settings.evaluated_versions :]
    told = [prediction for version in latest for prediction in predictions[version]]
    slope = response_slope(told)
    trust = assess([prediction.stretched(slope) for prediction in told], versions=len(predictions), settings=settings)
    reference_version = _reference_version(learner, settings)
    cuts = _cuts(slope * learner.ability(reference_version), settings)
    return Calibration(
        calibration_id="",
        frozen_at=frozen_at,
        cuts=cuts,
        trust=trust,
        reference_version=reference_version,
        bin_edges=bin_edges(cuts),
        difficulty=learner.freeze(slope=slope),
        min_tag_probability=settings.min_tag_probability,
        frontier_min_versions=settings.frontier_min_versions,
    ).named()


def assess_traffic(
    calibration: Calibration, labels: Iterable[LabelledRequest], *, settings: DifficultySettings = DEFAULT_SETTINGS
) -> Trust:
    """
    Trust in *calibration* on traffic that it did not learn: its history may know the probes, but not what users ask.

    Args:
        calibration: What told the difficulty.
        labels: Outcomes of one or a few versions, most telling those of the baseline.
        settings: The gates.
    """
    told = []
    for label in labels:
        logit, variance, is_known, _ = calibration.difficulty.estimate(label.features)
        told.append(Prediction(label.model_version, logit, variance, is_known, label.failed))
    return assess(told, versions=calibration.trust.versions, settings=settings)


def _reference_version(learner: Learner, settings: DifficultySettings) -> str:
    """The ablest version with labels enough; the one with most labels where none has."""
    labels = learner.labels_by_version
    established = [version for version in labels if labels[version] >= settings.min_reference_labels]
    if established:
        return min(established, key=learner.ability)
    return max(labels, key=lambda version: labels[version])


def _cuts(ability: float, settings: DifficultySettings) -> TierCuts:
    """Cuts on the difficulty logit at which a version of *ability* fails as often as the settings say."""
    rates = (settings.medium_failure_rate, settings.hard_failure_rate, settings.frontier_failure_rate)
    return TierCuts(*(math.log(rate / (1.0 - rate)) - ability for rate in rates))
