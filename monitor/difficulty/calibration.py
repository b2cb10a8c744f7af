"""A frozen calibration: everything that tags a request, and whether it may be trusted."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from monitor.difficulty import stored
from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.frozen import Estimate, FrozenDifficulty
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS, Tag, Tier, TierCuts
from monitor.difficulty.trust import TierPromise, Trust
from monitor.errors import CalibrationInvalid

DEFAULT_SETTINGS = DifficultySettings()

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
        return replace(self, calibration_id=stored.content_id(self._content()))

    def to_json(self, *, max_bytes: int = DEFAULT_SETTINGS.max_calibration_bytes) -> str:
        """
        Versioned JSON with a checksum.

        Raises:
            CalibrationInvalid: larger than *max_bytes*.
        """
        return stored.seal(self._content(), max_bytes=max_bytes)

    @classmethod
    def from_json(cls, text: str, *, max_bytes: int = DEFAULT_SETTINGS.max_calibration_bytes) -> Calibration:
        """
        The calibration that `to_json` wrote.

        Raises:
            CalibrationInvalid: corrupted, oversized or of another version.
        """
        content = stored.unseal(text, max_bytes=max_bytes)
        try:
            return cls(calibration_id=stored.content_id(content), **stored.read_content(content))
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise CalibrationInvalid(f"The calibration cannot be read ({exc!r}): calibrate again.") from exc

    def _content(self) -> dict[str, Any]:
        plain = {"cuts": asdict(self.cuts), "trust": asdict(self.trust), "difficulty": self.difficulty.to_content()}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "calibration_id"} | plain
