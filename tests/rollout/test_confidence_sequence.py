"""Bounds that hold at every look: values, algebra, false alarms, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from monitor.rollout.confidence_sequence import (
    bernoulli_bounds,
    normal_mixture_bounds,
    normal_mixture_z,
    rate_rise_log_e_value,
)

RUNS = 400
LOOKS = 60


def most_expected(error_rate: float) -> int:
    """False alarms in RUNS runs that a procedure at its error rate exceeds with a chance of 0.1 %."""
    return int(binom.ppf(0.999, RUNS, error_rate))


# Computed with ville 0.1.0, BernoulliCS(alpha=0.05, prior=(0.5, 0.5), intersect=False).
@pytest.mark.parametrize(
    ("failures", "requests", "lower", "upper"),
    [
        (3, 10, 0.03251513978805888, 0.7475871099149967),
        (0, 10, 0.0, 0.3769873509906775),
        (10, 10, 0.6230126490093226, 1.0),
        (60, 100, 0.43431474794112845, 0.7514297560666052),
        (600, 1000, 0.5426917403945868, 0.6555352416365483),
    ],
)
def test_rate_bounds_agree_with_an_independent_implementation(
    failures: int, requests: int, lower: float, upper: float
) -> None:
    """The beta-binomial mixture is the published one."""
    assert (lower, upper) == pytest.approx(bernoulli_bounds(failures, requests, error_rate=0.05), abs=1e-9)


# Computed with ville 0.1.0: normal_mixture(v, alpha, best_rho(900, alpha)) / sqrt(v); best_rho minimises numerically.
@pytest.mark.parametrize(
    ("information", "error_rate", "z"), [(900, 0.05, 3.03512241), (100, 0.05, 3.73053125), (5000, 0.02, 3.47731846)]
)
def test_mixture_boundary_agrees_with_an_independent_implementation(
    information: float, error_rate: float, z: float
) -> None:
    """The normal mixture is the published one, and its tuning the best one at 900 units of information."""
    told = normal_mixture_z(information**-0.5, error_rate=error_rate, best_standard_error=1 / 30)

    assert z == pytest.approx(told, abs=1e-6)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.001, 0.4))
def test_rate_bounds_hold_the_rate_and_mirror_passes(failures: int, passes: int, error_rate: float) -> None:
    """Failures and passes may be exchanged; the observed rate is always inside; stricter bounds are wider."""
    requests = failures + passes
    lower, upper = bernoulli_bounds(failures, requests, error_rate=error_rate)
    mirrored = bernoulli_bounds(passes, requests, error_rate=error_rate)
    wider = bernoulli_bounds(failures, requests, error_rate=error_rate / 2)

    assert 0.0 <= lower <= upper <= 1.0
    assert (lower, upper) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]), abs=1e-9)
    assert wider[0] <= lower + 1e-9
    assert upper <= wider[1] + 1e-9
    assert requests == 0 or lower <= failures / requests <= upper


@given(st.floats(1e-6, 50), st.floats(0, 1e5))
def test_rate_bounds_take_fractions(failures: float, more: float) -> None:
    """Effective counts are seldom whole; bounds stay numbers between 0 and 1."""
    lower, upper = bernoulli_bounds(failures, failures + more, error_rate=0.05)

    assert 0.0 <= lower <= upper <= 1.0


def test_nothing_seen_says_nothing() -> None:
    """Without requests, or without a standard error, the bounds are the widest."""
    assert (0.0, 1.0) == bernoulli_bounds(0, 0, error_rate=0.05)
    assert (-math.inf, math.inf) == normal_mixture_bounds(0.3, 0.0, error_rate=0.05, best_standard_error=0.03)


@given(st.floats(-1, 1), st.floats(1e-4, 1), st.floats(0.001, 0.4))
def test_asymptotic_bounds_are_symmetric_and_nested(estimate: float, error: float, error_rate: float) -> None:
    """Bounds lie as far below as above the estimate, further than a single look's, and widen with strictness."""
    lower, upper = normal_mixture_bounds(estimate, error, error_rate=error_rate, best_standard_error=0.03)
    wider, _ = normal_mixture_bounds(estimate, error, error_rate=error_rate / 2, best_standard_error=0.03)

    assert upper - estimate == pytest.approx(estimate - lower)
    assert wider < lower < estimate


