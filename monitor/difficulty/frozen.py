"""What is left of the estimator once it is frozen: weights that say how hard a request is, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from monitor.difficulty.estimator import Belief
from monitor.difficulty.features import RequestFeatures, Scale


class FrozenWeight(NamedTuple):
    """
    Posterior of one weight when the estimator was frozen.

    Attributes:
        mean: In logits.
        variance: In logits squared.
        versions: Versions that the feature was met in.
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
        is_known: Its own item or family was met in at least two versions.
        unsolved_by: Versions that all failed the request; 0 where one of them did not.
    """

    logit: float
    variance: float
    is_known: bool
    unsolved_by: int


@dataclass(frozen=True, slots=True)
class FrozenDifficulty:
    """
    Weights of a frozen fit.

    Attributes:
        bias: Constant term, in logits.
        weights: Weight by feature name.
        scales: Mean and deviation of each numeric attribute.
        prior_variance: Variance of a weight never met, by group of its feature.
        tiered_capabilities: Capabilities with labels enough to be tagged.
    """

    bias: float
    weights: Mapping[str, FrozenWeight]
    scales: Mapping[str, Scale]
    prior_variance: Mapping[str, float]
    tiered_capabilities: frozenset[str]

    def __post_init__(self) -> None:
        for name in ("weights", "scales", "prior_variance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def estimate(self, features: RequestFeatures) -> Estimate:
        """What is known of the difficulty of a request with *features*."""
        mean, variance = self.bias, 0.0
        find, prior = self.weights.get, self.prior_variance
        weight = find("capability=" + features.capability)
        if weight is None:
            variance += prior["capability"]
        else:
            mean, variance = mean + weight.mean, variance + weight.variance
        if features.tool_set is not None:
            weight = find("tools=" + features.tool_set)
            if weight is None:
                variance += prior["tools"]
            else:
                mean, variance = mean + weight.mean, variance + weight.variance
        is_known, unsolved_by = False, 0
        if features.prompt_family is not None:
            weight = find("prompt=" + features.prompt_family)
            if weight is None:
                variance += prior["prompt"]
            else:
                mean, variance = mean + weight.mean, variance + weight.variance
                is_known = weight.versions >= _KNOWN_VERSIONS
        weight = None if features.item is None else find("item=" + features.item)
        if weight is None:
            variance += prior["item"]
        else:
            mean, variance = mean + weight.mean, variance + weight.variance
            is_known = is_known or weight.versions >= _KNOWN_VERSIONS
            unsolved_by = weight.versions if weight.failed_by_all else 0
        if features.attributes:
            belief = self._attributes(features)
            mean, variance = mean + belief.mean, variance + belief.variance
        return Estimate(mean, variance, is_known, unsolved_by)

    def to_content(self) -> dict[str, Any]:
        """Plain JSON values, weights as columns."""
        names = sorted(self.weights)
        columns = list(zip(*(self.weights[name] for name in names), strict=True)) or [()] * len(FrozenWeight._fields)
        return {
            "bias": self.bias,
            "names": names,
            "weights": dict(zip(FrozenWeight._fields, map(list, columns), strict=True)),
            "scales": {name: [scale.mean, scale.deviation] for name, scale in self.scales.items()},
            "prior_variance": dict(self.prior_variance),
            "tiered_capabilities": sorted(self.tiered_capabilities),
        }

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> FrozenDifficulty:
        """The weights that `to_content` wrote."""
        columns = [content["weights"][column] for column in FrozenWeight._fields]
        return cls(
            bias=content["bias"],
            weights=dict(zip(content["names"], map(FrozenWeight, *columns), strict=True)),
            scales={name: Scale(*pair) for name, pair in content["scales"].items()},
            prior_variance=content["prior_variance"],
            tiered_capabilities=frozenset(content["tiered_capabilities"]),
        )

    def _attributes(self, features: RequestFeatures) -> Belief:
        mean = variance = 0.0
        for name, value in features.attributes.items():
            if isinstance(value, str):
                weight, times, prior = self.weights.get(f"attribute={name}={value}"), 1.0, "attribute"
            elif (scale := self.scales.get(name)) is not None:
                weight, times, prior = self.weights.get(f"number={name}"), scale.standardise(value), "number"
            else:
                continue
            if weight is None:
                variance += self.prior_variance[prior] * times * times
            else:
                mean += weight.mean * times
                variance += weight.variance * times * times
        return Belief(mean, variance)


_KNOWN_VERSIONS = 2
