"""One pass over the history: what the estimator learns, what it told beforehand, and what each feature was met with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.difficulty.estimator import NUISANCE_GROUPS, PRIOR_VARIANCE, DifficultyClassifier, group_of
from monitor.difficulty.features import LabelledRequest, RequestFeatures, Scale, indicators
from monitor.difficulty.frozen import KNOWN_VERSIONS, Belief, FrozenDifficulty, FrozenWeight
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust_gate import Prediction

_SHARED = ""
_NAMED_BY_PROMPT = "prompt:"
_FEWEST_WEIGHTS = 30
_SLACK = 1.25


@dataclass(slots=True)
class Meetings:
    """What one feature was met with: the versions, and whether any of them succeeded."""

    versions: set[str] = field(default_factory=set)
    labels: int = 0
    has_success: bool = False

    def meet(self, request: LabelledRequest) -> None:
        """Count one labelled request."""
        self.versions.add(request.model_version)
        self.labels += 1
        self.has_success = self.has_success or not request.failed


class Learner:
    """
    The estimator while it learns, with a memory of what every feature was met with.

    Args:
        settings: Limits of the estimator.
        scales: Mean and deviation of each numeric attribute.
    """

    def __init__(self, settings: DifficultySettings, scales: dict[str, Scale]) -> None:
        self.settings = settings
        self.scales = scales
        self.estimator = DifficultyClassifier(max_features=settings.max_features)
        self.labels_by_version: dict[str, int] = defaultdict(int)
        self._meetings: dict[str, Meetings] = defaultdict(Meetings)
        self._items: dict[str, str] = {}

    def learn(self, request: LabelledRequest) -> Prediction:
        """Learn one label; what was told of its difficulty before."""
        item = self._known_as(request.features)
        x = indicators(request.features, item, self.scales)
        belief = self.estimator.difficulty(x)
        met = self._meetings.get(f"item={item}")
        is_known = met is not None and len(met.versions) >= KNOWN_VERSIONS
        for name in x:
            self._meetings[name].meet(request)
        self.labels_by_version[request.model_version] += 1
        self.estimator.learn_one(x | _who_answered(request), request.failed)
        if len(self._meetings) > _SLACK * self.settings.max_features:
            self._forget_evicted()
        return Prediction(request.model_version, belief.mean, belief.variance, is_known, request.failed)

    def ability(self, model_version: str) -> float:
        """Posterior mean of a version's term in the logit of failing; low is able."""
        weight = self.estimator.weights.get(f"version={model_version}")
        return 0.0 if weight is None else weight.mean

    def refit(self, labels: Sequence[LabelledRequest]) -> None:
        """Learn *labels*, of those learnt before, anew and all at once."""
        self.estimator.refit(map(self._row, labels), [label.failed for label in labels])

    def freeze(self) -> FrozenDifficulty:
        """The difficulty part of what was learnt."""
        weights = {
            name: FrozenWeight(
                weight.mean,
                weight.variance,
                len(self._meetings[name].versions),
                failed_by_all=not self._meetings[name].has_success,
            )
            for name, weight in sorted(self.estimator.weights.items())
            if group_of(name) not in NUISANCE_GROUPS
        }
        return FrozenDifficulty(
            bias=self.estimator.bias.mean,
            weights=weights,
            unmet=_unmet_beliefs(weights),
            items={prompt: item for prompt, item in sorted(self._items.items()) if f"item={item}" in weights},
            scales=self.scales,
            tiered_capabilities=frozenset(
                name.removeprefix("capability=")
                for name, met in self._meetings.items()
                if name.startswith("capability=")
                and met.labels >= self.settings.min_capability_labels
                and len(met.versions) >= self.settings.min_capability_versions
            ),
        )

    def _row(self, request: LabelledRequest) -> dict[str, float]:
        return indicators(request.features, self._known_as(request.features), self.scales) | _who_answered(request)

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
        for name in [name for name in self._meetings if name not in weights]:
            del self._meetings[name]
        for prompt in [prompt for prompt, item in self._items.items() if f"item={item}" not in weights]:
            del self._items[prompt]


def _who_answered(request: LabelledRequest) -> dict[str, float]:
    version = request.model_version
    return {f"version={version}": 1.0, f"version|capability={version}|{request.features.capability}": 1.0}


def measure_scales(history: Sequence[LabelledRequest]) -> dict[str, Scale]:
    """Mean and standard deviation of each numeric attribute over the requests of *history*."""
    values: dict[str, list[float]] = defaultdict(list)
    for request in history:
        for name, value in request.features.attributes.items():
            if not isinstance(value, str) and np.isfinite(value):
                values[name].append(float(value))
    return {name: Scale(float(np.mean(column)), float(np.std(column))) for name, column in sorted(values.items())}


def _unmet_beliefs(weights: dict[str, FrozenWeight]) -> dict[str, Belief]:
    """What a weight never met may be: as spread as those of its group that were met, or its prior where few were."""
    by_group: dict[str, list[FrozenWeight]] = defaultdict(list)
    for name, weight in weights.items():
        by_group[group_of(name)].append(weight)
    beliefs = {}
    for group, prior in PRIOR_VARIANCE.items():
        met = np.array([(weight.mean, weight.variance) for weight in by_group[group]]).reshape(-1, 2)
        beliefs[group] = (
            Belief(float(met[:, 0].mean()), float(met[:, 0].var() + met[:, 1].mean()))
            if len(met) >= _FEWEST_WEIGHTS
            else Belief(0.0, prior)
        )
    return beliefs
