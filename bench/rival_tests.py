"""What teams use today to judge a rollout, looked at as often as the verdict: for comparison only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

_Counts = NDArray[np.int64]
_Array = NDArray[np.float64]

_LEVEL = 0.05
_MIN_FAILURES = 30
_KAYENTA_CONFIDENCE = 0.98
_KAYENTA_TOLERANCE = 0.25


def peeked_z_test(baseline: tuple[_Counts, _Counts], candidate: tuple[_Counts, _Counts]) -> NDArray[np.bool_]:
    """
    Alarm of a two-proportion z-test at a nominal 5 % (one-sided: the candidate fails more often), at every look.

    Args:
        baseline: Requests and failures of the baseline's hard tier so far, each of shape (looks,).
        candidate: The same of the candidate.
    """
    (n, x), (m, y) = baseline, candidate
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = (x + y) / (n + m)
        z = (y / m - x / n) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    alarm: NDArray[np.bool_] = (np.minimum(x, y) >= _MIN_FAILURES) & (z > norm.ppf(1 - _LEVEL))
    return alarm


def fixed_threshold(
    baseline: tuple[_Counts, _Counts], candidate: tuple[_Counts, _Counts], *, jump: float
) -> NDArray[np.bool_]:
    """
    Alarm when the hard tier's share of failures rose by *jump*, with 30 failures in both arms, at every look.

    Args:
        baseline: All failures and hard-tier failures of the baseline so far, each of shape (looks,).
        candidate: The same of the candidate.
        jump: Ratio 0 to 1.
    """
    (n, x), (m, y) = baseline, candidate
    rise = y / np.maximum(m, 1) - x / np.maximum(n, 1)
    alarm: NDArray[np.bool_] = (np.minimum(n, m) >= _MIN_FAILURES) & (rise >= jump)
    return alarm


def kayenta(baseline: _Array, candidate: _Array) -> bool:
    """
    Whether a canary analysis as Kayenta's default judge does it would ever have called the candidate `High`.

    At every look the points so far are compared by a Mann-Whitney test: `High` when the 98 % confidence interval of
    the shift lies above a quarter of the estimated shift.

    Args:
        baseline: One point per look (failure rate since the look before), shape (looks,).
        candidate: The same of the candidate.

    Source:
        Netflix/Spinnaker Kayenta, NetflixACAJudge with MannWhitneyClassifier (tolerance 0.25, confidence 0.98);
        interval for the shift as in Hollander and Wolfe (1999), "Nonparametric Statistical Methods", section 4.3.
    """
    z = float(norm.ppf(0.5 + _KAYENTA_CONFIDENCE / 2))
    above = np.zeros(len(baseline))  # pairs with the candidate above the baseline, ties by halves
    for look in range(len(baseline)):
        new_row = candidate[look] - baseline[: look + 1]
        new_column = candidate[:look] - baseline[look]
        above[look] = _wins(new_row) + _wins(new_column) + (above[look - 1] if look else 0.0)
    counts = np.arange(1, len(baseline) + 1)
    spread = z * np.sqrt(counts**2 * (2 * counts + 1) / 12)
    suspects = np.flatnonzero(above - counts**2 / 2 > spread)  # elsewhere the interval holds 0
    return any(_is_high(baseline[: look + 1], candidate[: look + 1], float(spread[look])) for look in suspects)


def _wins(differences: _Array) -> float:
    return float((differences > 0).sum() + (differences == 0).sum() / 2)


def _is_high(baseline: _Array, candidate: _Array, spread: float) -> bool:
    shifts = np.subtract.outer(candidate, baseline).ravel()
    rank = int(np.floor(len(shifts) / 2 - spread))
    if rank < 1:
        return False
    lower = np.partition(shifts, rank - 1)[rank - 1]
    return bool(lower > _KAYENTA_TOLERANCE * abs(np.median(shifts)))
