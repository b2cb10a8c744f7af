"""Trust in a calibration on the labels of versions that are live, which it has not learnt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from monitor.difficulty.calibrating import assess_traffic
from monitor.difficulty.calibration import DEFAULT_SETTINGS, Calibration
from monitor.difficulty.drift import find_drift
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust import LiveTrust

_MIN_EITHER_WAY = 2  # an AUC with a variance needs two failures and two successes


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
