"""Tier rates and shares corrected for noisy tags, and what a uniform gain in ability would have done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from monitor.difficulty.cuts import TierCuts, soft_tiers
from monitor.difficulty.tiers import HARD_TIER, TIERS

_Array = NDArray[np.float64]

_IS_HARD = np.array([tier in HARD_TIER for tier in TIERS], dtype=float)
_REQUESTS_PER_CERTAINTY = 1_600.0
_ITERATIONS = 60
_TOLERANCE = 1e-5
_SMALLEST_RATE = 1e-6
_LARGEST_ABILITY = 30.0


@dataclass(frozen=True, slots=True)
class DifficultyBin:
    """
    Requests of one arm that are about equally hard: one calibration bin, known or not.

    Attributes:
        difficulty_logit: Mean difficulty logit of the requests.
        difficulty_variance: Mean posterior variance of it, logits squared.
        requests: Requests, labelled or not.
        labelled: Those with an outcome.
        failures: Those whose outcome is a failure.
    """

    difficulty_logit: float
    difficulty_variance: float
    is_known: bool
    requests: int
    labelled: int
    failures: int


@dataclass(frozen=True, slots=True)
class MeasuredArm:
    """
    One arm as measured; arrays are indexed by tier, easiest first (shape (4,)).

    Attributes:
        tier_mix: Share of the arm's traffic per tier (soft tiers over all requests), sums to 1.
        failure_rate: Corrected failure rate per tier, ratio 0 to 1.
        failure_rate_covariance: Covariance of *failure_rate*, shape (4, 4).
        uniform_gain_rate: Failure rate per tier that the uniform-gain curve gives at this arm's aggregate failure rate.
        uniform_gain_rate_gradient: Derivative of *uniform_gain_rate* by the aggregate failure rate.
        aggregate_failure_rate: Failures per labelled known request, ratio 0 to 1. The uniform-gain curve stands on the
            same requests as the rates that it is compared with: difficulty of unknown ones is so wide that a gain of
            the easier half of them would pass for a gain of hard ones.
        aggregate_variance: Variance of *aggregate_failure_rate*.
        aggregate_covariance: Covariance of *failure_rate* with *aggregate_failure_rate*, shape (4,).
        known_failures: Failures in the known stratum: the evidence that the correction stands on.
    """

    tier_mix: _Array
    failure_rate: _Array
    failure_rate_covariance: _Array
    uniform_gain_rate: _Array
    uniform_gain_rate_gradient: _Array
    aggregate_failure_rate: float
    aggregate_variance: float
    aggregate_covariance: _Array
    known_failures: int


@dataclass(frozen=True, slots=True)
class ShareShift:
    """
    Change of the hard tier's share of failures from baseline to candidate, at the baseline's tier mix.

    Each `_se` is a standard error; all are ratios 0 to 1 (changes -1 to 1).
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


def measure_arm(bins: Sequence[DifficultyBin], cuts: TierCuts, *, prior_weight: float = 4.0) -> MeasuredArm | None:
    """
    Corrected tier rates of one arm by expectation-maximisation on the known stratum; None without known labels.

    Args:
        bins: The arm's requests, grouped.
        cuts: Where tiers begin.
        prior_weight: Pseudo-requests per tier that pull its rate towards the uniform-gain curve. Keep it weak: a strong
            one hides cliffs.
    """
    columns = np.array(
        [(b.difficulty_logit, b.difficulty_variance, b.is_known, b.requests, b.labelled, b.failures) for b in bins],
        dtype=float,
    ).reshape(-1, 6)
    logit, variance, is_known, requests, labelled, failures = columns.T
    if requests.sum() == 0 or labelled @ is_known == 0:
        return None
    tiers = soft_tiers(logit, variance, cuts)
    known = is_known == 1
    known_tiers, known_labelled, known_failures = tiers[known], labelled[known], failures[known]
    aggregate = float(known_failures.sum() / known_labelled.sum())
    curve, gradient = _uniform_gain(logit[known], variance[known], known_tiers, known_labelled, aggregate)
    rate = _maximise(known_tiers, known_labelled, known_failures, curve, prior_weight)
    sampling = _covariance(known_tiers, known_labelled, rate, prior_weight)
    return MeasuredArm(
        tier_mix=requests @ tiers / requests.sum(),
        failure_rate=rate,
        failure_rate_covariance=sampling * _saturation(known_tiers, known_labelled),
        uniform_gain_rate=curve,
        uniform_gain_rate_gradient=gradient,
        aggregate_failure_rate=aggregate,
        aggregate_variance=float(aggregate * (1 - aggregate) / known_labelled.sum()),
        aggregate_covariance=sampling @ (known_labelled @ known_tiers) / known_labelled.sum(),
        known_failures=int(known_failures.sum()),
    )


