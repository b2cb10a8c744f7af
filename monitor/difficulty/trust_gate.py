"""
Measures trust in a calibration on held-out labels: from its history, a rollout's traffic, or live versions.

On live labels it also measures drift.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, expit

from monitor.difficulty.calibration import Calibration, Estimate, FrozenDifficulty
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust import Drift, LiveTrust, ReliabilityPoint, Trust
from monitor.trace.grouping import grouped

MIN_LABELS = 300
"""Labels needed to test the residual for drift: ADWIN needs about so many to detect a change of 0.2."""

MIN_ANCHORS = 30
"""Anchors needed to test them for drift."""

MIN_ANCHOR_LABELS = 3
"""Live labels that make a well-known item an anchor: one or two are hardly ever significant."""

MIN_ANCHOR_VERSIONS = 3
"""History versions that must have answered an item before it can be an anchor."""

MAX_ANCHORS_MOVED = 0.05
"""
Share of moved anchors above which a calibration drifts.

On real versions without drift it was at most 0.016; with the outcomes of a fifth of the requests inverted it was 0.05
to 0.12 at six labels each, and 0.01 to 0.07 at three.
"""

_MIN_EITHER_WAY = 2  # an AUC with a variance needs two failures and two successes
_ADWIN_DELTA = 0.002
_ANCHOR_LEVEL = 0.01
_FALSE_ALARM = 0.002
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
_NODE_WEIGHTS = _NODE_WEIGHTS / math.sqrt(2 * math.pi)

_Array = NDArray[np.float64]
_Z_LOWER = 1.2816
_GROUPS = 10


class Prediction(NamedTuple):
    """The predicted difficulty of one request, and its label, which the prediction has not used."""

    model_version: str
    logit: float
    variance: float
    is_known: bool
    failed: bool


def prediction(label: LabelledRequest, difficulty: FrozenDifficulty) -> Prediction:
    """The prediction for *label* by a *difficulty* that has not learnt it."""
    return Prediction(label.model_version, *difficulty.estimate(label.features)[:3], label.failed)


def assess(predictions: Sequence[Prediction], *, versions: int, settings: DifficultySettings) -> Trust:
    """
    Trust in a calibration, from its predictions of held-out labels.

    Args:
        predictions: Predictions for labels of one or a few versions.
        versions: History versions learnt from (K).
        settings: The gates.
    """
    parts = list(by_version(predictions).values())
    columns = np.concatenate(parts) if parts else np.empty((0, 4))
    auc, auc_lower = _mean_auc(parts, count_spread=versions < settings.min_versions_hard_rate)
    reliability = _reliability(parts)
    error = _calibration_error(reliability)
    known_share = float(columns[:, 2].mean()) if len(columns) else None
    reasons = [
        *_version_reasons(settings.min_versions, versions),
        *_auc_reasons(auc, auc_lower, len(columns), settings),
    ]
    if error is not None and error > settings.max_calibration_error:
        reasons.append(
            f"Predicted failure rates are off by {error:.3f} on average, over {settings.max_calibration_error:.2f}: "
            "add reference versions that are more like those in use."
        )
    return Trust(
        is_trusted=not reasons,
        reasons=tuple(reasons),
        auc=auc,
        auc_lower=auc_lower,
        calibration_error=error,
        versions=versions,
        known_share=known_share,
        hard_rate_reasons=tuple(_hard_rate_reasons(versions, known_share, len(columns), settings)),
        reliability=reliability,
    )


def assess_traffic(
    calibration: Calibration, labels: Iterable[LabelledRequest], *, settings: DifficultySettings
) -> Trust:
    """
    Trust in *calibration* on live traffic, which may differ from its history (such as probes).

    Args:
        calibration: The calibration to test.
        labels: Labels of one or a few versions that it has not learnt; the baseline's are the most relevant.
        settings: The gates.
    """
    predictions = [prediction(label, calibration.difficulty) for label in labels]
    return assess(predictions, versions=calibration.trust.versions, settings=settings)


def on_traffic(trust: Trust, *, known: int, requests: int, settings: DifficultySettings) -> Trust:
    """
    Trust for one rollout, which also needs enough known requests in its traffic.

    Args:
        trust: Trust as measured on the history.
        known: Live requests that the calibration knows.
        requests: All live requests.
        settings: The gates.
    """
    if not requests:
        return trust
    share = known / requests
    reasons = list(trust.reasons)
    if share < settings.min_known_share_tiers:
        probes = max(1, round((settings.min_known_share_tiers - share) * requests))
        reasons.append(f"Only {100 * share:.0f} % of the live requests are known: replay {probes} more as probes.")
    return replace(
        trust,
        is_trusted=not reasons,
        reasons=tuple(reasons),
        known_share=share,
        hard_rate_reasons=tuple(_hard_rate_reasons(trust.versions, share, requests, settings)),
    )


def by_version(predictions: Iterable[Prediction]) -> dict[str, _Array]:
    """By version, one row per label: difficulty in logits, its variance, is_known, failed."""
    parts = grouped(predictions, lambda each: each.model_version)
    return {version: np.array([each[1:] for each in part], dtype=float) for version, part in parts.items()}


def _version_reasons(wanted: int, versions: int, what_for: str = "") -> list[str]:
    missing = wanted - versions
    return [f"{missing} more reference version{'s' * (missing > 1)} needed{what_for}."] if missing > 0 else []


def _auc_reasons(auc: float | None, lower: float | None, labels: int, settings: DifficultySettings) -> list[str]:
    if auc is None or lower is None:
        return ["No version has both failures and successes among held-out labels: add labels."]
    if auc < settings.min_auc:
        text = f"Difficulty separates failures from successes with an AUC of {auc:.2f} ({settings.min_auc:.2f} needed)"
        return [f"{text}: replay more of the traffic as probes on past or other models."]
    if lower < settings.min_auc_lower:
        wanted = labels * ((auc - lower) / (auc - settings.min_auc_lower)) ** 2
        bound = f"The AUC of {auc:.2f} may be as low as {lower:.2f} ({settings.min_auc_lower:.2f} needed)"
        return [f"{bound}: {max(1, round(wanted - labels))} more labels."]
    return []


def _hard_rate_reasons(
    versions: int, known_share: float | None, requests: int, settings: DifficultySettings
) -> list[str]:
    reasons = _version_reasons(settings.min_versions_hard_rate, versions, " for the hard tier's failure rate")
    if known_share is not None and known_share < settings.min_known_share:
        probes = round((settings.min_known_share - known_share) * requests)
        reasons.append(f"{max(1, probes)} more probes needed: {100 * known_share:.0f} % of the requests are known.")
    return reasons


def _mean_auc(parts: Sequence[_Array], *, count_spread: bool) -> tuple[float | None, float | None]:
    """
    Mean AUC over versions and its lower 90 % bound.

    Args:
        parts: Predictions by version.
        count_spread: Whether the bound also covers new versions. A difficulty learnt from few versions fits their
            quirks, which a new version may not share.
    """
    measured = [_auc(part[:, 0], part[:, 3] == 1) for part in parts]
    known = [pair for pair in measured if pair is not None]
    if not known:
        return None, None
    areas, variances = np.array(known).T
    variance = float(variances.mean())
    if count_spread and len(areas) > 1:
        variance = max(variance, float(areas.var(ddof=1)))
    return float(areas.mean()), float(areas.mean() - _Z_LOWER * math.sqrt(variance / len(areas)))


def _auc(score: _Array, failed: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Area under the ROC curve and its variance (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837)."""
    positives, negatives = score[failed], score[~failed]
    if len(positives) < 2 or len(negatives) < 2:  # noqa: PLR2004  (a variance needs two)
        return None
    rank = _ranks(score)
    above = (rank[failed] - _ranks(positives)) / len(negatives)
    below = 1.0 - (rank[~failed] - _ranks(negatives)) / len(positives)
    variance = above.var(ddof=1) / len(positives) + below.var(ddof=1) / len(negatives)
    return float(above.mean()), float(variance)


