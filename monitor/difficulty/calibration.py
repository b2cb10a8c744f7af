"""A frozen calibration: everything that tags a request, and whether it may be trusted."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from monitor.difficulty import stored
from monitor.difficulty.content import check_content
from monitor.difficulty.cuts import TierCuts, bin_edges, soft_tiers
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.frozen import Estimate, FrozenDifficulty
from monitor.difficulty.learning import Learner, measure_scales
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS, Tag, Tier
from monitor.difficulty.trust import Prediction, ReliabilityPoint, Trust, assess, response_slope
from monitor.errors import CalibrationInvalid

__all__ = ["Calibration", "TierCuts", "Trust", "assess_traffic", "calibrate", "soft_tiers"]

DEFAULT_SETTINGS = DifficultySettings()


@dataclass(frozen=True, slots=True)
class Calibration:
    """
    A frozen fit; never changes once it has an id.

    Attributes:
        calibration_id: Hash of everything below.
        frozen_at: Unix seconds.
        reference_version: The established version whose predicted failures place the cuts.
        bin_edges: Difficulty logits between bins, ascending; every cut is one of them.
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
            check_content(content)
            return cls._from_content(content)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise CalibrationInvalid(f"The calibration cannot be read ({exc!r}): calibrate again.") from exc

    def _content(self) -> dict[str, Any]:
        return {
            "frozen_at": self.frozen_at,
            "cuts": asdict(self.cuts),
            "trust": asdict(self.trust),
            "reference_version": self.reference_version,
            "bin_edges": self.bin_edges,
            "difficulty": self.difficulty.to_content(),
            "min_tag_probability": self.min_tag_probability,
            "frontier_min_versions": self.frontier_min_versions,
        }

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Calibration:
        trust = content["trust"]
        return cls(
            calibration_id=stored.content_id(content),
            frozen_at=content["frozen_at"],
            cuts=TierCuts(**content["cuts"]),
            trust=Trust(
                **trust
                | {
                    "reasons": tuple(trust["reasons"]),
                    "hard_rate_reasons": tuple(trust["hard_rate_reasons"]),
                    "reliability": tuple(ReliabilityPoint(*point) for point in trust["reliability"]),
                }
            ),
            reference_version=content["reference_version"],
            bin_edges=tuple(content["bin_edges"]),
            difficulty=FrozenDifficulty.from_content(content["difficulty"]),
            min_tag_probability=content["min_tag_probability"],
            frontier_min_versions=content["frontier_min_versions"],
        )


_SMALLEST_DEVIATION = 1e-9


def calibrate(
    history: Iterable[LabelledRequest], *, frozen_at: float, settings: DifficultySettings = DEFAULT_SETTINGS
) -> Calibration | None:
    """
    Learn difficulty from *history* in one pass, then freeze; None where the history is empty.

    Args:
        history: Versions in order of first appearance, each in trace order.
        frozen_at: Unix seconds.
        settings: Limits, cut points and gates.
    """
    labels = list(history)
    if not labels:
        return None
    learner = Learner(settings, measure_scales(labels))
    predictions: dict[str, list[Prediction]] = defaultdict(list)
    for request in labels:
        predictions[request.model_version].append(learner.learn(request))
    latest = list(predictions)[-settings.evaluated_versions :]
    told = [prediction for version in latest for prediction in predictions[version]]
    slope = response_slope(told)
    trust = assess([prediction.stretched(slope) for prediction in told], versions=len(predictions), settings=settings)
    reference_version = _reference_version(learner, settings)
    cuts = _cuts(slope * learner.ability(reference_version), settings)
    unnamed = Calibration(
        calibration_id="",
        frozen_at=frozen_at,
        cuts=cuts,
        trust=trust,
        reference_version=reference_version,
        bin_edges=bin_edges(cuts),
        difficulty=learner.freeze(slope=slope),
        min_tag_probability=settings.min_tag_probability,
        frontier_min_versions=settings.frontier_min_versions,
    )
    return replace(unnamed, calibration_id=stored.content_id(unnamed._content()))  # noqa: SLF001  (its own module)


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
        logit, variance, is_known, _ = calibration.difficulty.estimate(label.features)
        told.append(Prediction(label.model_version, logit, variance, is_known, label.failed))
    return assess(told, versions=calibration.trust.versions, settings=settings)


def _reference_version(learner: Learner, settings: DifficultySettings) -> str:
    """The ablest version with labels enough; the one with most labels where none has."""
    labels = learner.labels_by_version
    established = [version for version in labels if labels[version] >= settings.min_reference_labels]
    if established:
        return min(established, key=learner.ability)
    return max(labels, key=lambda version: labels[version])


def _cuts(ability: float, settings: DifficultySettings) -> TierCuts:
    """Cuts on the difficulty logit at which a version of *ability* fails as often as the settings say."""
    rates = (settings.medium_failure_rate, settings.hard_failure_rate, settings.frontier_failure_rate)
    return TierCuts(*(math.log(rate / (1.0 - rate)) - ability for rate in rates))