def _uniform_gain(
    logit: _Array, variance: _Array, tiers: _Array, requests: _Array, aggregate: float
) -> tuple[_Array, _Array]:
    scale = np.sqrt(1 + np.pi / 8 * variance)
    low, high = -_LARGEST_ABILITY, _LARGEST_ABILITY
    weight = requests / requests.sum()
    for _ in range(_ITERATIONS):
        ability = (low + high) / 2
        low, high = (ability, high) if weight @ expit((logit + ability) / scale) < aggregate else (low, ability)
    rate = expit((logit + ability) / scale)
    slope = rate * (1 - rate) / scale
    share = weight @ tiers + _SMALLEST_RATE
    curve = np.clip((weight * rate) @ tiers / share, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
    by_ability = (weight * slope) @ tiers / share
    return curve, by_ability / max(weight @ slope, _SMALLEST_RATE)


def _maximise(tiers: _Array, labelled: _Array, failures: _Array, curve: _Array, prior_weight: float) -> _Array:
    rate = curve.copy()
    successes = labelled - failures
    for _ in range(200):
        failing = tiers * rate
        passing = tiers * (1 - rate)
        failed = (failures / np.maximum(failing.sum(axis=1), _SMALLEST_RATE)) @ failing
        passed = (successes / np.maximum(passing.sum(axis=1), _SMALLEST_RATE)) @ passing
        updated = (failed + prior_weight * curve) / (failed + passed + prior_weight)
        if np.abs(updated - rate).max() < _TOLERANCE:
            break
        rate = updated
    maximum: _Array = np.clip(updated, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
    return maximum


def _covariance(tiers: _Array, labelled: _Array, rate: _Array, prior_weight: float) -> _Array:
    """Inverse Fisher information of the rates, as in a binomial regression on soft tiers with an identity link."""
    mean = np.clip(tiers @ rate, _SMALLEST_RATE, 1 - _SMALLEST_RATE)
    information = (tiers * (labelled / (mean * (1 - mean)))[:, None]).T @ tiers
    information += np.diag(prior_weight / (rate * (1 - rate)))
    return np.asarray(np.linalg.inv(information), dtype=np.float64)


def _saturation(tiers: _Array, labelled: _Array) -> float:
    """
    Factor on the sampling variance, for what no number of requests can tell.

    Errors of the difficulty itself are common to all requests that are alike, so evidence stops growing where they
    rule: at 1,600 known requests were every tag wrong, at ever more of them the surer the tags are; tiers known without
    doubt leave plain counting.
    """
    expected_wrong = labelled @ (1 - tiers.max(axis=1))
    return float(1 + expected_wrong / _REQUESTS_PER_CERTAINTY)


def compare_shares(baseline: MeasuredArm, candidate: MeasuredArm) -> ShareShift | None:
    """The share shift with its expected part and excess; None where an arm has no failure to share out."""
    if min(baseline.aggregate_failure_rate, candidate.aggregate_failure_rate) <= 0:
        return None
    mix = baseline.tier_mix
    before, before_slope = _hard_share(mix, baseline.failure_rate)
    after, after_slope = _hard_share(mix, candidate.failure_rate)
    expected_before, _ = _hard_share(mix, baseline.uniform_gain_rate)
    expected_after, _ = _hard_share(mix, candidate.uniform_gain_rate)
    before_variance = float(before_slope @ baseline.failure_rate_covariance @ before_slope)
    after_variance = float(after_slope @ candidate.failure_rate_covariance @ after_slope)
    excess_variance = change_variance = before_variance + after_variance
    for arm, slope in ((baseline, before_slope), (candidate, after_slope)):
        excess_variance += _expected_variance(mix, arm, slope)
    change, expected_change = after - before, expected_after - expected_before
    return ShareShift(
        baseline=before,
        baseline_se=before_variance**0.5,
        candidate=after,
        candidate_se=after_variance**0.5,
        change=change,
        change_se=change_variance**0.5,
        expected_change=expected_change,
        excess=change - expected_change,
        excess_se=max(excess_variance, 0.0) ** 0.5,
    )


def _hard_share(mix: _Array, rate: _Array) -> tuple[float, _Array]:
    """Hard tier's share of failures, and its derivative by *rate*."""
    total = float(mix @ rate)
    share = float((mix * _IS_HARD) @ rate) / total
    return share, mix * (_IS_HARD - share) / total


def _expected_variance(mix: _Array, arm: MeasuredArm, measured_slope: _Array) -> float:
    """What the expected share adds to the variance of the excess; it rests on the same failures as the measured one."""
    _, slope = _hard_share(mix, arm.uniform_gain_rate)
    by_aggregate = float(slope @ arm.uniform_gain_rate_gradient)
    shared = float(measured_slope @ arm.aggregate_covariance)
    return by_aggregate**2 * arm.aggregate_variance - 2 * by_aggregate * shared
