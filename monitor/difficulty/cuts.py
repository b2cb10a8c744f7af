"""How probable each tier is for a request whose difficulty is not known exactly, and bins of difficulty."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from monitor.difficulty.tiers import TierCuts

_SMALLEST_VARIANCE = 1e-12
_BINS_PER_TIER = 4
_OUTER_BINS = 5
_OUTER_STEP = 0.9


def soft_tiers(logit: ArrayLike, variance: ArrayLike, cuts: TierCuts) -> NDArray[np.float64]:
    """
    Probability of each tier, easiest first, for a normal belief about the difficulty.

    Args:
        logit: Mean of the belief, in logits; any shape.
        variance: Variance of the belief, in logits squared, not negative; same shape.
        cuts: Where tiers begin.

    Returns:
        Shape (..., 4); sums to 1 along the last axis.

    >>> soft_tiers(0.0, 1.0, TierCuts(medium=-9.0, hard=0.0, frontier=9.0)).round(2).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    deviation = np.sqrt(np.maximum(np.asarray(variance, dtype=float), _SMALLEST_VARIANCE))
    edges = np.array([cuts.medium, cuts.hard, cuts.frontier])
    below = ndtr((edges - np.asarray(logit, dtype=float)[..., None]) / deviation[..., None])
    shape = (*below.shape[:-1], 1)
    tiers: NDArray[np.float64] = np.diff(below, axis=-1, prepend=np.zeros(shape), append=np.ones(shape))
    return tiers


def bin_edges(cuts: TierCuts) -> tuple[float, ...]:
    """Difficulty logits between 18 bins: four bins in medium and in hard, five in easy and in frontier."""
    easier = cuts.medium - _OUTER_STEP * np.arange(_OUTER_BINS - 1, 0, -1)
    medium = np.linspace(cuts.medium, cuts.hard, _BINS_PER_TIER, endpoint=False)
    hard = np.linspace(cuts.hard, cuts.frontier, _BINS_PER_TIER, endpoint=False)
    harder = cuts.frontier + _OUTER_STEP * np.arange(_OUTER_BINS)
    return tuple(np.concatenate([easier, medium, hard, harder]).tolist())
