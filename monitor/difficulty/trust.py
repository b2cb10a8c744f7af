"""Whether tiers can be trusted, and what is missing if not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from monitor.difficulty.tiers import Tier

_Z_90 = 1.6449

MIN_LIVE_VERSIONS = 3
"""Live versions needed to reject a calibration: a single one rejects a good calibration half of the time."""


class ReliabilityPoint(NamedTuple):
    """
    Held-out labels with about the same predicted failure probability.

    Attributes:
        predicted: Mean predicted failure probability, ratio 0 to 1.
        observed: Failures per label, ratio 0 to 1.
        labels: Number of labels.
    """

    predicted: float
    observed: float
    labels: int


class TierPromise(NamedTuple):
    """
    The failure rate of the reference version that a tier stands for, and the observed one.

    Attributes:
        requests: Labels of the reference version in the tier, tagged by a calibration that has not learnt them.
        failures: Failures among them.
        least, most: Range of failure rates of the tier by its cuts, ratios 0 to 1.
    """

    tier: Tier
    requests: int
    failures: int
    least: float
    most: float

    @property
    def is_kept(self) -> bool | None:
        """Whether the 90 % bounds of the observed rate overlap the tier's range; None without a request."""
        if not self.requests:
            return None
        lower, upper = wilson(self.failures / self.requests, self.requests)
        return lower <= self.most and upper >= self.least


def wilson(rate: float, requests: float, *, z: float = _Z_90) -> tuple[float, float]:
    """
    Score bounds of a proportion, ratios 0 to 1.

    Args:
        rate: Ratio 0 to 1.
        requests: Independent requests behind it, above 0.
        z: Quantile of the standard normal distribution; the default gives 90 % bounds.

    Source:
        Wilson (1927), Journal of the American Statistical Association 22:209.

    >>> [round(bound, 3) for bound in wilson(0.03, 100)]
    [0.012, 0.073]
    """
    middle = (rate + z * z / (2 * requests)) / (1 + z * z / requests)
    half = z / (1 + z * z / requests) * math.sqrt(rate * (1 - rate) / requests + z * z / (4 * requests * requests))
    return 0.0 if rate == 0.0 else max(middle - half, 0.0), 1.0 if rate == 1.0 else min(middle + half, 1.0)


@dataclass(frozen=True, slots=True)
class Trust:
    """
    Whether tiers can be trusted, and why not.

    Attributes:
        is_trusted: Whether every gate is passed.
        reasons: One sentence per failed gate with what is missing; empty if trusted.
        auc: Within-version AUC of the difficulty on held-out labels, ratio 0 to 1; None if unknown.
        auc_lower: Lower 90 % bound of *auc*.
        calibration_error: Expected calibration error with a per-version intercept, ratio 0 to 1, or None.
        versions: History versions learnt from (K).
        known_share: Share of the evaluated requests whose item or family was seen in at least two versions, or None.
        hard_rate_reasons: One sentence per failed gate that applies only to the hard tier's failure rate.
        reliability: Points that *calibration_error* averages, by rising predicted failure probability.
    """

    is_trusted: bool
    reasons: tuple[str, ...]
    auc: float | None
    auc_lower: float | None
    calibration_error: float | None
    versions: int
    known_share: float | None
    hard_rate_reasons: tuple[str, ...] = ()
    reliability: tuple[ReliabilityPoint, ...] = ()

    @property
    def is_trusted_for_hard_rate(self) -> bool:
        """Whether the hard tier's failure rate can be trusted too."""
        return self.is_trusted and not self.hard_rate_reasons

    @property
    def figures(self) -> Sequence[str]:
        """AUC and calibration error with their names, for people; without unknown ones."""
        auc = [] if self.auc is None else [f"AUC {self.auc:.2f}"]
        error = [] if self.calibration_error is None else [f"calibration error {self.calibration_error:.3f}"]
        return auc + error


@dataclass(frozen=True, slots=True)
class Drift:
    """
    Drift of live labels from a frozen calibration.

    Attributes:
        is_drifting: Whether residual or anchors moved; None with too few labels.
        sentence: The result in words.
        residual_mean: Failures minus predicted failures per label since the residual last changed, with each version's
            own ability, -1 to 1; None with fewer than `MIN_LABELS` labels.
        anchors: Well-known items with enough live labels.
        anchors_moved_ratio: Share of the anchors that fail significantly more or less often than predicted, 0 to 1;
            None with fewer than `MIN_ANCHORS`.
    """

    is_drifting: bool | None
    sentence: str
    residual_mean: float | None
    anchors: int
    anchors_moved_ratio: float | None


@dataclass(frozen=True, slots=True)
class LiveTrust:
    """
    Trust in the calibration in force, measured on live labels; verdicts do not use it.

    Attributes:
        calibration_id: The calibration.
        trust: Trust measured on these labels; None if no version has enough labels.
        versions: Live versions with enough labels, which *trust* uses.
        drift: Drift of the live labels from the calibration.
    """

    calibration_id: str
    trust: Trust | None
    versions: int
    drift: Drift

    @property
    def is_trusted(self) -> bool | None:
        """Whether live labels support the calibration; None with too few of them."""
        if self.reasons:
            return False
        return None if self.drift.is_drifting is None and self.versions < MIN_LIVE_VERSIONS else True

    @property
    def reasons(self) -> Sequence[str]:
        """Why the tiers cannot be trusted, one sentence each; empty if live labels support it."""
        against = [self.drift.sentence] if self.drift.is_drifting else []
        if self.trust is not None and self.versions >= MIN_LIVE_VERSIONS:
            against += [f"On labels of {self.versions} live versions: {reason}" for reason in self.trust.reasons]
        return tuple(against)
