"""Corrects tier rates and shares for noisy tags, and computes the effect of a uniform gain in ability."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, ndtr

from monitor.difficulty.tiers import HARD_TIER, TIERS, TierCuts

_Array = NDArray[np.float64]

_DIAGONAL = np.diag_indices(len(TIERS))
_IS_HARD = np.array([tier in HARD_TIER for tier in TIERS], dtype=float)
_GRID_POINTS = 48
_GRID_DEVIATIONS = 4.0
_ITERATIONS = 50
_TOLERANCE = 5e-4
_LONGEST_STEP = 2.0
_LONGEST_ANGLE_STEP = 0.3
_SMALLEST_RATE = 1e-5
_SMALLEST_ANGLE = _SMALLEST_RATE**0.5
_LARGEST_ANGLE = np.pi / 2 - _SMALLEST_ANGLE
_SMALLEST_SHARE = 1e-12
_SMALLEST_VARIANCE = 1e-12
_SLOPES = [1.0 + number / 50 for number in range(101)]  # of log-odds of failing over the difficulty logit


class DifficultyBin(NamedTuple):
    """
    Requests of one arm in one calibration bin, with the same `is_known`.

    Attributes:
        difficulty_logit: Mean difficulty logit of the requests.
        difficulty_variance: Mean posterior variance of it, logits squared.
        requests: Requests, labelled or not.
        labelled: Labelled requests.
        failures: Failures among them.
    """

    difficulty_logit: float
    difficulty_variance: float
    is_known: bool
    requests: float
    labelled: float
    failures: float


@dataclass(frozen=True, slots=True)
class MeasuredArm:
    """
    Estimates for one arm; arrays are indexed by tier, easiest first (shape (4,)).

    Attributes:
        tier_mix: Share of the arm's traffic per tier (soft tiers over all requests), sums to 1.
        failure_rate: Corrected failure rate per tier, ratio 0 to 1.
        failure_rate_covariance: Covariance of *failure_rate*, shape (4, 4).
        uniform_gain_rate: Failure rate per tier on the uniform-gain curve at this arm's aggregate failure rate.
        aggregate_failure_rate: Failures per labelled known request, ratio 0 to 1. The curve uses known requests only,
            as the rates do: the difficulty of unknown ones is so uncertain that a gain on the easier half of them would
            look like a gain on hard ones.
        uniform_gain_rate_gradient: Derivative of *uniform_gain_rate* by the aggregate failure rate; 0 where tiers are
            exact, as are the next two.
        aggregate_variance: Variance of *aggregate_failure_rate*.
        aggregate_covariance: Covariance of *failure_rate* with *aggregate_failure_rate*, shape (4,).
    """

    tier_mix: _Array
    failure_rate: _Array
    failure_rate_covariance: _Array
    uniform_gain_rate: _Array
    aggregate_failure_rate: float
    uniform_gain_rate_gradient: _Array = field(default_factory=lambda: np.zeros(len(TIERS)))
    aggregate_variance: float = 0.0
    aggregate_covariance: _Array = field(default_factory=lambda: np.zeros(len(TIERS)))


@dataclass(frozen=True, slots=True)
class ShareShift:
    """
    Change of the hard tier's share of failures from baseline to candidate, at the baseline's tier mix.

    Each `_se` is a standard error; all are ratios 0 to 1 (changes -1 to 1).

    Attributes:
        expected_change: Change under a uniform gain in ability.
        excess: *change* minus *expected_change*.
    """

    baseline: float
    baseline_se: float
    candidate: float
    candidate_se: float
    change: float
    change_se: float
    expected_change: float
    excess: float
    excess_se: float


def measure_arm(bins: Sequence[DifficultyBin], cuts: TierCuts, *, prior_weight: float = 3.0) -> MeasuredArm | None:
    """
    Maximum-likelihood tier rates of one arm from its known requests; None without known labels.

    Args:
        bins: The arm's requests, grouped.
        cuts: Tier cuts.
        prior_weight: Pseudo-requests per tier at the uniform-gain curve. Keep it small: a strong prior hides cliffs.
    """
    columns = np.array(bins, dtype=float).reshape(-1, len(DifficultyBin._fields))
    _, _, is_known, requests, labelled, failures = columns.T
    if requests.sum() == 0 or labelled @ is_known == 0:
        return None
    known = (is_known == 1) & (labelled > 0)
    traffic = _Traffic.of(columns, cuts)
    tiers, known_labelled, known_failures = traffic.tiers[known], labelled[known], failures[known]
    aggregate = float(known_failures.sum() / known_labelled.sum())
    curve, gradient = traffic.uniform_gain(np.where(known, labelled, 0.0), aggregate)
    rate = _maximise(tiers, known_labelled, known_failures, curve, prior_weight)
    sampling = _covariance(tiers, known_labelled, rate, prior_weight)
    return MeasuredArm(
        tier_mix=requests @ traffic.tiers / requests.sum(),
        failure_rate=rate,
        failure_rate_covariance=sampling,
        uniform_gain_rate=curve,
        uniform_gain_rate_gradient=gradient,
        aggregate_failure_rate=aggregate,
        aggregate_variance=float(aggregate * (1 - aggregate) / known_labelled.sum()),
        aggregate_covariance=sampling @ (known_labelled @ tiers) / known_labelled.sum(),
    )


def count_arms(traffic: _Array, labelled: _Array, failures: _Array) -> tuple[MeasuredArm, MeasuredArm] | None:
    """
    Estimates for both arms from exact tiers; None without a label in both.

    The uniform-gain curve takes the logit of a tier's baseline rate as the difficulty of all its requests.

    Args:
        traffic: Requests, labelled or not, by arm and tier, shape (2, 4).
        labelled: Labelled requests, shape (2, 4).
        failures: Failures among them, shape (2, 4).
    """
    if (labelled.sum(axis=1) <= 0).any():
        return None
    pooled = (failures.sum(axis=0) + 0.5) / (labelled.sum(axis=0) + 1.0)
    rates = np.clip((failures + pooled) / (labelled + 1.0), _SMALLEST_RATE, 1 - _SMALLEST_RATE)
    mixes = traffic / traffic.sum(axis=1, keepdims=True)
    aggregates = rates @ mixes[0]
    logits = logit(rates[0])
    curves = (rates[0], expit(logits + _ability(logits, mixes[0], float(aggregates[1]))))
    baseline, candidate = (
        MeasuredArm(
            tier_mix=mixes[arm],
            failure_rate=rates[arm],
            failure_rate_covariance=np.diag(rates[arm] * (1 - rates[arm]) / (labelled[arm] + 1.0)),
            uniform_gain_rate=curves[arm],
            aggregate_failure_rate=float(failures[arm].sum() / labelled[arm].sum()),
        )
        for arm in (0, 1)
    )
    return baseline, candidate


def _ability(logits: _Array, share: _Array, aggregate: float) -> float:
    """Number to add to all *logits* so that the mean failure rate, weighted by *share*, is *aggregate*."""
    aggregate = min(max(aggregate, _SMALLEST_RATE), 1 - _SMALLEST_RATE)
    ability = float(logit(aggregate)) - float(share @ logits)
    low, high = -np.inf, np.inf
    for _ in range(_ITERATIONS):
        rate = expit(logits + ability)
        error = float(share @ rate) - aggregate
        low, high = (ability, high) if error < 0 else (low, ability)
        step = error / max(float(share @ (rate * (1 - rate))), _SMALLEST_SHARE)
        if abs(step) < _TOLERANCE:
            break
        newton = ability - max(-_LONGEST_STEP, min(_LONGEST_STEP, step))
        ability = newton if low < newton < high else (low + high) / 2
    return ability


@dataclass(frozen=True, slots=True)
class _Traffic:
    """
    Distribution of the difficulty of an arm's requests over grid cells, which no tier cut divides.

    Attributes:
        difficulty_logit: Middle of each cell, shape (cells,).
        inside: Probability of each cell by bin, shape (bins, cells).
        tier_of_cell: 1 for the tier that a cell belongs to, else 0, shape (cells, 4).
        tiers: Probability of each tier by bin, shape (bins, 4).
    """

    difficulty_logit: _Array
    inside: _Array
    tier_of_cell: _Array
    tiers: _Array

    @classmethod
    def of(cls, columns: _Array, cuts: TierCuts) -> _Traffic:
        mean, variance = columns.T[:2]
        deviation = np.sqrt(np.maximum(variance, _SMALLEST_VARIANCE))
        lowest, highest = (mean - _GRID_DEVIATIONS * deviation).min(), (mean + _GRID_DEVIATIONS * deviation).max()
        at_cuts = np.array([cuts.medium, cuts.hard, cuts.frontier])
        edges = np.sort(np.concatenate([np.linspace(lowest, highest, _GRID_POINTS), at_cuts]))
        below = ndtr((edges - mean[:, None]) / deviation[:, None])
        inside = np.diff(below, axis=1, prepend=0.0, append=1.0)
        middle = np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]])
        tier_of_cell = np.eye(len(TIERS))[np.searchsorted(at_cuts, np.append(edges, np.inf), side="left")]
        return cls(middle, inside, tier_of_cell, inside @ tier_of_cell)

    def uniform_gain(self, requests: _Array, aggregate: float) -> tuple[_Array, _Array]:
        """
        Failure rates per tier at the ability whose overall failure rate is *aggregate*, and their derivative by it.

        Args:
            requests: Requests by bin.
            aggregate: Failures per request, ratio 0 to 1.

        Source:
            The model of Rasch (1960): the same gain in logits for every request.
        """
        share, rate, slope = self._curve(requests, aggregate)
        weight = share @ self.tier_of_cell + _SMALLEST_SHARE
        curve = np.clip((share * rate) @ self.tier_of_cell / weight, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
        by_ability = (share * slope) @ self.tier_of_cell / weight
        return curve, by_ability / max(float(share @ slope), _SMALLEST_SHARE)

    def uniform_gain_by_bin(self, requests: _Array, aggregate: float, slope: float) -> tuple[_Array, _Array]:
        """As `uniform_gain`, per bin, with log-odds of failing that rise *slope* times as fast as difficulty."""
        share, rate, variance = self._curve(requests, aggregate, slope)
        return self.inside @ rate, self.inside @ variance / max(float(share @ variance), _SMALLEST_SHARE)

    def _curve(self, requests: _Array, aggregate: float, slope: float = 1.0) -> tuple[_Array, _Array, _Array]:
        share, difficulty = requests @ self.inside / requests.sum(), slope * self.difficulty_logit
        rate = expit(difficulty + _ability(difficulty, share, aggregate))
        return share, rate, rate * (1 - rate)


def soft_tiers(logit: ArrayLike, variance: ArrayLike, cuts: TierCuts) -> NDArray[np.float64]:
    """
    Probability of each tier, easiest first, under a normal posterior of the difficulty.

    Args:
        logit: Posterior mean, in logits; any shape.
        variance: Posterior variance, in logits squared, not negative; same shape.
        cuts: Tier cuts.

    Returns:
        Shape (..., 4); sums to 1 along the last axis.

    >>> soft_tiers(0.0, 1.0, TierCuts(medium=-9.0, hard=0.0, frontier=9.0)).round(2).tolist()
    [0.0, 0.5, 0.5, 0.0]
    """
    deviation = np.sqrt(np.maximum(np.asarray(variance, dtype=float), _SMALLEST_VARIANCE))
    edges = np.array([cuts.medium, cuts.hard, cuts.frontier])
    below = ndtr((edges - np.asarray(logit, dtype=float)[..., None]) / deviation[..., None])
    shape = (*below.shape[:-1], 1)
    return np.diff(below, axis=-1, prepend=np.zeros(shape), append=np.ones(shape))


def tagged_excess(tags: Sequence[_Array], counts: Sequence[_Array], cuts: TierCuts) -> tuple[float, float] | None:
    """
    The excess by uncorrected tags, and its standard error; None if an arm has no failure in common rows.

    A failure counts as hard with the probability that its request is hard. Noisy tags shrink this excess, while
    corrected rates would inflate the errors of tags. If the baseline's failures rise faster with difficulty than the
    model assumes, a uniform gain would look like an excess, so a steeper curve is fitted as well and the smaller excess
    counts.

    Args:
        tags: Mean difficulty logit and its mean posterior variance, by row of similar requests, each of shape (rows,).
        counts: Labelled requests and failures of baseline and candidate by row, each of shape (2, rows). A row has the
            same weight in both arms, n m / (n + m), so that neither has harder requests.
        cuts: Tier cuts.
    """
    common = counts[0].min(axis=0) > 0
    difficulty, (requests, failures) = np.stack(tags, axis=1)[common], (column[:, common] for column in counts)
    if not failures.sum(axis=1).all():
        return None
    traffic, rates = _Traffic.of(difficulty, cuts), failures / requests
    is_hard, weight = traffic.tiers @ _IS_HARD, requests.prod(axis=0) / requests.sum(axis=0)

    def expected(rate: _Array, slope: float) -> tuple[_Array, _Array]:
        return traffic.uniform_gain_by_bin(weight, float(weight @ rate / weight.sum()), slope)

    def is_steep(slope: float) -> bool:
        return bool(weight * (rates[0] - expected(rates[0], slope)[0]) @ difficulty[:, 0] <= 0)

    def excess(slope: float) -> tuple[float, float]:
        parts, sampling = [], 0.0
        for labelled, rate in zip(requests, rates, strict=True):
            curve, by_aggregate = expected(rate, slope)
            share, gradient = _share(weight, rate, is_hard)
            expected_share, by_curve = _share(weight, curve, is_hard)
            gradient = gradient - float(by_curve @ by_aggregate) * weight / weight.sum()
            smoothed = (rate * labelled + curve) / (labelled + 1.0)  # a row without failures still has a variance
            sampling += float(gradient**2 @ (smoothed * (1 - smoothed) / labelled))
            parts.append(share - expected_share)
        return parts[1] - parts[0], sampling**0.5

    steep = bisect_left(_SLOPES, True, hi=len(_SLOPES) - 1, key=is_steep)
    return min(excess(slope) for slope in {1.0, _SLOPES[steep]})


def _maximise(tiers: _Array, labelled: _Array, failures: _Array, curve: _Array, prior_weight: float) -> _Array:
    """
    Posterior mode of the failure rate per tier in a mixture of tiers, with beta pseudo-requests at *curve*.

    Fisher scoring on angles whose squared sine is the rate, since their information stays finite as a rate nears 0 or
    1. It reaches the same maximum as expectation-maximisation in fewer steps.
    """
    angle = np.arcsin(np.sqrt(curve))
    for _ in range(_ITERATIONS):
        rate = np.sin(angle) ** 2
        by_angle = np.sin(2 * angle)
        mean = tiers @ rate  # within 0 and 1, since angles are kept off both ends
        precision = 1 / (mean * (1 - mean))
        slope = tiers * by_angle
        gradient = ((failures - labelled * mean) * precision) @ slope + 4 * prior_weight * (curve - rate) / by_angle
        information = (slope * (labelled * precision)[:, None]).T @ slope
        information[_DIAGONAL] += 2 * prior_weight * (curve / rate + (1 - curve) / (1 - rate))
        step = np.linalg.solve(information, gradient)
        new = angle + np.minimum(np.maximum(step, -_LONGEST_ANGLE_STEP), _LONGEST_ANGLE_STEP)
        new = np.minimum(np.maximum(new, _SMALLEST_ANGLE), _LARGEST_ANGLE)
        change = np.abs(new - angle).max()
        angle = new
        if change < _TOLERANCE:
            break
    return np.sin(angle) ** 2


def _covariance(tiers: _Array, labelled: _Array, rate: _Array, prior_weight: float) -> _Array:
    """Inverse Fisher information of the rates, as in a binomial regression on soft tiers with an identity link."""
    mean = np.clip(tiers @ rate, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
    information = (tiers * (labelled / (mean * (1 - mean)))[:, None]).T @ tiers
    information += np.diag(prior_weight / (rate * (1 - rate)))
    return np.asarray(np.linalg.inv(information), dtype=np.float64)


def compare_shares(baseline: MeasuredArm, candidate: MeasuredArm) -> ShareShift | None:
    """The shift of the hard tier's share of failures; None if an arm has no failures."""
    if min(baseline.aggregate_failure_rate, candidate.aggregate_failure_rate) <= 0:
        return None
    mix = baseline.tier_mix
    before, before_variance, expected_before, more_before = _shares(mix, baseline)
    after, after_variance, expected_after, more_after = _shares(mix, candidate)
    change, expected_change = after - before, expected_after - expected_before
    change_variance = before_variance + after_variance
    return ShareShift(
        baseline=before,
        baseline_se=before_variance**0.5,
        candidate=after,
        candidate_se=after_variance**0.5,
        change=change,
        change_se=change_variance**0.5,
        expected_change=expected_change,
        excess=change - expected_change,
        excess_se=max(change_variance + more_before + more_after, 0.0) ** 0.5,
    )


def _shares(mix: _Array, arm: MeasuredArm) -> tuple[float, float, float, float]:
    """
    The hard tier's share of failures, its variance, the expected share, and the variance that it adds to the excess.

    The measured and the expected share are correlated, since both use the same failures.
    """
    share, slope = _share(mix, arm.failure_rate, _IS_HARD)
    expected, expected_slope = _share(mix, arm.uniform_gain_rate, _IS_HARD)
    variance = float(slope @ arm.failure_rate_covariance @ slope)
    by_aggregate = float(expected_slope @ arm.uniform_gain_rate_gradient)
    shared = float(slope @ arm.aggregate_covariance)
    return share, variance, expected, by_aggregate**2 * arm.aggregate_variance - 2 * by_aggregate * shared


def _share(weight: _Array, rate: _Array, is_hard: _Array) -> tuple[float, _Array]:
    """Share of failures in hard rows, and its derivative by *rate*."""
    total = float(weight @ rate)
    share = float((weight * is_hard) @ rate) / total
    return share, weight * (is_hard - share) / total
