"""Multiple testing: which of several hypotheses may be rejected together, by their e-values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)

_LARGEST_LOG = 500.0  # keeps sums finite; an e-value of e^500 rejects at any level
_ROUNDING = 1.0 - 1e-12  # exp(log(60)) is a little less than 60


def closed_e_bh(log_e_values: Mapping[Name, float], *, level: float) -> frozenset[Name]:
    """
    The largest set of hypotheses that may be rejected together, whatever the dependence between them.

    A set R may be rejected if for every subset A of all hypotheses the mean e-value over A is at least
    |A and R| / (level * |R|). With A = the true hypotheses, this shows that the expected share of false rejections in R
    is at most *level*. The e-BH procedure needs larger e-values for every set and never rejects more.

    Args:
        log_e_values: Natural logarithm of the e-value against each hypothesis.
        level: Largest expected share of false discoveries, in (0, 1).

    Source:
        Xu, Fischer and Ramdas (2025), arXiv:2501.09015 (closed e-BH); Wang and Ramdas (2022), J. R. Stat. Soc. B
        84:822 (e-BH).

    >>> sorted(closed_e_bh({"a": 4.0, "b": 3.0, "c": -1.0}, level=0.1))
    ['a', 'b']
    """
    names = sorted(log_e_values, key=log_e_values.__getitem__, reverse=True)
    values = np.exp(np.minimum([log_e_values[name] for name in names], _LARGEST_LOG))
    size = next((n for n in range(len(names), 0, -1) if _may_be_rejected(values[:n], values[n:], level)), 0)
    return frozenset(names[:size])


def _may_be_rejected(inside: np.ndarray, outside: np.ndarray, level: float) -> bool:
    """The worst subset with k rejected and m other hypotheses takes the smallest of each: checks all (k, m)."""
    rejected = np.arange(1, len(inside) + 1)
    others = np.arange(len(outside) + 1)
    sums = np.cumsum(inside[::-1])[:, None] + np.concatenate(([0.0], np.cumsum(outside[::-1])))[None, :]
    needed = rejected[:, None] * (rejected[:, None] + others[None, :]) / (level * len(inside))
    return bool(np.all(sums >= needed * _ROUNDING))
