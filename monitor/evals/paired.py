"""The change of a pass rate when the same cases ran on both versions: its bounds, and how likely chance gives it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

from monitor.difficulty.trust import wilson
from monitor.rollout.comparison import Interval

_Array = NDArray[np.float64]
_Name = TypeVar("_Name", bound=Hashable)

_FINEST_SCALE = 5_040  # divisible by 1 to 10: repeats seldom come in other numbers


@dataclass(frozen=True, slots=True)
class RepeatedRates:
    """
    Pass rates of the same cases in both runs; one entry per case.

    Attributes:
        before, after: Ratio 0 to 1.
        before_attempts, after_attempts: Scored attempts behind each rate, at least 1.
    """

    before: _Array
    after: _Array
    before_attempts: NDArray[np.int64]
    after_attempts: NDArray[np.int64]


def score_interval(rate: float, cases: float, *, confidence: float) -> Interval:
    """
    Score interval of a proportion.

    Args:
        rate: Ratio 0 to 1.
        cases: Independent cases that it rests on, above 0.
        confidence: Ratio 0 to 1.

    >>> score_interval(0.0, 10, confidence=0.95)
    Interval(estimate=0.0, lower=0.0, upper=0.2775327998628892)
    """
    return Interval(rate, *wilson(rate, cases, z=_z(confidence)))


def pass_rate(rates: _Array, attempts: NDArray[np.int64], *, confidence: float) -> Interval:
    """
    Mean of *rates* with score bounds; repeats of a case count as far as they tell more than one attempt.

    Source:
        The effective sample size of clustered proportions of Rao and Scott (1992), Biometrics 48:577.
    """
    return score_interval(float(rates.mean()), _effective_cases(rates, attempts), confidence=confidence)


def paired_change(rates: RepeatedRates, *, confidence: float) -> Interval:
    """
    Mean of after minus before, in [-1, 1], with bounds.

    Each case weighs the same, however often it was repeated. Where every case was asked once in both runs, this is
    Newcombe's method 10 to the digit; with repeats, the same square-and-add rule on the effective sample sizes.

    Source:
        Newcombe (1998), Statistics in Medicine 17:2635, method 10, recommended for paired proportions by Fagerland,
        Lydersen and Laake (2014), Statistics in Medicine 33:2850; square-and-add of any two bounded estimates by Zou
        and Donner (2008), Statistics in Medicine 27:1693.
    """
    before = pass_rate(rates.before, rates.before_attempts, confidence=confidence)
    after = pass_rate(rates.after, rates.after_attempts, confidence=confidence)
    shared = _correlation(rates)
    change = after.estimate - before.estimate
    below = _square_and_add(after.estimate - after.lower, before.upper - before.estimate, shared)
    above = _square_and_add(after.upper - after.estimate, before.estimate - before.lower, shared)
    return Interval(change, max(change - below, -1.0), min(change + above, 1.0))


def exact_p_value(rates: RepeatedRates) -> float:
    """
    Two-sided probability of a change at least this large, were the version without any influence on any case.

    Under that hypothesis the two runs of a case may be swapped, so the sign of each case's difference is a coin. Where
    every case was asked once, this is McNemar's exact test.

    Source:
        McNemar (1947), Psychometrika 12:153; the permutation test of Fisher (1935), The Design of Experiments, 21.

    >>> ones = np.ones(8, dtype=np.int64)
    >>> exact_p_value(RepeatedRates(np.ones(8), np.array([0, 0, 0, 0, 0, 0, 1, 1.0]), ones, ones))
    0.03125
    """
    scale = min(
        reduce(math.lcm, np.unique(np.concatenate([rates.before_attempts, rates.after_attempts])).tolist(), 1),
        _FINEST_SCALE,
    )
    steps = np.rint((rates.after - rates.before) * scale).astype(np.int64)
    steps = steps[steps != 0]
    if not len(steps):
        return 1.0
    sizes, counts = np.unique(np.abs(steps), return_counts=True)
    common = int(np.gcd.reduce(sizes))
    sizes, reached = sizes // common, abs(int(steps.sum())) // common
    if len(sizes) == 1:
        failing = (int(counts[0]) - reached) // 2  # the rarer sign
        return min(1.0, 2.0 * float(bdtr(failing, counts[0], 0.5)))
    from scipy.signal import fftconvolve  # noqa: PLC0415  (every command would wait two seconds for these imports)
    from scipy.stats import binom  # noqa: PLC0415

    distribution = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.clip(fftconvolve(distribution, spread), 0.0, None)
    middle = len(distribution) // 2
    return min(1.0, 2.0 * float(distribution[middle + reached :].sum())) if reached else 1.0


def holm(p_values: Mapping[_Name, float]) -> Mapping[_Name, float]:
    """
    *p_values* of several questions, raised so that the chance of one false discovery among them stays bounded.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6:65.

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    raised: dict[_Name, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        raised[name] = largest
    return {name: raised[name] for name in p_values}


def simultaneous(confidence: float, questions: int) -> float:
    """
    Confidence that each of several bounds needs, for all of them to hold together (Bonferroni).

    >>> round(simultaneous(0.95, 5), 3)
    0.99
    """
    return 1.0 - (1.0 - confidence) / max(questions, 1)


def _z(confidence: float) -> float:
    return float(ndtri(0.5 + confidence / 2.0))


def _effective_cases(rates: _Array, attempts: NDArray[np.int64]) -> float:
    """Independent attempts that say as much as the repeated ones: from one per case to all of them."""
    cases, total, rate = len(rates), int(attempts.sum()), float(rates.mean())
    if total == cases or cases < _FEWEST_TO_SPREAD or rate in {0.0, 1.0}:
        return float(cases)
    variance = float(rates.var(ddof=1)) / cases
    return float(total) if variance == 0.0 else min(max(rate * (1.0 - rate) / variance, float(cases)), float(total))


_FEWEST_TO_SPREAD = 2


def _correlation(rates: RepeatedRates) -> float:
    """Correlation of the two runs over cases, with Newcombe's correction towards none."""
    cases = len(rates.before)
    spread = float(rates.before.std() * rates.after.std())
    if spread == 0.0:
        return 0.0
    covariance = float(((rates.before - rates.before.mean()) * (rates.after - rates.after.mean())).mean())
    if covariance > 0.0:
        covariance = max(covariance - 1.0 / (2.0 * cases), 0.0)
    return covariance / spread


def _square_and_add(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one * one - 2.0 * correlation * one * other + other * other, 0.0))
