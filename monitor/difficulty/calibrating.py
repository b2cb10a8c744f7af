"""Calibrates: learns difficulty from history, measures trust, and freezes the fit."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from monitor.difficulty.calibration import Calibration, FrozenDifficulty, FrozenWeight, Normal
from monitor.difficulty.estimator import NUISANCE_GROUPS, PRIOR_VARIANCE, DifficultyClassifier, group_of
from monitor.difficulty.features import LabelledRequest, RequestFeatures, Scale, indicators
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS, Tier, TierCuts
from monitor.difficulty.trust import TierPromise
from monitor.difficulty.trust_gate import assess, by_version, own_ability, prediction
from monitor.trace.grouping import grouped

_BINS_PER_TIER = 4
_OUTER_BINS = 5
_OUTER_STEP = 0.9
_SHARED = ""
_NAMED_BY_PROMPT = "prompt:"
_FEWEST_WEIGHTS = 30
_SLACK = 1.25


def calibrate(
    history: Iterable[LabelledRequest], *, frozen_at: float, settings: DifficultySettings
) -> Calibration | None:
    """
    A calibration learnt from *history*; None if the history is empty.

    The fit uses all labels at once. Trust in tiers, and their failure rates, are measured on versions that are left out
    of the fit, one at a time.

    Args:
        history: Labels by version in order of first appearance, each version in trace order.
        frozen_at: Unix seconds.
        settings: Limits, cut points and gates.
    """
    labels = list(history)
    if not labels:
        return None
    learner = _learn(labels, settings)
    versions = list(learner.labels_by_version)
    reference_version = _reference_version(learner, settings)
    latest = versions[-settings.evaluated_versions :]
    without = {version: _without(version, labels, settings) for version in {*latest, reference_version}}
    held_out = [prediction(label, without[label.model_version]) for label in labels if label.model_version in latest]
    trust = assess(held_out, versions=len(versions), settings=settings)
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
    promises = _promises(calibration, without[reference_version], reference, settings)
    return replace(calibration, promises=promises).named()


def _learn(labels: Sequence[LabelledRequest], settings: DifficultySettings) -> Learner:
    """A learner fitted to all *labels* at once."""
    learner = Learner(settings, measure_scales(labels))
    for request in labels:
        learner.learn(request)
    if labels:
        learner.refit(labels)
    return learner


def _without(version: str, labels: Iterable[LabelledRequest], settings: DifficultySettings) -> FrozenDifficulty:
    """The difficulty learnt from all *labels* except those of *version*."""
    return _learn([label for label in labels if label.model_version != version], settings).freeze()


def _reference_version(learner: Learner, settings: DifficultySettings) -> str:
    """The ablest version with enough labels; without one, the version with the most labels."""
    labels = learner.labels_by_version
    established = [version for version in labels if labels[version] >= settings.min_reference_labels]
    return min(established, key=learner.ability) if established else max(labels, key=labels.__getitem__)


def _cuts(difficulty: FrozenDifficulty, reference: Sequence[LabelledRequest], settings: DifficultySettings) -> TierCuts:
    """
    Difficulty logits at which the reference version has the failure rates of the settings.

    Its ability is fitted to its overall failure rate; its weight alone would leave out its strengths by capability.
    """
    (part,) = by_version(prediction(label, difficulty) for label in reference).values()
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
    """Failures of the reference version in each tier, by a *difficulty* that has not learnt its labels."""
    held_out = replace(calibration, difficulty=difficulty, cuts=_cuts(difficulty, reference, settings))
    outcomes: dict[Tier, list[bool]] = {tier: [] for tier in Tier}
    for label in reference:
        outcomes[held_out.likeliest_tier(difficulty.estimate(label.features))].append(label.failed)
    ends = (0.0, *_cut_rates(settings), 1.0)
    return tuple(
        TierPromise(tier, len(outcomes[tier]), sum(outcomes[tier]), least, most)
        for tier, least, most in zip(TIERS, ends, ends[1:], strict=False)
    )


def _cut_rates(settings: DifficultySettings) -> tuple[float, float, float]:
    return settings.medium_failure_rate, settings.hard_failure_rate, settings.frontier_failure_rate


@dataclass(slots=True)
class FeatureHistory:
    """The labelled requests with one feature: their versions, their number, and whether any succeeded."""

    versions: set[str] = field(default_factory=set)
    labels: int = 0
    has_success: bool = False

    def add(self, request: LabelledRequest) -> None:
        """Count one labelled request."""
        self.versions.add(request.model_version)
        self.labels += 1
        self.has_success = self.has_success or not request.failed


class Learner:
    """
    The estimator during learning, with the history of every feature.

    Args:
        settings: Limits of the estimator.
        scales: Mean and deviation of each numeric attribute.
    """

    def __init__(self, settings: DifficultySettings, scales: dict[str, Scale]) -> None:
        self.settings = settings
        self.scales = scales
        self.estimator = DifficultyClassifier(max_features=settings.max_features)
        self.labels_by_version: dict[str, int] = defaultdict(int)
        self._history: dict[str, FeatureHistory] = defaultdict(FeatureHistory)
        self._items: dict[str, str] = {}

    def learn(self, request: LabelledRequest) -> None:
        """Learn one label."""
        row = self._row(request)
        for name in row:
            self._history[name].add(request)
        self.labels_by_version[request.model_version] += 1
        self.estimator.learn_one(row, request.failed)
        if len(self._history) > _SLACK * self.settings.max_features:
            self._forget_evicted()

    def ability(self, model_version: str) -> float:
        """Posterior mean of a version's weight in the logit of failing; lower is abler."""
        weight = self.estimator.weights.get(f"version={model_version}")
        return 0.0 if weight is None else weight.mean

    def refit(self, labels: Sequence[LabelledRequest]) -> None:
        """Fit to *labels*, which were learnt one by one before, all at once."""
        self.estimator.refit(map(self._row, labels), [label.failed for label in labels])

    def freeze(self) -> FrozenDifficulty:
        """The weights of requests, without those of versions."""
        weights = {}
        for name, weight in sorted(self.estimator.weights.items()):
            if group_of(name) not in NUISANCE_GROUPS:
                past = self._history[name]
                weights[name] = FrozenWeight(weight.mean, weight.variance, len(past.versions), not past.has_success)
        return FrozenDifficulty(
            bias=self.estimator.bias.mean,
            weights=weights,
            prior=_priors(weights),
            items={prompt: item for prompt, item in sorted(self._items.items()) if f"item={item}" in weights},
            scales=self.scales,
            tiered_capabilities=frozenset(
                name.removeprefix("capability=")
                for name, past in self._history.items()
                if name.startswith("capability=")
                and past.labels >= self.settings.min_capability_labels
                and len(past.versions) >= self.settings.min_capability_versions
            ),
        )

    def _row(self, request: LabelledRequest) -> dict[str, float]:
        """Features of the request and of the version that answered it."""
        version, features = request.model_version, request.features
        of_version = {f"version={version}": 1.0, f"version|capability={version}|{features.capability}": 1.0}
        return indicators(features, self._item(features), self.scales) | of_version

    def _item(self, features: RequestFeatures) -> str | None:
        """The request's own name, or without one the only item with its masked prompt."""
        prompt = features.prompt_family
        if features.item is None:
            return None if prompt is None else self._items.setdefault(prompt, _NAMED_BY_PROMPT + prompt) or None
        if prompt is not None and self._items.setdefault(prompt, features.item) != features.item:
            self._items[prompt] = _SHARED
        return features.item

    def _forget_evicted(self) -> None:
        weights = self.estimator.weights
        for name in [name for name in self._history if name not in weights]:
            del self._history[name]
        for prompt in [prompt for prompt, item in self._items.items() if f"item={item}" not in weights]:
            del self._items[prompt]


def measure_scales(history: Sequence[LabelledRequest]) -> dict[str, Scale]:
    """Mean and standard deviation of each numeric attribute over the requests of *history*."""
    values: dict[str, list[float]] = defaultdict(list)
    for request in history:
        for name, value in request.features.attributes.items():
            if not isinstance(value, str) and np.isfinite(value):
                values[name].append(float(value))
    return {name: Scale(float(np.mean(column)), float(np.std(column))) for name, column in sorted(values.items())}


def _priors(weights: dict[str, FrozenWeight]) -> dict[str, Normal]:
    """Prior of weights without labels by group: the distribution of the learnt ones, or if few, the estimator's."""
    by_group = grouped(weights.items(), lambda named: group_of(named[0]))
    priors = {}
    for group, variance in PRIOR_VARIANCE.items():
        learnt = np.array([(weight.mean, weight.variance) for _, weight in by_group.get(group, ())]).reshape(-1, 2)
        priors[group] = Normal(0.0, variance)
        if len(learnt) >= _FEWEST_WEIGHTS:
            priors[group] = Normal(float(learnt[:, 0].mean()), float(learnt[:, 0].var() + learnt[:, 1].mean()))
    return priors
