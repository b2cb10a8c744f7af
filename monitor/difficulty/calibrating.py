"""Calibrating: difficulty is learnt from history, gated and frozen."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from monitor.difficulty.calibration import Belief, Calibration, FrozenDifficulty, FrozenWeight
from monitor.difficulty.estimator import NUISANCE_GROUPS, PRIOR_VARIANCE, DifficultyClassifier, group_of
from monitor.difficulty.features import LabelledRequest, RequestFeatures, Scale, indicators
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS, Tier, TierCuts
from monitor.difficulty.trust import TierPromise
from monitor.difficulty.trust_gate import assess, by_version, own_ability, prediction

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
    Learn difficulty from *history*, then freeze; None where the history is empty.

    All labels are learnt at once. Whether tiers can be trusted, and keep what they promise, is measured on versions
    that are left out of such a fit, one at a time.

    Args:
        history: Versions in order of first appearance, each in trace order.
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
    judged = [prediction(label, without[label.model_version]) for label in labels if label.model_version in latest]
    trust = assess(judged, versions=len(versions), settings=settings)
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
    """What *labels* teach all at once."""
    learner = Learner(settings, measure_scales(labels))
    for request in labels:
        learner.learn(request)
    if labels:
        learner.refit(labels)
    return learner


def _without(version: str, labels: Iterable[LabelledRequest], settings: DifficultySettings) -> FrozenDifficulty:
    """What all *labels* but those of *version* teach."""
    return _learn([label for label in labels if label.model_version != version], settings).freeze()


def _reference_version(learner: Learner, settings: DifficultySettings) -> str:
    """The ablest version with labels enough; the one with most labels where none has."""
    labels = learner.labels_by_version
    established = [version for version in labels if labels[version] >= settings.min_reference_labels]
    return min(established, key=learner.ability) if established else max(labels, key=labels.__getitem__)


def _cuts(difficulty: FrozenDifficulty, reference: Sequence[LabelledRequest], settings: DifficultySettings) -> TierCuts:
    """
    Cuts on the difficulty logit at which the reference version fails as often as the settings say.

    Its ability is the one at which the difficulties of its own requests, on average, fail as often as they did; its
    weight alone would leave out what it is good at among the capabilities.
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
    """How often the reference version failed in each tier, by a *difficulty* that has not learnt its labels."""
    unlearnt = replace(calibration, difficulty=difficulty, cuts=_cuts(difficulty, reference, settings))
    outcomes: dict[Tier, list[bool]] = {tier: [] for tier in Tier}
    for label in reference:
        outcomes[unlearnt.likeliest_tier(difficulty.estimate(label.features))].append(label.failed)
    ends = (0.0, *_cut_rates(settings), 1.0)
    return tuple(
        TierPromise(tier, len(outcomes[tier]), sum(outcomes[tier]), least, most)
        for tier, least, most in zip(TIERS, ends, ends[1:], strict=False)
    )


def _cut_rates(settings: DifficultySettings) -> tuple[float, float, float]:
    return settings.medium_failure_rate, settings.hard_failure_rate, settings.frontier_failure_rate


@dataclass(slots=True)
class Seen:
    """What one feature was seen with: the versions, and whether any of them succeeded."""

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
    The estimator while it learns, with a memory of what every feature was seen with.

    Args:
        settings: Limits of the estimator.
        scales: Mean and deviation of each numeric attribute.
    """

    def __init__(self, settings: DifficultySettings, scales: dict[str, Scale]) -> None:
        self.settings = settings
        self.scales = scales
        self.estimator = DifficultyClassifier(max_features=settings.max_features)
        self.labels_by_version: dict[str, int] = defaultdict(int)
        self._seen: dict[str, Seen] = defaultdict(Seen)
        self._items: dict[str, str] = {}

    def learn(self, request: LabelledRequest) -> None:
        """Learn one label."""
        row = self._row(request)
        for name in row:
            self._seen[name].add(request)
        self.labels_by_version[request.model_version] += 1
        self.estimator.learn_one(row, request.failed)
        if len(self._seen) > _SLACK * self.settings.max_features:
            self._forget_evicted()

    def ability(self, model_version: str) -> float:
        """Posterior mean of a version's term in the logit of failing; low is able."""
        weight = self.estimator.weights.get(f"version={model_version}")
        return 0.0 if weight is None else weight.mean

    def refit(self, labels: Sequence[LabelledRequest]) -> None:
        """Learn *labels*, of those learnt before, anew and all at once."""
        self.estimator.refit(map(self._row, labels), [label.failed for label in labels])

    def freeze(self) -> FrozenDifficulty:
        """The difficulty part of what was learnt."""
        weights = {}
        for name, weight in sorted(self.estimator.weights.items()):
            if group_of(name) not in NUISANCE_GROUPS:
                seen = self._seen[name]
                weights[name] = FrozenWeight(weight.mean, weight.variance, len(seen.versions), not seen.has_success)
        return FrozenDifficulty(
            bias=self.estimator.bias.mean,
            weights=weights,
            prior=_prior_beliefs(weights),
            items={prompt: item for prompt, item in sorted(self._items.items()) if f"item={item}" in weights},
            scales=self.scales,
            tiered_capabilities=frozenset(
                name.removeprefix("capability=")
                for name, seen in self._seen.items()
                if name.startswith("capability=")
                and seen.labels >= self.settings.min_capability_labels
                and len(seen.versions) >= self.settings.min_capability_versions
            ),
        )

    def _row(self, request: LabelledRequest) -> dict[str, float]:
        """What was asked, and who answered."""
        version, features = request.model_version, request.features
        who = {f"version={version}": 1.0, f"version|capability={version}|{features.capability}": 1.0}
        return indicators(features, self._known_as(features), self.scales) | who

    def _known_as(self, features: RequestFeatures) -> str | None:
        """The request's own name, or the one that its masked prompt goes by: the only item with that prompt."""
        prompt = features.prompt_family
        if features.item is None:
            return None if prompt is None else self._items.setdefault(prompt, _NAMED_BY_PROMPT + prompt) or None
        if prompt is not None and self._items.setdefault(prompt, features.item) != features.item:
            self._items[prompt] = _SHARED
        return features.item

    def _forget_evicted(self) -> None:
        weights = self.estimator.weights
        for name in [name for name in self._seen if name not in weights]:
            del self._seen[name]
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


def _prior_beliefs(weights: dict[str, FrozenWeight]) -> dict[str, Belief]:
    """What a weight never seen may be: as spread as those of its group that were, or its prior where few were."""
    by_group: dict[str, list[FrozenWeight]] = defaultdict(list)
    for name, weight in weights.items():
        by_group[group_of(name)].append(weight)
    beliefs = {}
    for group, prior in PRIOR_VARIANCE.items():
        seen = np.array([(weight.mean, weight.variance) for weight in by_group[group]]).reshape(-1, 2)
        beliefs[group] = Belief(0.0, prior)
        if len(seen) >= _FEWEST_WEIGHTS:
            beliefs[group] = Belief(float(seen[:, 0].mean()), float(seen[:, 0].var() + seen[:, 1].mean()))
    return beliefs
