"""Whether tiers may be believed, and what is missing where they may not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from monitor.difficulty.tiers import Tier

_Z_90 = 1.6449

MIN_LIVE_VERSIONS = 3
"""Live versions that must speak against a calibration together: one alone rejects a good one half of the time."""


class ReliabilityPoint(NamedTuple):
    """
    Labels that were not learnt and that were predicted about alike.

    Attributes:
        predicted: Mean failure probability predicted beforehand, ratio 0 to 1.
        observed: Failures per label, ratio 0 to 1.
        labels: How many.
    """

    predicted: float
    observed: float
    labels: int


class TierPromise(NamedTuple):
    """
    What a tier promises of the reference version, and what it did.

    Attributes:
        requests: Its labels in the tier, tagged by a calibration that had not learnt them.
        failures: Those that failed.
        least, most: Failure rates between which the tier lies by the cuts, ratios 0 to 1.
    """

    tier: Tier
    requests: int
    failures: int
    least: float
    most: float

    @property
    def is_kept(self) -> bool | None:
        """Whether the rate lies within the promise, as far as 90 % bounds show; None without a request."""
        if not self.requests:
            return None
        lower, upper = wilson(self.failures / self.requests, self.requests)
        return lower <= self.most and upper >= self.least


def wilson(rate: float, requests: float, *, z: float = _Z_90) -> tuple[float, float]:
    """
    Score bounds of a proportion, ratios 0 to 1.

    Args:
        rate: Ratio 0 to 1.
        requests: Independent requests that it rests on, above 0.
        z: Quantile of the standard normal distribution; by default of bounds of 90 %.

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
    Whether tiers may be believed, and why not.

    Attributes:
        is_trusted: Every gate is passed.
        reasons: One sentence per gate that is not passed, saying what is missing; empty when trusted.
        auc: Within-version AUC of the difficulty on labels not learnt, ratio 0 to 1; None where it is not known.
        auc_lower: Lower 90 % bound of *auc*.
        calibration_error: Expected calibration error with a per-version intercept, ratio 0 to 1, or None.
        versions: History versions learnt from (K).
        known_share: Share of the evaluated requests whose item or family was seen in at least two versions, or None.
        hard_rate_reasons: One sentence per gate that only the hard tier's failure rate has to pass and does not.
        reliability: What *calibration_error* sums up, from the least likely failures to the most.
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
        """The hard tier's failure rate may be believed too."""
        return self.is_trusted and not self.hard_rate_reasons

    @property
    def figures(self) -> Sequence[str]:
        """AUC and calibration error with their names, for a person to read; those that are not known are left out."""
        auc = [] if self.auc is None else [f"AUC {self.auc:.2f}"]
        error = [] if self.calibration_error is None else [f"calibration error {self.calibration_error:.3f}"]
        return auc + error


@dataclass(frozen=True, slots=True)
class Drift:
    """
    What live labels say of a frozen calibration.

    Attributes:
        is_drifting: Residual or anchors moved; None where there are too few labels to tell.
        sentence: What was found.
        residual_mean: Failures minus predicted failures per label since the residual last changed, each version at its
            own ability, -1 to 1; None with fewer than `MIN_LABELS` labels.
        anchors: Items that the calibration knows well and that have live labels enough.
        anchors_moved_ratio: Share of the anchors that fail more or less often than the calibration says, 0 to 1; None
            with fewer than `MIN_ANCHORS`.
    """

    is_drifting: bool | None
    sentence: str
    residual_mean: float | None
    anchors: int
    anchors_moved_ratio: float | None


@dataclass(frozen=True, slots=True)
class LiveTrust:
    """
    What live labels say of the calibration in force; verdicts do not depend on it.

    Attributes:
        calibration_id: The calibration that was looked at.
        trust: What its gates would say of these labels; None where no version has labels enough.
        versions: Live versions with labels enough, which *trust* rests on.
        drift: Whether labels and calibration come apart.
    """

    calibration_id: str
    trust: Trust | None
    versions: int
    drift: Drift

    @property
    def is_trusted(self) -> bool | None:
        """Whether live labels leave the calibration standing; None where there are too few of them to say."""
        if self.reasons:
            return False
        return None if self.drift.is_drifting is None and self.versions < MIN_LIVE_VERSIONS else True

    @property
    def reasons(self) -> Sequence[str]:
        """Why the tiers are not to be believed, one sentence each; empty where live labels do not speak against it."""
        against = [self.drift.sentence] if self.drift.is_drifting else []
        if self.trust is not None and self.versions >= MIN_LIVE_VERSIONS:
            against += [f"On labels of {self.versions} live versions: {reason}" for reason in self.trust.reasons]
        return tuple(against)
