"""Why the hard tier's share of failures changed: another traffic mix, easier tiers, or the hard tiers themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.tiers import EASIER_TIERS
from monitor.rollout.comparison import Decomposition

_FIRST_HARD = len(EASIER_TIERS)
_ORDERS = np.array([[2, 1], [1, 2]]) / 6  # of six orders, how many move a part before, between and after the other two


def hard_share(tier_mix: NDArray[np.float64], failure_rate: NDArray[np.float64]) -> float | None:
    """
    The hard tier's share of failures; None without any.

    Args:
        tier_mix: Share of traffic per tier, easiest first, shape (4,); sums to 1.
        failure_rate: Failures per request by tier, shape (4,); ratios 0 to 1.

    >>> round(hard_share(np.array([0.6, 0.3, 0.1, 0.0]), np.array([0.02, 0.1, 0.6, 1.0])), 3)
    0.588
    """
    failures = tier_mix * failure_rate
    total = float(failures.sum())
    return float(failures[_FIRST_HARD:].sum()) / total if total > 0 else None


def decompose(
    *,
    baseline_mix: NDArray[np.float64],
    baseline_rate: NDArray[np.float64],
    candidate_mix: NDArray[np.float64],
    candidate_rate: NDArray[np.float64],
) -> Decomposition | None:
    """
    Three parts that add up exactly to the raw change of the hard tier's share of failures.

    The parts change one after the other from the baseline's value to the candidate's; each is credited with what its
    step does to the share, averaged over all six orders, so no order is preferred.

    Args:
        baseline_mix: Share of the baseline's traffic per tier, easiest first, shape (4,); sums to 1.
        baseline_rate: The baseline's failures per request by tier, shape (4,); ratios 0 to 1.
        candidate_mix: The same of the candidate.
        candidate_rate: The same of the candidate.

    Returns:
        The parts, or None where an arm, or a step between them, has no failure to share out.

    Source:
        Shapley value as in Shorrocks (2013), J. Econ. Inequal. 11:99; with two factors it is Kitagawa (1955),
        J. Am. Stat. Assoc. 50:1168.
    """
    rates = (baseline_rate, candidate_rate)
    shares = [
        hard_share(mix, np.concatenate((rates[easier][:_FIRST_HARD], rates[hard][_FIRST_HARD:])))
        for mix in (baseline_mix, candidate_mix)
        for easier in (0, 1)
        for hard in (0, 1)
    ]
    told = [share for share in shares if share is not None]
    if len(told) < len(shares):
        return None
    moves = np.array(told).reshape(2, 2, 2)  # by traffic mix, easier tiers, hard tiers: baseline's or candidate's
    return Decomposition(*(float((np.diff(moves, axis=part).squeeze(part) * _ORDERS).sum()) for part in range(3)))