def test_rate_bounds_hold_over_all_looks() -> None:
    """At a nominal 5 %, the true rate is ever outside in at most 5 % of runs (33 of 400 at a chance of 0.1 %)."""
    rng = np.random.default_rng(20)
    failures = (rng.random((RUNS, LOOKS, 10)) < 0.3).sum(axis=2).cumsum(axis=1)
    misses = 0
    for run in failures:
        bounds = [bernoulli_bounds(int(f), 10 * (look + 1), error_rate=0.05) for look, f in enumerate(run)]
        misses += any(not lower <= 0.3 <= upper for lower, upper in bounds)

    assert misses <= most_expected(0.05)


def test_asymptotic_bounds_hold_over_all_looks() -> None:
    """A difference of two means without a cause is ever shown in at most 5 % of runs, on both sides together."""
    rng = np.random.default_rng(21)
    counts = 50 * np.arange(1, LOOKS + 1)
    rates = (rng.binomial(50, 0.3, (2, RUNS, LOOKS)).cumsum(axis=2)) / counts
    errors = np.sqrt((rates * (1 - rates)).sum(axis=0) / counts)
    z = np.vectorize(lambda error: normal_mixture_z(error, error_rate=0.05, best_standard_error=0.03))(errors)
    misses = int((np.abs(rates[1] - rates[0]) > z * errors).any(axis=1).sum())

    assert misses <= most_expected(0.05)


def test_bounds_of_a_single_look_do_not_hold_over_all_looks() -> None:
    """The same runs under the usual 1.96 standard errors err far more often: the test above can fail."""
    rng = np.random.default_rng(21)
    counts = 50 * np.arange(1, LOOKS + 1)
    rates = (rng.binomial(50, 0.3, (2, RUNS, LOOKS)).cumsum(axis=2)) / counts
    errors = np.sqrt((rates * (1 - rates)).sum(axis=0) / counts)

    assert (np.abs(rates[1] - rates[0]) > 1.96 * errors).any(axis=1).sum() > most_expected(0.05)


def test_planted_difference_is_shown() -> None:
    """10 points between 500 requests of each arm, seen at 4.4 standard errors."""
    error = math.sqrt(0.3 * 0.7 / 900 + 0.4 * 0.6 / 900)
    lower, _ = normal_mixture_bounds(0.10, error, error_rate=0.05, best_standard_error=0.03)

    assert 0.0 < lower < 0.10


def test_evidence_for_a_rise_is_an_e_value() -> None:
    """Without a rise, evidence of 20 is ever reached in at most 5 % of runs, though the arms grow unevenly."""
    rng = np.random.default_rng(22)
    baseline = rng.binomial(7, 0.4, (RUNS, LOOKS)).cumsum(axis=1)
    candidate = rng.binomial(2, 0.4, (RUNS, LOOKS)).cumsum(axis=1)
    alarms = 0
    for before, after in zip(baseline, candidate, strict=True):
        evidence = [
            rate_rise_log_e_value(
                baseline_failures=int(b),
                baseline_requests=7 * (look + 1),
                candidate_failures=int(c),
                candidate_requests=2 * (look + 1),
            )
            for look, (b, c) in enumerate(zip(before, after, strict=True))
        ]
        alarms += max(evidence) >= math.log(20)

    assert alarms <= most_expected(0.05)


def test_evidence_for_a_rise_grows_with_a_rise_only() -> None:
    """A rise from 30 % to 50 % on 300 requests each is convincing; a fall speaks against a rise; nothing is neutral."""

    def evidence(before: int, after: int, requests: int = 300) -> float:
        return rate_rise_log_e_value(
            baseline_failures=before,
            baseline_requests=requests,
            candidate_failures=after,
            candidate_requests=requests,
        )

    assert evidence(90, 150) > math.log(100)
    assert evidence(150, 90) < 0
    assert evidence(0, 0, requests=0) == 0
