"""Splits the change of the hard tier's share of failures into traffic mix, easier tiers and hard tiers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.tiers import EASIER_TIERS
from monitor.rollout.verdict import Decomposition

_Array = NDArray[np.float64]

_FIRST_HARD = len(EASIER_TIERS)
_ORDERS = np.array([[2, 1], [1, 2]]) / 6  # share of the six orders in which neither, either or both other parts moved


def hard_share(tier_mix: _Array, failure_rate: _Array) -> float | None:
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


def decompose(tier_mixes: Sequence[_Array], failure_rates: Sequence[_Array]) -> Decomposition | None:
    """
    Three parts that add up exactly to the raw change of the hard tier's share of failures.

    Moving the parts one after the other from the baseline's value to the candidate's changes the share in steps. Each
    part gets its step, averaged over all six orders, so no order is preferred.

    Args:
        tier_mixes: Share of traffic per tier of baseline and candidate, easiest first, shape (4,); sums to 1.
        failure_rates: Failures per request by tier of baseline and candidate, shape (4,); ratios 0 to 1.

    Returns:
        The parts, or None if an arm, or a step between the arms, has no failures.

    Source:
        Shapley value as in Shorrocks (2013), J. Econ. Inequal. 11:99; with two factors it is Kitagawa (1955),
        J. Am. Stat. Assoc. 50:1168.
    """
    shares = [
        hard_share(mix, np.concatenate((easier[:_FIRST_HARD], hard[_FIRST_HARD:])))
        for mix in tier_mixes
        for easier in failure_rates
        for hard in failure_rates
    ]
    if None in shares:
        return None
    moves = np.array(shares, dtype=float).reshape(2, 2, 2)  # axes: traffic mix, easier tiers, hard tiers
    return Decomposition(*(float((np.diff(moves, axis=part).squeeze(part) * _ORDERS).sum()) for part in range(3)))