def _ranks(values: _Array) -> _Array:
    """Ranks from 1, with mean ranks for ties; `scipy.stats` would take a second to import."""
    _, places, times = np.unique(values, return_inverse=True, return_counts=True)
    ranks: _Array = times.cumsum() - (times - 1) / 2
    return ranks[places]


def _reliability(parts: Sequence[_Array]) -> tuple[ReliabilityPoint, ...]:
    """Predicted and observed failure rates in ten groups of equal size, with each version's own ability."""
    usable = [part for part in parts if 0 < part[:, 3].mean() < 1]
    if not usable:
        return ()
    predicted = np.concatenate([expit((part[:, 0] + own_ability(part)) / _scale(part)) for part in usable])
    failed = np.concatenate([part[:, 3] for part in usable])
    groups = np.array_split(np.argsort(predicted, kind="stable"), _GROUPS)
    rates = ((predicted[group].mean(), failed[group].mean(), len(group)) for group in groups if len(group))
    return tuple(ReliabilityPoint(float(expected), float(observed), labels) for expected, observed, labels in rates)


def _calibration_error(reliability: Sequence[ReliabilityPoint]) -> float | None:
    """Mean absolute difference of observed and predicted failure rates, weighted by labels."""
    if not reliability:
        return None
    gaps = sum(abs(point.predicted - point.observed) * point.labels for point in reliability)
    return gaps / sum(point.labels for point in reliability)


