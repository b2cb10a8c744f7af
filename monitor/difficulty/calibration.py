"""
A frozen calibration: everything that tags a request, and whether it may be trusted.

It is stored as versioned JSON around a checksum, and refused when it is not what was written.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, NotRequired

from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.frozen import Estimate, FrozenDifficulty
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS, Tag, Tier, TierCuts
from monitor.difficulty.trust import TierPromise, Trust
from monitor.errors import CalibrationInvalid

DEFAULT_SETTINGS = DifficultySettings()

SCHEMA = "cliffwatch.calibration/v1"
_ID_DIGITS = 16
_MOST_BYTES = 64 * 1024**2  # of JSON, stored
_Deviation = Annotated[float, Ge(0)]
_Count = Annotated[int, Ge(0)]
_SMALLEST_DEVIATION = 1e-9


@dataclass(frozen=True, slots=True)
class Calibration:
    """
    A frozen fit; never changes once it has an id.

    Attributes:
        calibration_id: Hash of everything below.
        frozen_at: Unix seconds.
        reference_version: The established version whose failures place the cuts.
        bin_edges: Difficulty logits between bins, ascending; every cut is one of them.
        promises: How often the reference version failed in each tier, on labels that the tags had not learnt.
    """

    calibration_id: str
    frozen_at: float
    cuts: TierCuts
    trust: Trust
    reference_version: str
    bin_edges: tuple[float, ...]
    difficulty: FrozenDifficulty
    min_tag_probability: float
    frontier_min_versions: int
    promises: tuple[TierPromise, ...] = ()

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
        """Tier by *estimate* alone, whether or not tiers may be trusted; `untiered` where it is too wide."""
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
        """The same fit with the id that its content gives it."""
        return replace(self, calibration_id=content_id(self._content()))

    def to_json(self, *, max_bytes: int = _MOST_BYTES) -> str:
        """
        Versioned JSON with a checksum.

        Raises:
            CalibrationInvalid: larger than *max_bytes*.
        """
        return seal(self._content(), max_bytes=max_bytes)

    @classmethod
    def from_json(cls, text: str, *, max_bytes: int = _MOST_BYTES) -> Calibration:
        """
        The calibration that `to_json` wrote.

        Raises:
            CalibrationInvalid: corrupted, oversized or of another version.
        """
        content = unseal(text, max_bytes=max_bytes)
        try:
            return cls(calibration_id=content_id(content), **read_content(content))
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise CalibrationInvalid(f"The calibration cannot be read ({exc!r}): calibrate again.") from exc

    def _content(self) -> dict[str, Any]:
        plain = {"cuts": asdict(self.cuts), "trust": asdict(self.trust), "difficulty": self.difficulty.to_content()}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "calibration_id"} | plain


class _Weights(TypedDict):
    mean: list[float]
    variance: list[_Deviation]
    versions: list[_Count]
    failed_by_all: list[bool]


class _Difficulty(TypedDict):
    bias: float
    names: list[str]
    weights: _Weights
    unmet: dict[str, tuple[float, _Deviation]]
    items: dict[str, str]
    scales: dict[str, tuple[float, _Deviation]]
    tiered_capabilities: list[str]


class _Content(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)  # type: ignore[misc]

    frozen_at: float
    cuts: TierCuts
    trust: Trust
    reference_version: str
    bin_edges: tuple[float, ...]
    difficulty: _Difficulty
    min_tag_probability: float
    frontier_min_versions: _Count
    promises: NotRequired[tuple[TierPromise, ...]]  # missing before version 1.1


_CONTENT = TypeAdapter(_Content)
_GROUPS = {"capability", "tools", "prompt", "item", "attribute", "number"}


def read_content(content: dict[str, Any]) -> dict[str, Any]:
    """
    The fields that *content*, plain JSON values, gives a calibration; tagging by them cannot fail.

    Raises:
        ValueError: a part is missing, of another type or not finite, or what belongs together differs in length.
    """
    read: dict[str, Any] = {**_CONTENT.validate_json(json.dumps(content))}  # lists stand for tuples in JSON alone
    difficulty = read["difficulty"]
    lengths = {len(difficulty["names"]), *(len(column) for column in difficulty["weights"].values())}
    if len(lengths) != 1:
        raise ValueError("names and weights differ in number")
    if missing := _GROUPS - difficulty["unmet"].keys():
        raise ValueError(f"no prior for {', '.join(sorted(missing))}")
    if content["bin_edges"] != sorted(content["bin_edges"]):
        raise ValueError("edges of bins are not ascending")
    return read | {"difficulty": FrozenDifficulty.from_content(difficulty)}


def content_checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of *content* as canonical JSON, in hexadecimal."""
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def content_id(content: Mapping[str, Any]) -> str:
    """Short name of *content*: the first 16 digits of its checksum."""
    return content_checksum(content)[:_ID_DIGITS]


def seal(content: Mapping[str, Any], *, max_bytes: int) -> str:
    """
    *content* as JSON with its schema version and checksum.

    Raises:
        CalibrationInvalid: the text would be larger than *max_bytes*.
    """
    body = _canonical(content)
    checksum = hashlib.sha256(body.encode()).hexdigest()
    text = f'{{"schema":"{SCHEMA}","checksum":"{checksum}","content":{body}}}'
    _check_size(text, max_bytes)
    return text


def unseal(text: str, *, max_bytes: int) -> dict[str, Any]:
    """
    The content that `seal` wrote.

    Raises:
        CalibrationInvalid: *text* is larger than *max_bytes*, no such JSON, of another version or changed since.
    """
    _check_size(text, max_bytes)
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
        checksum = content_checksum(content)
    except RecursionError as exc:
        raise CalibrationInvalid("The calibration is nested too deeply: calibrate again.") from exc
    except ValueError as exc:  # NaN and infinities are JSON to Python alone
        raise CalibrationInvalid("The calibration holds a number that is not finite: calibrate again.") from exc
    if envelope.get("checksum") != checksum:
        raise CalibrationInvalid("The calibration changed since it was frozen: calibrate again or restore the file.")
    return content


def _check_size(text: str, max_bytes: int) -> None:
    size = len(str(text).encode("utf-8", "surrogatepass"))  # SQLite may hold bytes, which are no JSON of ours
    if size > max_bytes:
        raise CalibrationInvalid(f"The calibration has {size} bytes, more than {max_bytes:,}.")


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, allow_nan=False, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
