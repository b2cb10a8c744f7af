"""Calibrating: difficulty is learnt from history, gated and frozen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from monitor.difficulty.calibration import DEFAULT_SETTINGS, Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.frozen import FrozenDifficulty
from monitor.difficulty.learning import Learner, measure_scales
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS, Tier, TierCuts
from monitor.difficulty.trust import TierPromise, Trust
from monitor.difficulty.trust_gate import Prediction, assess, own_ability

_BINS_PER_TIER = 4
_OUTER_BINS = 5
_OUTER_STEP = 0.9


def calibrate(
    history: Iterable[LabelledRequest], *, frozen_at: float, settings: DifficultySettings = DEFAULT_SETTINGS
) -> Calibration | None:
    """
    Learn difficulty from *history*, then freeze; None where the history is empty.

    One pass tells how well difficulty is told of labels not learnt; then all labels are learnt at once.

    Args:
        history: Versions in order of first appearance, each in trace order.
        frozen_at: Unix seconds.
        settings: Limits, cut points and gates.
    """
    labels = list(history)
    if not labels:
        return None
    learner, predictions = _learn(labels, settings)
    latest = list(predictions)[-settings.evaluated_versions :]
    told = [prediction for version in latest for prediction in predictions[version]]
    trust = assess(told, versions=len(predictions), settings=settings)
    reference_version = _reference_version(learner, settings)
    difficulty = learner.freeze()
    reference = [label for label in labels if label.model_version == reference_version]
    cuts = _cuts(difficulty, reference, settings)
    calibration = Calibration(
        calibration_id="",
        frozen_at=frozen_at,
        cuts=cuts,
        trust=trust,
        reference_version=reference_version,
        bin_edges=bin_edges(cuts),
        difficulty=difficulty,
        min_tag_probability=settings.min_tag_probability,
        frontier_min_versions=settings.frontier_min_versions,
    )
    others, _ = _learn([label for label in labels if label.model_version != reference_version], settings)
    return replace(calibration, promises=_promises(calibration, others.freeze(), reference, settings)).named()


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
        estimate = calibration.difficulty.estimate(label.features)
        told.append(Prediction(label.model_version, *estimate[:3], label.failed))
    return assess(told, versions=calibration.trust.versions, settings=settings)


def _learn(
    labels: Sequence[LabelledRequest], settings: DifficultySettings
) -> tuple[Learner, dict[str, list[Prediction]]]:
    """What *labels* teach all at once, and what was told of each, by version, by those before it."""
    learner = Learner(settings, measure_scales(labels))
    predictions: dict[str, list[Prediction]] = defaultdict(list)
    for request in labels:
        predictions[request.model_version].append(learner.learn(request))
    if labels:
        learner.refit(labels)
    return learner, predictions


def _reference_version(learner: Learner, settings: DifficultySettings) -> str:
    """The ablest version with labels enough; the one with most labels where none has."""
    labels = learner.labels_by_version
    established = [version for version in labels if labels[version] >= settings.min_reference_labels]
    if established:
        return min(established, key=learner.ability)
    return max(labels, key=lambda version: labels[version])


def _cuts(difficulty: FrozenDifficulty, reference: Sequence[LabelledRequest], settings: DifficultySettings) -> TierCuts:
    """
    Cuts on the difficulty logit at which the reference version fails as often as the settings say.

    Its ability is the one at which the difficulties of its own requests, on average, fail as often as they did; its
    weight alone would leave out what it is good at among the capabilities.
    """
    told = [difficulty.estimate(label.features) for label in reference]
    part = np.array(
        [(belief.logit, belief.variance, 1, label.failed) for belief, label in zip(told, reference, strict=True)]
    )
    ability = own_ability(part)
    return TierCuts(*(math.log(rate / (1.0 - rate)) - ability for rate in _cut_rates(settings)))


def bin_edges(cuts: TierCuts) -> tuple[float, ...]:
    """Difficulty logits between 18 bins: four bins in medium and in hard, five in easy and in frontier."""
    easier = cuts.medium - _OUTER_STEP * np.arange(_OUTER_BINS - 1, 0, -1)
    medium = np.linspace(cuts.medium, cuts.hard, _BINS_PER_TIER, endpoint=False)
    hard = np.linspace(cuts.hard, cuts.frontier, _BINS_PER_TIER, endpoint=False)
    harder = cuts.frontier + _OUTER_STEP * np.arange(_OUTER_BINS)
    return tuple(np.concatenate([easier, medium, hard, harder]).tolist())


def _promises(
    calibration: Calibration,
    difficulty: FrozenDifficulty,
    reference: Sequence[LabelledRequest],
    settings: DifficultySettings,
) -> tuple[TierPromise, ...]:
    """How often the reference version failed in each tier, told by a *difficulty* that has not learnt its labels."""
    told = replace(calibration, difficulty=difficulty, cuts=_cuts(difficulty, reference, settings))
    outcomes: dict[Tier, list[bool]] = {tier: [] for tier in Tier}
    for label in reference:
        outcomes[told.likeliest_tier(difficulty.estimate(label.features))].append(label.failed)
    ends = (0.0, *_cut_rates(settings), 1.0)
    return tuple(
        TierPromise(tier, len(outcomes[tier]), sum(outcomes[tier]), least, most)
        for tier, least, most in zip(TIERS, ends, ends[1:], strict=False)
    )


def _cut_rates(settings: DifficultySettings) -> tuple[float, float, float]:
    return settings.medium_failure_rate, settings.hard_failure_rate, settings.frontier_failure_rate