def own_ability(part: _Array) -> float:
    """
    Logits to add to every difficulty so that the predicted failure rate of one version equals the observed one.

    Args:
        part: Predictions of the version, as in `by_version`.
    """
    scale = _scale(part)
    low, high = -30.0, 30.0
    for _ in range(60):
        ability = (low + high) / 2
        predicted = expit((part[:, 0] + ability) / scale).mean()
        low, high = (ability, high) if predicted < part[:, 3].mean() else (low, ability)
    return (low + high) / 2


def _scale(part: _Array) -> _Array:
    return np.sqrt(1 + np.pi / 8 * part[:, 1])


def assess_live(
    calibration: Calibration, labels: Sequence[LabelledRequest], *, settings: DifficultySettings
) -> LiveTrust:
    """
    Trust in *calibration* on live labels, and its drift.

    Args:
        calibration: The calibration in force.
        labels: Labels of versions that it did not learn, in any order.
        settings: The gates, and the labels that a version needs to count (`min_reference_labels`).
    """
    parts = grouped(labels, lambda label: label.model_version)
    usable = [part for part in parts.values() if _is_usable(part, settings.min_reference_labels)]
    pooled = [label for part in usable for label in part]
    return LiveTrust(
        calibration.calibration_id,
        assess_traffic(calibration, pooled, settings=settings) if pooled else None,
        len(usable),
        find_drift(calibration, labels),
    )


def _is_usable(labels: Sequence[LabelledRequest], min_labels: int) -> bool:
    failures = sum(label.failed for label in labels)
    return len(labels) >= min_labels and min(failures, len(labels) - failures) >= _MIN_EITHER_WAY


class _Answer(NamedTuple):
    """A live label and the calibration's estimate for its request."""

    label: LabelledRequest
    estimate: Estimate


