"""Trust in a calibration on the labels of versions that are live, which it has not learnt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from monitor.difficulty.calibration import DEFAULT_SETTINGS, Calibration, assess_traffic
from monitor.difficulty.drift import Drift, find_drift
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust import Trust

MIN_LIVE_VERSIONS = 3
"""Live versions that must speak against a calibration together: one alone rejects a good one half of the time."""

_MIN_EITHER_WAY = 2  # an AUC with a variance needs two failures and two successes


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


def assess_live(
    calibration: Calibration, labels: Sequence[LabelledRequest], *, settings: DifficultySettings = DEFAULT_SETTINGS
) -> LiveTrust:
    """
    Trust in *calibration* on live labels, and its drift.

    Args:
        calibration: The one in force.
        labels: Outcomes of versions that it did not learn, in any order.
        settings: The gates, and the labels that a version needs to have a say (`min_reference_labels`).
    """
    by_version: dict[str, list[LabelledRequest]] = defaultdict(list)
    for label in labels:
        by_version[label.model_version].append(label)
    telling = [part for part in by_version.values() if _is_telling(part, settings.min_reference_labels)]
    pooled = [label for part in telling for label in part]
    return LiveTrust(
        calibration.calibration_id,
        assess_traffic(calibration, pooled, settings=settings) if pooled else None,
        len(telling),
        find_drift(calibration, labels),
    )


def _is_telling(labels: Sequence[LabelledRequest], min_labels: int) -> bool:
    failures = sum(label.failed for label in labels)
    return len(labels) >= min_labels and min(failures, len(labels) - failures) >= _MIN_EITHER_WAY
