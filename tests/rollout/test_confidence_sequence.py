"""Bounds that hold at every look: values, algebra, false alarms, power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from monitor.rollout.confidence_sequence import (
    Counts,
    bernoulli_bounds,
    change_bounds,
    differ,
    mixture_log_e_value,
    mixture_z,
    normal_bounds,
    rise_log_e_value,
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


@pytest.mark.parametrize("requests", [0, -1.0])
def test_without_requests_any_rate_is_possible(requests: float) -> None:
    """Nothing seen rules nothing out, and is no error."""
    assert (0.0, 1.0) == bernoulli_bounds(0.0, requests, error_rate=0.05)


def test_a_part_of_a_request_counts() -> None:
    """Effective counts are seldom whole: half a request and a twentieth of a failure say something already."""
    assert bernoulli_bounds(0.5, 0.5, error_rate=0.05)[0] > 0.0
    assert bernoulli_bounds(0.05, 100.0, error_rate=0.05)[0] > bernoulli_bounds(0.0, 100.0, error_rate=0.05)[0]


def test_counts_shrink_by_the_design_effect() -> None:
    """Requests that are alike in fours say as much as a quarter of them, at the same rate."""
    assert Counts(25.0, 5.0) == Counts(100.0, 20.0).shrunk(4.0)


@pytest.mark.parametrize(("rate", "failures"), [(0.0, 20.0), (0.05, 15.0), (0.2, 0.0), (0.5, 0.0)])
def test_failures_that_are_taken_away_leave_at_least_none(rate: float, failures: float) -> None:
    """A margin is granted to every request, and no arm ever has fewer than no failures."""
    left = Counts(100.0, 20.0).with_fewer_failures(rate)

    assert (100.0, pytest.approx(failures)) == (left.requests, left.failures)


def test_arms_that_fail_alike_speak_against_a_rise() -> None:
    """Without any difference the deviate is 0, and what is left is the price of looking for a rise."""
    rate = 40.5 / 201
    information = 0.75**2 * rate * (1 - rate) * 100 * 100 / 200

    value = rise_log_e_value(Counts(100.0, 20.0), Counts(100.0, 20.0))

    assert -0.5 * math.log1p(information) == pytest.approx(value)


# Computed with ville 0.1.0: normal_mixture(v, alpha, rho) / sqrt(v) at information v / rho, two-sided alpha = 2 level.
@pytest.mark.parametrize(
    ("information", "level", "z"), [(1.0, 0.025, 3.6637), (8.0, 0.025, 3.0352), (100.0, 0.0075, 3.6272)]
)
def test_mixture_boundary_has_its_published_values(information: float, level: float, z: float) -> None:
    """Half of the two-sided level of the normal mixture lies on either side."""
    expected = math.sqrt((1 + 1 / information) * math.log((1 + information) / (2 * level) ** 2))

    assert expected == pytest.approx(mixture_z(information, level=level))
    assert z == pytest.approx(expected, abs=0.02)


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
    """Without requests the bounds are the widest."""
    assert (0.0, 1.0) == bernoulli_bounds(0, 0, error_rate=0.05)


@given(st.floats(-1, 1), st.floats(1e-4, 1), st.floats(0.001, 0.4))
def test_asymptotic_bounds_are_symmetric_and_nested(estimate: float, error: float, level: float) -> None:
    """Bounds lie as far below as above the estimate, and widen with strictness."""
    lower, upper = normal_bounds(estimate, error, level=level, scale=0.1)
    wider, _ = normal_bounds(estimate, error, level=level / 2, scale=0.1)

    assert upper - estimate == pytest.approx(estimate - lower)
    assert wider < lower < estimate


counts = st.builds(lambda failures, passes: Counts(failures + passes, failures), st.floats(0, 500), st.floats(0.1, 500))


@given(counts, counts)
def test_change_bounds_hold_the_change_and_mirror_the_arms(one: Counts, other: Counts) -> None:
    """The measured change is inside, within -1 to 1, and arms exchanged turn the bounds around."""
    lower, upper = change_bounds(one, other, lower_level=0.01, upper_level=0.01)
    mirrored = change_bounds(other, one, lower_level=0.01, upper_level=0.01)

    assert -1 - 1e-9 <= lower <= other.rate - one.rate <= upper <= 1 + 1e-9
    assert (-upper, -lower) == pytest.approx(mirrored, abs=1e-6)


def alarms(rates: tuple[float, float], sizes: tuple[int, int], *, margin: float, level: float) -> tuple[int, int]:
    """Runs in which the lower bound ever passes the margin, and in which the upper one ever falls below it."""
    rng = np.random.default_rng(20)
    failures = [rng.binomial(n, rate, (RUNS, LOOKS)).cumsum(axis=1) for n, rate in zip(sizes, rates, strict=True)]
    above = below = 0
    for before, after in zip(*failures, strict=True):
        bounds = [
            change_bounds(
                Counts(sizes[0] * (look + 1), int(before[look])),
                Counts(sizes[1] * (look + 1), int(after[look])),
                lower_level=level,
                upper_level=level,
            )
            for look in range(0, LOOKS, 2)
        ]
        above += any(lower > margin for lower, _ in bounds)
        below += any(upper < margin for _, upper in bounds)
    return above, below


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "sizes", "margin"),
    [
        pytest.param((0.02, 0.02), (990, 10), 0.0, id="few failures, canary 1 %"),
        pytest.param((0.98, 0.98), (990, 10), 0.0, id="few passes, canary 1 %"),
        pytest.param((0.5, 0.5), (10, 10), 0.0, id="even"),
        pytest.param((0.6, 0.7), (90, 10), 0.1, id="as much worse as the margin, canary 10 %"),
        pytest.param((0.02, 0.05), (20, 20), 0.03, id="as much worse as the margin, few failures"),
    ],
)
def test_change_bounds_hold_over_all_looks(rates: tuple[float, float], sizes: tuple[int, int], margin: float) -> None:
    """From the first request on, at any rate and allocation, a bound is ever wrong at most at its level."""
    above, below = alarms(rates, sizes, margin=margin, level=0.05)

    assert max(above, below) <= most_expected(0.05)


def test_rate_bounds_hold_over_all_looks() -> None:
    """At a nominal 5 %, the true rate is ever outside in at most 5 % of runs (33 of 400 at a chance of 0.1 %)."""
    rng = np.random.default_rng(20)
    failures = (rng.random((RUNS, LOOKS, 10)) < 0.3).sum(axis=2).cumsum(axis=1)
    misses = 0
    for run in failures:
        bounds = [bernoulli_bounds(int(f), 10 * (look + 1), error_rate=0.05) for look, f in enumerate(run)]
        misses += any(not lower <= 0.3 <= upper for lower, upper in bounds)

    assert misses <= most_expected(0.05)


def test_planted_difference_is_shown() -> None:
    """10 points between 1,000 requests of each arm."""
    lower, upper = change_bounds(Counts(1000, 300), Counts(1000, 400), lower_level=0.01, upper_level=0.01)

    assert 0.0 < lower < 0.10 < upper < 0.20


@pytest.mark.parametrize("requests", [1, 50, 4_000])
def test_bounds_where_one_arm_always_fails_and_the_other_never(requests: int) -> None:
    """The likelihood of all failures, rate ** n, falls by half the squared deviation at one rate, known exactly."""
    information = 0.75**2 * 0.25 * requests / 2  # a pooled rate of one half
    exact = 1 - math.exp(-(mixture_z(information, level=0.01) ** 2) / (2 * requests))

    lower, upper = change_bounds(Counts(requests, 0), Counts(requests, requests), lower_level=0.01, upper_level=0.01)

    assert (1 - math.hypot(exact, exact), 1.0) == pytest.approx((lower, upper), abs=1e-8)


def test_evidence_for_a_rise_grows_with_a_rise_only() -> None:
    """A rise from 30 % to 50 % on 300 requests each is convincing; a fall speaks against a rise; nothing is neutral."""
    assert rise_log_e_value(Counts(300, 90), Counts(300, 150)) > math.log(100)
    assert rise_log_e_value(Counts(300, 150), Counts(300, 90)) < 0
    assert rise_log_e_value(Counts(1, 0), Counts(1, 0)) == pytest.approx(0.0, abs=0.1)


def test_evidence_is_that_of_the_mixture_integral() -> None:
    """The closed form is the integral of the likelihood ratio over the half-normal mixture."""
    z, information = 2.5, 3.0
    effects = np.linspace(0, 12, 20_001) * math.sqrt(information)
    density = 2 * np.exp(-0.5 * effects**2 / information) / math.sqrt(2 * math.pi * information)
    expected = math.log(np.trapezoid(density * np.exp(effects * z - effects**2 / 2), effects))

    assert expected == pytest.approx(mixture_log_e_value(z, information), abs=1e-6)


def test_evidence_for_a_rise_is_an_e_value() -> None:
    """Without a rise, evidence of 20 is ever reached in at most 5 % of runs, though the arms grow unevenly."""
    rng = np.random.default_rng(22)
    baseline = rng.binomial(7, 0.4, (RUNS, LOOKS)).cumsum(axis=1)
    candidate = rng.binomial(2, 0.4, (RUNS, LOOKS)).cumsum(axis=1)
    alarms = 0
    for before, after in zip(baseline, candidate, strict=True):
        evidence = [
            rise_log_e_value(Counts(7 * (look + 1), int(b)), Counts(2 * (look + 1), int(c)))
            for look, (b, c) in enumerate(zip(before, after, strict=True))
        ]
        alarms += max(evidence) >= math.log(20)

    assert alarms <= most_expected(0.05)


@pytest.mark.parametrize(
    ("baseline", "candidate", "expected"),
    [
        (Counts(500, 20), Counts(500, 200), True),
        (Counts(500, 200), Counts(500, 20), True),
        (Counts(100, 30), Counts(1000, 30), True),
        (Counts(500, 50), Counts(500, 52), False),
        (Counts(0, 0), Counts(500, 200), False),
        (Counts(500, 200), Counts(0, 0), False),
        (Counts(500, 0), Counts(500, 0), False),
    ],
    ids=[
        "a rise",
        "a fall",
        "as many failures of more requests",
        "nearly equal",
        "no baseline",
        "no candidate",
        "no failure",
    ],
)
def test_rates_that_are_shown_to_differ(baseline: Counts, candidate: Counts, *, expected: bool) -> None:
    """In both directions; an arm without requests, or two without failures, show nothing."""
    assert differ(baseline, candidate, level=0.05) is expected
