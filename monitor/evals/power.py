"""How large a drop a number of cases can hide, and how many cases would show it."""

from __future__ import annotations

import math

import numpy as np

_TAIL_DEVIATIONS = 9.0
_MOST_CASES = 1_000_000
_FINEST_DROP = 1e-4


def power_to_see(drop: float, *, cases: int, churn: float, level: float) -> float:
    """
    Chance that McNemar's exact test shows a drop of the pass rate.

    Args:
        drop: Newly failing minus newly passing cases, per case; ratio 0 to 1.
        cases: Cases that ran on both versions.
        churn: Cases that change sides without being part of the drop, half of them each way; ratio 0 to 1.
        level: Two-sided error rate of the test.

    Source:
        Duffy (1984), Biometrics 40:1005.
    """
    from scipy.stats import binom  # noqa: PLC0415  (every command would wait a second for this import)

    falling = min(drop + churn / 2, 1.0)
    rising = min(churn / 2, 1.0 - falling)
    moving = falling + rising
    if moving <= 0.0 or cases < 1:
        return 0.0
    spread = _TAIL_DEVIATIONS * math.sqrt(cases * moving * (1.0 - moving)) + 1.0
    moved = np.arange(max(0, math.floor(cases * moving - spread)), min(cases, math.ceil(cases * moving + spread)) + 1)
    # The fewest newly failing cases that are significant among so many that moved.
    needed = moved - binom.ppf(level / 2, moved, 0.5)
    needed = np.where(2.0 * binom.cdf(moved - needed, moved, 0.5) > level, needed + 1, needed)
    seen = np.where(needed <= moved, binom.sf(needed - 1, moved, falling / moving), 0.0)
    return float(binom.pmf(moved, cases, moving) @ seen)


def smallest_visible_drop(*, cases: int, churn: float, level: float, power: float) -> float | None:
    """Smallest drop that is seen with a chance of *power*, ratio 0 to 1; None where not even a drop to nothing is."""
    if power_to_see(1.0, cases=cases, churn=0.0, level=level) < power:
        return None
    hidden, seen = 0.0, 1.0
    while seen - hidden > _FINEST_DROP:
        middle = (hidden + seen) / 2
        if power_to_see(middle, cases=cases, churn=churn, level=level) < power:
            hidden = middle
        else:
            seen = middle
    return seen


def cases_to_see(drop: float, *, churn: float, level: float, power: float) -> int | None:
    """Fewest cases that show a drop of *drop* with a chance of *power*; None where a million do not."""
    few, enough = 0, 1
    while power_to_see(drop, cases=enough, churn=churn, level=level) < power:
        few, enough = enough, 2 * enough
        if enough > _MOST_CASES:
            return None
    while enough - few > max(1, enough // 200):  # the power is no smooth function of the cases: half a percent will do
        middle = (few + enough) // 2
        if power_to_see(drop, cases=middle, churn=churn, level=level) < power:
            few = middle
        else:
            enough = middle
    return enough
