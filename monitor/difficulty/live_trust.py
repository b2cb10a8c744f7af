"""What live labels say of a calibration that has not learnt them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.difficulty.trust import Trust

MIN_LIVE_VERSIONS = 3
"""Live versions that must speak against a calibration together: one alone rejects a good one half of the time."""


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
