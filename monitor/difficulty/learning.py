"""One pass over the history: what the estimator learns, what it told beforehand, and what each feature was met with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.difficulty.estimator import NUISANCE_GROUPS, PRIOR_VARIANCE, DifficultyClassifier, group_of
from monitor.difficulty.features import LabelledRequest, Scale, indicators
from monitor.difficulty.frozen import FrozenDifficulty, FrozenWeight
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust import Prediction

KNOWN_VERSIONS = 2


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


@dataclass(slots=True)
class Learner:
    """
    The estimator while it learns, with a memory of what every feature was met with.

    Args:
        settings: Limits of the estimator.
        scales: Mean and deviation of each numeric attribute.
    """

    settings: DifficultySettings
    scales: dict[str, Scale]
    estimator: DifficultyClassifier = field(init=False)
    meetings: dict[str, Meetings] = field(init=False, default_factory=lambda: defaultdict(Meetings))
    labels_by_version: dict[str, int] = field(init=False, default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.estimator = DifficultyClassifier(max_features=self.settings.max_features)

    def learn(self, request: LabelledRequest) -> Prediction:
        """Learn one label; what was told of its difficulty before."""
        x = indicators(request.features, self.scales)
        belief = self.estimator.difficulty(x)
        is_known = any(
            len(self.meetings[name].versions) >= KNOWN_VERSIONS
            for name in x
            if group_of(name) in _IDENTITY_GROUPS and name in self.meetings
        )
        for name in x:
            self.meetings[name].meet(request)
        self.labels_by_version[request.model_version] += 1
        version, capability = request.model_version, request.features.capability
        x[f"version={version}"] = 1.0
        x[f"version|capability={version}|{capability}"] = 1.0
        self.estimator.learn_one(x, request.failed)
        return Prediction(version, belief.mean, belief.variance, is_known, request.failed)

    def ability(self, model_version: str) -> float:
        """Posterior mean of a version's term in the logit of failing; low is able."""
        weight = self.estimator.weights.get(f"version={model_version}")
        return 0.0 if weight is None else weight.mean

    def freeze(self) -> FrozenDifficulty:
        """The difficulty part of what was learnt."""
        return FrozenDifficulty(
            bias=self.estimator.bias.mean,
            weights={
                name: FrozenWeight(
                    weight.mean,
                    weight.variance,
                    len(self.meetings[name].versions),
                    failed_by_all=not self.meetings[name].has_success,
                )
                for name, weight in sorted(self.estimator.weights.items())
                if group_of(name) not in NUISANCE_GROUPS
            },
            scales=self.scales,
            prior_variance=PRIOR_VARIANCE,
            tiered_capabilities=frozenset(self._tiered_capabilities()),
        )

    def _tiered_capabilities(self) -> Iterable[str]:
        for name, met in self.meetings.items():
            group, _, capability = name.partition("=")
            if (
                group == "capability"
                and met.labels >= self.settings.min_capability_labels
                and len(met.versions) >= self.settings.min_capability_versions
            ):
                yield capability


_IDENTITY_GROUPS = frozenset({"item", "prompt"})


def measure_scales(history: Sequence[LabelledRequest]) -> dict[str, Scale]:
    """Mean and standard deviation of each numeric attribute over the requests of *history*."""
    values: dict[str, list[float]] = defaultdict(list)
    for request in history:
        for name, value in request.features.attributes.items():
            if not isinstance(value, str) and np.isfinite(value):
                values[name].append(float(value))
    return {name: Scale(float(np.mean(column)), float(np.std(column))) for name, column in sorted(values.items())}
