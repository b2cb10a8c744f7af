"""Trust in a calibration on the labels of live versions, which it has not learnt, and whether it drifts from them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, expit

from monitor.difficulty.calibrating import assess_traffic
from monitor.difficulty.calibration import DEFAULT_SETTINGS, Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.frozen import Estimate
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust import Drift, LiveTrust
from monitor.difficulty.trust_gate import Prediction, by_version, own_ability

MIN_LABELS = 300
"""Labels below which nothing is said of the residual: ADWIN needs about so many to see a change of 0.2."""

MIN_ANCHORS = 30
"""Anchors below which nothing is said of their moves."""

MIN_ANCHOR_LABELS = 3
"""Live labels before an anchor is looked at: one or two can hardly surprise."""

MIN_ANCHOR_VERSIONS = 3
"""History versions that must have answered an item before the calibration knows it well enough to be held to it."""

MAX_ANCHORS_MOVED = 0.05
"""
Share of moved anchors above which a calibration drifts.

On real versions, where nothing was planted, it was at most 0.016; with the outcomes of a fifth of the requests turned
round it was 0.05 to 0.12 at six labels each, and 0.01 to 0.07 at three.
"""

_MIN_EITHER_WAY = 2  # an AUC with a variance needs two failures and two successes
_ADWIN_DELTA = 0.002
_SURPRISING = 0.01
_FALSE_ALARM = 0.002
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
_NODE_WEIGHTS = _NODE_WEIGHTS / math.sqrt(2 * math.pi)

_Array = NDArray[np.float64]


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


class _Answer(NamedTuple):
    """A live label beside what the calibration says of its difficulty."""

    label: LabelledRequest
    estimate: Estimate


def find_drift(calibration: Calibration, labels: Iterable[LabelledRequest]) -> Drift:
    """
    Drift of *calibration* on *labels* that it did not learn.

    The residual is watched over time and across versions. At its own ability each version's residuals add up to
    nothing, so what is seen is a change within a version: of the traffic, of how outcomes are judged, or of the model
    behind the name.

    Args:
        calibration: What predicts the difficulty.
        labels: Outcomes of one or more versions, in any order.

    Source:
        ADWIN by Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing, SDM.
    """
    in_order = sorted(
        labels, key=lambda each: (each.started_at, each.model_version, each.features.item or "", each.failed)
    )
    answers = [_Answer(label, calibration.difficulty.estimate(label.features)) for label in in_order]
    abilities = _abilities(answers)
    usable = [each for each in answers if each.label.model_version in abilities]
    changes, mean = _watch_residual(usable, abilities)
    anchors, moved = _watch_anchors(usable, abilities)
    ratio = moved / anchors if anchors >= MIN_ANCHORS else None
    findings = []
    if changes:
        findings.append(f"predicted failure rates went off by {mean or 0.0:+.2f}")
    # So many would hardly have moved if each did by chance alone.
    is_no_chance = float(bdtrc(moved - 1, anchors, _SURPRISING)) < _FALSE_ALARM
    if ratio is not None and ratio > MAX_ANCHORS_MOVED and is_no_chance:
        findings.append(f"{moved} of {anchors} well-known requests fail more or less often than it says")
    if findings:
        return Drift(True, f"The calibration drifts: {', and '.join(findings)}.", mean, anchors, ratio)
    if mean is None and ratio is None:
        sentence = f"Drift is not known: {len(usable)} live labels, {MIN_LABELS} needed."
        return Drift(None, sentence, None, anchors, None)
    return Drift(False, "Live labels say what the calibration says.", mean, anchors, ratio)


def _abilities(answers: Sequence[_Answer]) -> dict[str, float]:
    """Ability of each version that has both failures and successes; of the others nothing can be said."""
    parts = by_version(Prediction(each.label.model_version, *each.estimate[:3], each.label.failed) for each in answers)
    return {version: own_ability(part) for version, part in parts.items() if 0 < part[:, 3].mean() < 1}


def _watch_residual(answers: Sequence[_Answer], abilities: dict[str, float]) -> tuple[int, float | None]:
    """How often the residual changed, and its mean since then."""
    if len(answers) < MIN_LABELS:
        return 0, None
    logits = np.array([each.estimate.logit + abilities[each.label.model_version] for each in answers])
    variances = np.array([each.estimate.variance for each in answers])
    residuals = np.array([each.label.failed for each in answers]) - expit(logits / np.sqrt(1 + np.pi / 8 * variances))
    from river.drift import ADWIN  # noqa: PLC0415  (takes longer than all else that a start imports)

    window = ADWIN(delta=_ADWIN_DELTA)  # type: ignore[no-untyped-call]  # river leaves it so
    changes = 0
    for residual in residuals:
        # Its bound is for values from 0 to 1.
        window.update((1.0 + float(residual)) / 2.0)  # type: ignore[no-untyped-call]
        changes += window.drift_detected
    return changes, 2.0 * float(window.estimation) - 1.0


def _watch_anchors(answers: Sequence[_Answer], abilities: dict[str, float]) -> tuple[int, int]:
    """Anchors, and those whose live failures are a surprise."""
    by_item: dict[str, list[_Answer]] = defaultdict(list)
    for each in answers:
        if each.label.features.item is not None and each.estimate.versions >= MIN_ANCHOR_VERSIONS:
            by_item[each.label.features.item].append(each)
    anchors = [own for own in by_item.values() if len(own) >= MIN_ANCHOR_LABELS]
    return len(anchors), sum(_surprise(own, abilities) < _SURPRISING for own in anchors)


def _surprise(answers: Sequence[_Answer], abilities: dict[str, float]) -> float:
    """
    Chance of failures at least as far from what the calibration says of one item, either way.

    Averaged over what its difficulty may be, since one unsure difficulty moves all its labels together. The labels
    count as equally likely to fail, at their mean: versions differ, so that overstates the spread a little.
    """
    difficulties = np.array([each.estimate.logit + math.sqrt(each.estimate.variance) * _NODES for each in answers])
    ability = np.array([abilities[each.label.model_version] for each in answers])
    rates: _Array = expit(difficulties + ability[:, None]).mean(axis=0)
    failures = sum(each.label.failed for each in answers)
    at_most = float(_NODE_WEIGHTS @ bdtr(failures, len(answers), rates))
    at_least = float(_NODE_WEIGHTS @ bdtrc(failures - 1, len(answers), rates))
    return min(1.0, 2.0 * min(at_most, at_least))
