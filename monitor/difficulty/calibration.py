"""
A frozen calibration: everything needed to tag a request, and whether tiers can be trusted.

It is stored as versioned JSON with a checksum; text that was changed since is rejected.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import msgspec
from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter

from monitor.difficulty.features import RequestFeatures, Scale
from monitor.difficulty.tiers import TIERS, Tag, Tier, TierCuts
from monitor.difficulty.trust import TierPromise, Trust
from monitor.errors import CalibrationInvalid

SCHEMA = "cliffwatch.calibration/v1"
_ID_DIGITS = 16
MOST_BYTES = 64 * 1024**2  # of JSON, stored
_Variance = Annotated[float, Ge(0)]
_Count = Annotated[int, Ge(0)]
_SMALLEST_DEVIATION = 1e-9
_GROUPS = {"capability", "tools", "prompt", "item", "attribute", "number"}

KNOWN_VERSIONS = 2
"""Versions that must have answered a request before it is known."""


class Normal(NamedTuple):
    """A normal prior or posterior: *mean* in logits, *variance* in logits squared."""

    mean: float
    variance: _Variance


class FrozenWeight(NamedTuple):
    """
    Posterior of one weight when the estimator was frozen.

    Attributes:
        mean: Posterior mean, in logits.
        variance: Posterior variance, in logits squared.
        versions: Number of versions with a labelled request that has the feature.
        failed_by_all: Whether every labelled request with the feature failed.
    """

    mean: float
    variance: _Variance
    versions: _Count
    failed_by_all: bool


class Estimate(NamedTuple):
    """
    The estimated difficulty of a request.

    Attributes:
        logit: Posterior mean, in logits.
        variance: Posterior variance, in logits squared.
        is_known: Whether at least two versions answered it, under its own name or as the only item with its masked
            prompt.
        unsolved_by: Number of versions that answered it if all of them failed; else 0.
        versions: Number of versions that answered this very request.
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
        prior: Prior of a weight without labels, by group of its feature.
        items: Item of a masked prompt, for prompts of a single item.
        scales: Mean and deviation of each numeric attribute.
        tiered_capabilities: Capabilities with enough labels to get tiers.
    """

    bias: float
    weights: Mapping[str, FrozenWeight]
    prior: Mapping[str, Normal]
    items: Mapping[str, str]
    scales: Mapping[str, Scale]
    tiered_capabilities: frozenset[str]

    def __post_init__(self) -> None:
        for name in ("weights", "prior", "items", "scales"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def estimate(self, features: RequestFeatures) -> Estimate:
        """The estimated difficulty of a request with *features*."""
        find, prior = self.weights.get, self.prior
        item = self._item(features)
        parts: list[FrozenWeight | Normal] = [find("capability=" + features.capability) or prior["capability"]]
        if features.tool_set is not None:
            parts.append(find("tools=" + features.tool_set) or prior["tools"])
        if features.prompt_family is not None:
            parts.append(find("prompt=" + features.prompt_family) or prior["prompt"])
        parts.append(item or prior["item"])
        if features.attributes:
            parts.append(self._attributes(features))
        mean, variance = self.bias, 0.0
        for part in parts:
            mean += part.mean
            variance += part.variance
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
            "weights": dict(zip(FrozenWeight._fields, columns, strict=True)),
            "unmet": dict(self.prior),
            "items": dict(self.items),
            "scales": dict(self.scales),
            "tiered_capabilities": sorted(self.tiered_capabilities),
        }

    def _item(self, features: RequestFeatures) -> FrozenWeight | None:
        weight = None if features.item is None else self.weights.get("item=" + features.item)
        if weight is None and features.prompt_family is not None:
            item = self.items.get(features.prompt_family)
            weight = None if item is None else self.weights.get("item=" + item)
        return weight

    def _attributes(self, features: RequestFeatures) -> Normal:
        mean = variance = 0.0
        for name, value in features.attributes.items():
            if isinstance(value, str):
                weight, x = self.weights.get(f"attribute={name}={value}") or self.prior["attribute"], 1.0
            elif (scale := self.scales.get(name)) is not None:
                weight, x = self.weights.get(f"number={name}") or self.prior["number"], scale.standardise(value)
            else:
                continue
            mean += weight.mean * x
            variance += weight.variance * x * x
        return Normal(mean, variance)


@dataclass(frozen=True, slots=True)
class Calibration:
    """
    A frozen fit, which never changes once it has an id.

    Attributes:
        calibration_id: Hash of all other fields.
        frozen_at: Unix seconds.
        reference_version: The established version whose failure rate defines the cuts.
        bin_edges: Difficulty logits between bins, ascending; every cut is one of them.
        promises: Failure rate of the reference version in each tier, on held-out labels.
    """

    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)

    calibration_id: str
    frozen_at: float
    cuts: TierCuts
    trust: Trust
    reference_version: str
    bin_edges: tuple[float, ...]
    difficulty: FrozenDifficulty
    min_tag_probability: float
    frontier_min_versions: _Count
    promises: tuple[TierPromise, ...] = ()  # missing before version 1.1

    def tag(self, features: RequestFeatures) -> Tag:
        """Tag of a request with *features*."""
        estimate = self.difficulty.estimate(features)
        return Tag(
            tier=self._tier(features.capability, estimate),
            difficulty_logit=estimate.logit,
            difficulty_variance=estimate.variance,
            is_known=estimate.is_known,
            bin=bisect_right(self.bin_edges, estimate.logit),
            calibration_id=self.calibration_id,
        )

    def _tier(self, capability: str, estimate: Estimate) -> Tier:
        if not self.trust.is_trusted or capability not in self.difficulty.tiered_capabilities:
            return Tier.UNTIERED
        return self.likeliest_tier(estimate)

    def likeliest_tier(self, estimate: Estimate) -> Tier:
        """Most probable tier of *estimate*, trusted or not; `untiered` if none is probable and the request unknown."""
        scale = math.sqrt(2.0 * estimate.variance) or _SMALLEST_DEVIATION
        below_medium = 0.5 * math.erfc((estimate.logit - self.cuts.medium) / scale)
        below_hard = 0.5 * math.erfc((estimate.logit - self.cuts.hard) / scale)
        below_frontier = 0.5 * math.erfc((estimate.logit - self.cuts.frontier) / scale)
        probability = (below_medium, below_hard - below_medium, below_frontier - below_hard, 1.0 - below_frontier)
        largest = max(probability)
        if largest < self.min_tag_probability and not estimate.is_known:
            return Tier.UNTIERED
        tier = TIERS[probability.index(largest)]
        if tier is Tier.FRONTIER and estimate.unsolved_by < self.frontier_min_versions:
            return Tier.HARD
        return tier

    def named(self) -> Calibration:
        """The same fit with its id, which is a hash of the content."""
        return replace(self, calibration_id=_checksum(self._content())[:_ID_DIGITS])

    def to_json(self) -> str:
        """
        Versioned JSON with a checksum.

        Raises:
            CalibrationInvalid: larger than 64 MiB.
        """
        return seal(self._content())

    @staticmethod
    def from_json(text: str) -> Calibration:
        """
        The calibration in *text*, as written by `to_json`.

        Raises:
            CalibrationInvalid: corrupted, too large or of another version.
        """
        content = unseal(text)
        try:
            return _read(content)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise CalibrationInvalid(f"The calibration cannot be read ({exc!r}): calibrate again.") from exc

    def _content(self) -> dict[str, Any]:
        plain = {"cuts": asdict(self.cuts), "trust": asdict(self.trust), "difficulty": self.difficulty.to_content()}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "calibration_id"} | plain


_CALIBRATION = TypeAdapter(Calibration)


def _read(content: dict[str, Any]) -> Calibration:
    """
    The calibration with this *content* of plain JSON values, validated so that tagging cannot fail.

    Raises:
        ValueError: a value is not finite or has the wrong type, or columns differ in length.
        KeyError: a part is missing.
    """
    stored = content["difficulty"]
    rows = zip(*(stored["weights"][column] for column in FrozenWeight._fields), strict=True)
    difficulty = {**stored, "weights": dict(zip(stored["names"], rows, strict=True)), "prior": stored["unmet"]}
    if missing := _GROUPS - difficulty["prior"].keys():
        raise ValueError(f"no prior for {', '.join(sorted(missing))}")
    if content["bin_edges"] != sorted(content["bin_edges"]):
        raise ValueError("edges of bins are not ascending")
    parts = {**content, "calibration_id": _checksum(content)[:_ID_DIGITS], "difficulty": difficulty}
    return _CALIBRATION.validate_json(msgspec.json.encode(parts))  # pydantic takes lists for tuples in JSON only


def seal(content: Mapping[str, Any]) -> str:
    """
    *content* as JSON with its schema version and checksum.

    Raises:
        CalibrationInvalid: the text would be larger than 64 MiB.
    """
    text = f'{{"schema":"{SCHEMA}","checksum":"{_checksum(content)}","content":{_canonical(content)}}}'
    _check_size(text)
    return text


def unseal(text: str) -> dict[str, Any]:
    """
    The content of *text*, as written by `seal`.

    Raises:
        CalibrationInvalid: *text* is larger than 64 MiB, is not such JSON, has another version or was changed since.
    """
    _check_size(text)
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise CalibrationInvalid("The calibration is not JSON: calibrate again or restore the file.") from exc
    if not isinstance(envelope, dict) or not isinstance(envelope.get("content"), dict):
        raise CalibrationInvalid("The text is not a calibration: calibrate again or restore the file.")
    if envelope.get("schema") != SCHEMA:
        raise CalibrationInvalid(f"The calibration is {envelope.get('schema')!r}, not {SCHEMA!r}: calibrate again.")
    content: dict[str, Any] = envelope["content"]
    try:
        checksum = _checksum(content)
    except RecursionError as exc:
        raise CalibrationInvalid("The calibration is nested too deeply: calibrate again.") from exc
    except ValueError as exc:  # Python reads NaN and infinities, which are not JSON
        raise CalibrationInvalid("The calibration holds a number that is not finite: calibrate again.") from exc
    if envelope.get("checksum") != checksum:
        raise CalibrationInvalid("The calibration changed since it was frozen: calibrate again or restore the file.")
    return content


def _check_size(text: str) -> None:
    size = len(str(text).encode("utf-8", "surrogatepass"))  # SQLite may return bytes, which cannot be encoded
    if size > MOST_BYTES:
        raise CalibrationInvalid(f"The calibration has {size} bytes, more than {MOST_BYTES:,}.")


def _checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of *content* as canonical JSON, in hexadecimal."""
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
