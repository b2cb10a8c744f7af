"""What is left of the estimator once it is frozen: weights that say how hard a request is, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from monitor.difficulty.features import RequestFeatures, Scale

KNOWN_VERSIONS = 2
"""Versions that must have answered a request before it is known."""


class Belief(NamedTuple):
    """A normal belief: *mean* in logits, *variance* in logits squared."""

    mean: float
    variance: float


class FrozenWeight(NamedTuple):
    """
    Posterior of one weight when the estimator was frozen.

    Attributes:
        mean: In logits.
        variance: In logits squared.
        versions: Versions that the feature was seen in.
        failed_by_all: Every labelled request with the feature failed.
    """

    mean: float
    variance: float
    versions: int
    failed_by_all: bool


class Estimate(NamedTuple):
    """
    What is known of a request's difficulty.

    Attributes:
        logit: Posterior mean, in logits.
        variance: Posterior variance, in logits squared.
        is_known: It was seen in at least two versions, under its own name or as the only item with its masked prompt.
        unsolved_by: Versions that all failed the request; 0 where one of them did not.
        versions: Versions that answered the very request.
    """

    logit: float
    variance: float
    is_known: bool
    unsolved_by: int
    versions: int


@dataclass(frozen=True, slots=True)
class FrozenDifficulty:
    """
    Weights of a frozen fit.

    Attributes:
        bias: Constant term, in logits.
        weights: Weight by feature name.
        prior: Belief about a weight never seen, by group of its feature.
        items: What a masked prompt is known as, where it belongs to one item alone.
        scales: Mean and deviation of each numeric attribute.
        tiered_capabilities: Capabilities with labels enough to be tagged.
    """

    bias: float
    weights: Mapping[str, FrozenWeight]
    prior: Mapping[str, Belief]
    items: Mapping[str, str]
    scales: Mapping[str, Scale]
    tiered_capabilities: frozenset[str]

    def __post_init__(self) -> None:
        for name in ("weights", "prior", "items", "scales"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def estimate(self, features: RequestFeatures) -> Estimate:
        """What is known of the difficulty of a request with *features*."""
        find, prior = self.weights.get, self.prior
        item = self._item(features)
        mean, variance, *_ = find("capability=" + features.capability) or prior["capability"]
        mean += self.bias
        if features.tool_set is not None:
            weight = find("tools=" + features.tool_set) or prior["tools"]
            mean, variance = mean + weight.mean, variance + weight.variance
        if features.prompt_family is not None:
            weight = find("prompt=" + features.prompt_family) or prior["prompt"]
            mean, variance = mean + weight.mean, variance + weight.variance
        weight = item or prior["item"]
        mean, variance = mean + weight.mean, variance + weight.variance
        if features.attributes:
            belief = self._attributes(features)
            mean, variance = mean + belief.mean, variance + belief.variance
        if item is None:
            return Estimate(mean, variance, is_known=False, unsolved_by=0, versions=0)
        versions = item.versions
        return Estimate(mean, variance, versions >= KNOWN_VERSIONS, versions if item.failed_by_all else 0, versions)

    def to_content(self) -> dict[str, Any]:
        """Plain JSON values, weights as columns."""
        names = sorted(self.weights)
        columns = list(zip(*(self.weights[name] for name in names), strict=True)) or [()] * len(FrozenWeight._fields)
        return {
            "bias": self.bias,
            "names": names,
            "weights": dict(zip(FrozenWeight._fields, map(list, columns), strict=True)),
            "unmet": {group: list(belief) for group, belief in self.prior.items()},
            "items": dict(self.items),
            "scales": {name: [scale.mean, scale.deviation] for name, scale in self.scales.items()},
            "tiered_capabilities": sorted(self.tiered_capabilities),
        }

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> FrozenDifficulty:
        """The weights that `to_content` wrote."""
        columns = [content["weights"][column] for column in FrozenWeight._fields]
        return cls(
            bias=content["bias"],
            weights=dict(zip(content["names"], map(FrozenWeight, *columns), strict=True)),
            prior={group: Belief(*pair) for group, pair in content["unmet"].items()},
            items=content["items"],
            scales={name: Scale(*pair) for name, pair in content["scales"].items()},
            tiered_capabilities=frozenset(content["tiered_capabilities"]),
        )

    def _item(self, features: RequestFeatures) -> FrozenWeight | None:
        weight = None if features.item is None else self.weights.get("item=" + features.item)
        if weight is None and features.prompt_family is not None:
            item = self.items.get(features.prompt_family)
            weight = None if item is None else self.weights.get("item=" + item)
        return weight

    def _attributes(self, features: RequestFeatures) -> Belief:
        mean = variance = 0.0
        for name, value in features.attributes.items():
            if isinstance(value, str):
                weight, times = self.weights.get(f"attribute={name}={value}") or self.prior["attribute"], 1.0
            elif (scale := self.scales.get(name)) is not None:
                weight, times = self.weights.get(f"number={name}") or self.prior["number"], scale.standardise(value)
            else:
                continue
            mean += weight.mean * times
            variance += weight.variance * times * times
        return Belief(mean, variance)
