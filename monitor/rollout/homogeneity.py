"""The odds ratio of failing: a uniform gain in logits gives the same one to hard and easy requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LogOddsRatio:
    """Log odds ratio of failing, candidate over baseline, with its variance."""

    estimate: float
    variance: float


def mantel_haenszel(requests: _Array, failures: _Array) -> LogOddsRatio | None:
    """
    The odds ratio that all rows share; None where an arm has no failure or no pass in common rows.

    Args:
        requests: Of baseline and candidate by row, shape (2, rows).
        failures: The same.

    Source:
        Mantel and Haenszel (1959); variance of Robins, Breslow and Greenland (1986), Biometrics 42:311.
    """
    total = np.maximum(requests.sum(axis=0), 1e-300)
    passes = requests - failures
    up = failures[1] * passes[0] / total
    down = failures[0] * passes[1] / total
    along, across = (failures[1] + passes[0]) / total, (failures[0] + passes[1]) / total
    ups, downs = float(up.sum()), float(down.sum())
    if ups <= 0 or downs <= 0:
        return None
    variance = (
        float(along @ up) / (2 * ups**2)
        + float(along @ down + across @ up) / (2 * ups * downs)
        + float(across @ down) / (2 * downs**2)
    )
    return LogOddsRatio(float(np.log(ups / downs)), variance)