def find_drift(calibration: Calibration, labels: Iterable[LabelledRequest]) -> Drift:
    """
    Drift of *calibration* on *labels* that it did not learn.

    It tests the residuals over time and the anchors. With its own ability, each version's residuals sum to 0, so drift
    is a change within a version: of the traffic, of how outcomes are judged, or of the model behind the name.

    Args:
        calibration: The calibration to test.
        labels: Labels of one or more versions, in any order.

    Source:
        ADWIN by Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing, SDM.
    """
    in_order = sorted(
        labels, key=lambda each: (each.started_at, each.model_version, each.features.item or "", each.failed)
    )
    answers = [_Answer(label, calibration.difficulty.estimate(label.features)) for label in in_order]
    abilities = _abilities(answers)
    usable = [each for each in answers if each.label.model_version in abilities]
    changes, mean = _residual_changes(usable, abilities)
    anchors, moved = _moved_anchors(usable, abilities)
    ratio = moved / anchors if anchors >= MIN_ANCHORS else None
    findings = []
    if changes:
        findings.append(f"predicted failure rates went off by {mean or 0.0:+.2f}")
    # Without drift, the number of moved anchors is binomial at the level of the single test.
    is_significant = float(bdtrc(moved - 1, anchors, _ANCHOR_LEVEL)) < _FALSE_ALARM
    if ratio is not None and ratio > MAX_ANCHORS_MOVED and is_significant:
        findings.append(f"{moved} of {anchors} well-known requests fail more or less often than it says")
    if findings:
        return Drift(True, f"The calibration drifts: {', and '.join(findings)}.", mean, anchors, ratio)
    if mean is None and ratio is None:
        return Drift(None, f"Drift is not known: {len(usable)} live labels, {MIN_LABELS} needed.", None, anchors, None)
    return Drift(False, "Live labels agree with the calibration.", mean, anchors, ratio)


def _abilities(answers: Sequence[_Answer]) -> dict[str, float]:
    """Ability of each version that has both failures and successes."""
    parts = by_version(Prediction(each.label.model_version, *each.estimate[:3], each.label.failed) for each in answers)
    return {version: own_ability(part) for version, part in parts.items() if 0 < part[:, 3].mean() < 1}


def _residual_changes(answers: Sequence[_Answer], abilities: dict[str, float]) -> tuple[int, float | None]:
    """Number of changes of the mean residual, and the mean since the last one; None with too few labels."""
    if len(answers) < MIN_LABELS:
        return 0, None
    logits = np.array([each.estimate.logit + abilities[each.label.model_version] for each in answers])
    variances = np.array([each.estimate.variance for each in answers])
    residuals = np.array([each.label.failed for each in answers]) - expit(logits / np.sqrt(1 + np.pi / 8 * variances))
    from river.drift import ADWIN  # noqa: PLC0415  (takes longer than all other imports of a start)

    window = ADWIN(delta=_ADWIN_DELTA)  # type: ignore[no-untyped-call]  # river has no types
    changes = 0
    for residual in residuals:
        # ADWIN's bound assumes values from 0 to 1.
        window.update((1.0 + float(residual)) / 2.0)  # type: ignore[no-untyped-call]
        changes += window.drift_detected
    return changes, 2.0 * float(window.estimation) - 1.0


def _moved_anchors(answers: Sequence[_Answer], abilities: dict[str, float]) -> tuple[int, int]:
    """Number of anchors, and of those whose live failures differ significantly from the prediction."""
    known = [a for a in answers if a.label.features.item is not None and a.estimate.versions >= MIN_ANCHOR_VERSIONS]
    by_item = grouped(known, lambda answer: answer.label.features.item)
    anchors = [of_item for of_item in by_item.values() if len(of_item) >= MIN_ANCHOR_LABELS]
    return len(anchors), sum(_p_value(anchor, abilities) < _ANCHOR_LEVEL for anchor in anchors)


def _p_value(answers: Sequence[_Answer], abilities: dict[str, float]) -> float:
    """
    Two-sided p-value of one item's failures under the calibration.

    It averages over the posterior of the item's difficulty, because an error of it moves all its labels together. All
    labels get their mean failure probability; versions differ, so this overstates the variance a little.
    """
    difficulties = np.array([each.estimate.logit + math.sqrt(each.estimate.variance) * _NODES for each in answers])
    ability = np.array([abilities[each.label.model_version] for each in answers])
    rates: _Array = expit(difficulties + ability[:, None]).mean(axis=0)
    failures = sum(each.label.failed for each in answers)
    at_most = float(_NODE_WEIGHTS @ bdtr(failures, len(answers), rates))
    at_least = float(_NODE_WEIGHTS @ bdtrc(failures - 1, len(answers), rates))
    return min(1.0, 2.0 * min(at_most, at_least))
