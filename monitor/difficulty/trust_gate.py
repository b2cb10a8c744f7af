"""The trust gate: how well a calibration predicts difficulty on labels that it has not learnt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.trust import ReliabilityPoint, Trust

_Array = NDArray[np.float64]
_Z_LOWER = 1.2816
_GROUPS = 10


class Prediction(NamedTuple):
    """One label beside the difficulty that was predicted before it was learnt."""

    model_version: str
    logit: float
    variance: float
    is_known: bool
    failed: bool


def assess(predictions: Sequence[Prediction], *, versions: int, settings: DifficultySettings) -> Trust:
    """
    Trust in a calibration, from how well it predicts difficulty on labels that it has not learnt.

    Args:
        predictions: Labels of one or a few versions beside the difficulty predicted before.
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
            "add reference versions that are more alike to the ones in use."
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


def on_traffic(trust: Trust, *, known: int, requests: int, settings: DifficultySettings) -> Trust:
    """
    Trust for the requests of one rollout: too few of them may be known, whatever the history knows of its own.

    Args:
        trust: As the history gave it.
        known: Live requests that the calibration knows.
        requests: All live requests.
        settings: The gates.
    """
    if not requests:
        return trust
    share = known / requests
    reasons = list(trust.reasons)
    if share < settings.min_known_share_tiers:
        probes = round((settings.min_known_share_tiers - share) * requests)
        reasons.append(f"Only {share:.0%} of the live requests are known: replay {max(1, probes)} more as probes.")
    hard_rate_reasons = _hard_rate_reasons(trust.versions, share, requests, settings)
    return replace(
        trust,
        is_trusted=not reasons,
        reasons=tuple(reasons),
        known_share=share,
        hard_rate_reasons=tuple(hard_rate_reasons),
    )


def by_version(predictions: Iterable[Prediction]) -> dict[str, _Array]:
    """One row per label of each version: difficulty in logits, its variance, whether it is known, whether it failed."""
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for version, *numbers in predictions:
        rows[version].append(numbers)
    return {version: np.array(part, dtype=float) for version, part in rows.items()}


def _version_reasons(wanted: int, versions: int, what_for: str = "") -> list[str]:
    missing = wanted - versions
    return [f"{missing} more reference version{'s' * (missing > 1)} needed{what_for}."] if missing > 0 else []


def _auc_reasons(auc: float | None, lower: float | None, labels: int, settings: DifficultySettings) -> list[str]:
    if auc is None or lower is None:
        return ["No version has both failures and successes among labels not learnt: add labels."]
    if auc < settings.min_auc:
        found = f"Difficulty tells failures from successes with an AUC of {auc:.2f} ({settings.min_auc:.2f} needed)"
        return [f"{found}: replay more of the traffic as probes on past or other models."]
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
        reasons.append(f"{max(1, probes)} more probes needed: {known_share:.0%} of the requests are known.")
    return reasons


def _mean_auc(parts: Sequence[_Array], *, count_spread: bool) -> tuple[float | None, float | None]:
    """
    Mean AUC over versions and its lower 90 % bound.

    Args:
        parts: Predictions by version.
        count_spread: Whether the bound is for versions yet to come, not for these alone. Difficulty that rests on few
            versions has their quirks, and whether a new one shares them is a matter of luck.
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
    """Ranks from 1, those of equal values shared evenly; `scipy.stats` would take a second to import."""
    _, places, times = np.unique(values, return_inverse=True, return_counts=True)
    shared: _Array = times.cumsum() - (times - 1) / 2
    return shared[places]


def _reliability(parts: Sequence[_Array]) -> tuple[ReliabilityPoint, ...]:
    """Predicted and observed failure rates of ten groups of equal size, each version at its own ability."""
    usable = [part for part in parts if 0 < part[:, 3].mean() < 1]
    if not usable:
        return ()
    predicted = np.concatenate([expit((part[:, 0] + own_ability(part)) / _scale(part)) for part in usable])
    failed = np.concatenate([part[:, 3] for part in usable])
    groups = np.array_split(np.argsort(predicted, kind="stable"), _GROUPS)
    return tuple(
        ReliabilityPoint(float(predicted[group].mean()), float(failed[group].mean()), len(group))
        for group in groups
        if len(group)
    )


def _calibration_error(reliability: Sequence[ReliabilityPoint]) -> float | None:
    """Mean distance of observed from predicted failure rates, over labels."""
    if not reliability:
        return None
    gaps = sum(abs(point.predicted - point.observed) * point.labels for point in reliability)
    return gaps / sum(point.labels for point in reliability)


def own_ability(part: _Array) -> float:
    """
    Logits added to every difficulty of one version, at which it is predicted to fail as often as it did.

    Args:
        part: Its labels as `by_version` has them.
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
