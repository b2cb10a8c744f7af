"""Estimates how a cost grows with the size of its input."""

from __future__ import annotations

import math
from collections.abc import Sequence


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """
    The power of the size with which the cost grows: the slope of the straight line through both on log scales.

    Args:
        sizes: At least two, all different and above 0.
        costs: One for each, above 0.

    >>> round(growth_exponent([10, 100, 1000], [2.0, 200.0, 20000.0]), 6)
    2.0
    """
    x = [math.log(size) for size in sizes]
    y = [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def times_n_log_n(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """
    The growth of *costs* from the least size to the largest, as a multiple of what n log n would have given.

    >>> times_n_log_n([10, 1000], [10.0, 3000.0])
    1.0
    """
    (small, first), *_, (large, last) = sorted(zip(sizes, costs, strict=True))
    return (last / first) / (large * math.log(large) / (small * math.log(small)))
