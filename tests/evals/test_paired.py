from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from monitor.evals.comparison import (
    Rates,
    exact_p_value,
    holm,
    paired_change,
    pass_rate,
    score_interval,
    simultaneous,
)

COUNTS = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda counts: sum(counts) > 0)


def from_counts(both: int, before_only: int, after_only: int, neither: int) -> tuple[Rates, Rates]:
    before = np.array([1.0] * (both + before_only) + [0.0] * (after_only + neither))
    after = np.array([1.0] * both + [0.0] * before_only + [1.0] * after_only + [0.0] * neither)
    ones = np.ones(len(before), dtype=np.int64)
    return Rates(before, ones), Rates(after, ones)


def repeated(before: list[list[int]], after: list[list[int]]) -> tuple[Rates, Rates]:
    old, new = (
        Rates(np.array([np.mean(tries) for tries in run]), np.array([len(tries) for tries in run]))
        for run in (before, after)
    )
    return old, new


def method_10(both: int, before_only: int, after_only: int, neither: int) -> tuple[float, float]:
    """Newcombe's method 10 on the counts of a 2 x 2 table, as his paper writes it."""
    n = both + before_only + after_only + neither
    before, after = (both + before_only) / n, (both + after_only) / n
    z = norm.ppf(0.975)

    def score(p: float) -> tuple[float, float]:
        half = z * math.sqrt(z * z + 4 * n * p * (1 - p))
        return (2 * n * p + z * z - half) / (2 * (n + z * z)), (2 * n * p + z * z + half) / (2 * (n + z * z))

    (l1, u1), (l2, u2) = score(before), score(after)
    product = (both + before_only) * (after_only + neither) * (both + after_only) * (before_only + neither)
    excess = both * neither - before_only * after_only
    excess = max(excess - n / 2, 0) if excess > 0 else excess
    phi = excess / math.sqrt(product) if product else 0.0
    lower = math.sqrt((after - l2) ** 2 - 2 * phi * (after - l2) * (u1 - before) + (u1 - before) ** 2)
    upper = math.sqrt((u2 - after) ** 2 - 2 * phi * (u2 - after) * (before - l1) + (before - l1) ** 2)
    return after - before - lower, after - before + upper


def test_published_interval_of_a_paired_table() -> None:
    """
    Airway hyper-responsiveness before and after a transplantation gives the published interval.

    Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850, Newcombe's square-and-add interval of the
    table (1, 1, 7, 12): -0.507 to -0.026, there as before minus after.
    """
    change = paired_change(*from_counts(1, 1, 7, 12), confidence=0.95)

    assert (0.286, 0.026, 0.507) == tuple(round(value, 3) for value in (change.estimate, change.lower, change.upper))


@given(COUNTS)
def test_cases_asked_once_give_method_10_of_the_table(counts: tuple[int, int, int, int]) -> None:
    """Rates of single attempts give the interval of the 2 x 2 table, computed from its counts."""
    change = paired_change(*from_counts(*counts), confidence=0.95)

    assert method_10(*counts) == pytest.approx((change.lower, change.upper), abs=1e-9)


@given(COUNTS)
def test_exact_p_value_of_cases_asked_once_is_mcnemars(counts: tuple[int, int, int, int]) -> None:
    """Single attempts give the binomial test of the cases that changed sides."""
    _, before_only, after_only, _ = counts
    expected = binomtest(before_only, before_only + after_only).pvalue if before_only + after_only else 1.0

    assert expected == pytest.approx(exact_p_value(*from_counts(*counts)), abs=1e-12)


@given(COUNTS)
def test_swapping_the_runs_mirrors_the_change(counts: tuple[int, int, int, int]) -> None:
    """What one run gains is what the other loses."""
    both, before_only, after_only, neither = counts
    forth, back = from_counts(*counts), from_counts(both, after_only, before_only, neither)
    one, other = paired_change(*forth, confidence=0.9), paired_change(*back, confidence=0.9)

    assert (-one.upper, -one.lower) == pytest.approx((other.lower, other.upper), abs=1e-12)
    assert exact_p_value(*forth) == pytest.approx(exact_p_value(*back), abs=1e-12)


@given(st.integers(1, 200), st.data())
def test_score_interval_is_scipys(cases: int, data: st.DataObject) -> None:
    """The interval of one pass rate is Wilson's."""
    passed = data.draw(st.integers(0, cases))
    expected = binomtest(passed, cases).proportion_ci(0.95, method="wilson")
    interval = score_interval(passed / cases, cases, confidence=0.95)

    assert (expected.low, expected.high) == pytest.approx((interval.lower, interval.upper), abs=1e-9)


def test_sign_flips_of_repeated_cases_are_counted_exactly() -> None:
    """With repeats the p-value is the share of all sign patterns with a change at least as large."""
    before, after = repeated(
        [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1], [0, 0, 0]], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1], [0, 0, 0]]
    )
    difference = after.passing - before.passing
    sums = [
        sum(s * d for s, d in zip(signs, difference, strict=True)) for signs in itertools.product((1, -1), repeat=5)
    ]
    expected = np.mean([abs(each) >= abs(difference.sum()) - 1e-9 for each in sums])

    assert expected == pytest.approx(exact_p_value(before, after), abs=1e-12)


def test_repeats_that_always_agree_tell_no_more_than_one() -> None:
    """Ten epochs of a model that never varies leave the bounds of a single epoch."""
    once = from_counts(20, 4, 9, 7)
    ten = [Rates(rates.passing, rates.attempts * 10) for rates in once]

    assert paired_change(*once, confidence=0.95).lower == pytest.approx(
        paired_change(*ten, confidence=0.95).lower, abs=0.005
    )
    assert exact_p_value(*once) == pytest.approx(exact_p_value(*ten))


def test_repeats_that_vary_narrow_the_bounds() -> None:
    """Where each epoch is a fresh draw, ten of them tell more than one."""
    rates, attempts = np.full(50, 0.5), np.full(50, 10)
    rates[:25] += 0.1
    rates[25:] -= 0.1
    narrow = pass_rate(Rates(rates, attempts), confidence=0.95)
    wide = score_interval(0.5, 50, confidence=0.95)

    assert narrow.upper - narrow.lower < 0.5 * (wide.upper - wide.lower)


def test_holm_raises_the_smallest_most() -> None:
    """Adjusted values keep their order and never exceed 1."""
    assert {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.9} == pytest.approx(
        dict(holm({"a": 0.0075, "b": 0.02, "c": 0.025, "d": 0.9}))
    )


def test_bounds_of_several_questions_are_wider() -> None:
    """Four questions at 95 % together need 98.75 % each."""
    assert 0.9875 == pytest.approx(simultaneous(0.95, 4))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "both", "cases"),
    [(0.9, 0.96, 0.89, 60), (0.4, 0.45, 0.33, 100), (0.98, 0.99, 0.975, 300)],
    ids=["a middling tier", "a hard tier", "a saturated tier"],
)
def test_bounds_cover_the_true_change(before: float, after: float, both: float, cases: int) -> None:
    """
    Over 4,000 suites drawn from known rates, the 95 % bounds hold the true change about as often as they promise.

    Chance moves the share by 4 standard errors of 0.0034 = 0.014 at most; method 10 itself stays between 93 and 99.5 %
    at such rates (Newcombe 1998, table III, gives a mean of 95 % and a least of 93.5 %).
    """
    random = np.random.default_rng(9)
    cells = random.multinomial(cases, [both, before - both, after - both, 1 - before - after + both], size=4_000)
    covered = 0
    for table in cells:
        change = paired_change(*from_counts(*table.tolist()), confidence=0.95)
        covered += change.lower <= after - before <= change.upper

    assert 0.93 - 0.014 < covered / len(cells) < 0.995 + 0.005


@pytest.mark.slow
def test_bounds_of_repeated_cases_cover_the_true_change() -> None:
    """Cases of unlike difficulty, four epochs each: clustering does not make the bounds too narrow (as above)."""
    random = np.random.default_rng(10)
    covered, suites = 0, 2_000
    # Each case passes with a chance of its own, and the candidate gains the same logit everywhere.
    nodes = random.normal(0.5, 2.0, size=(200_000,))
    truth = float((1 / (1 + np.exp(-(nodes + 0.5)))).mean() - (1 / (1 + np.exp(-nodes))).mean())
    for _ in range(suites):
        logit = random.normal(0.5, 2.0, size=60)
        before = random.binomial(4, 1 / (1 + np.exp(-logit))) / 4
        after = random.binomial(4, 1 / (1 + np.exp(-(logit + 0.5)))) / 4
        fours = np.full(60, 4)
        change = paired_change(Rates(before, fours), Rates(after, fours), confidence=0.95)
        covered += change.lower <= truth <= change.upper

    # 4 standard errors of 0.0049 are 0.02.
    assert 0.93 - 0.02 < covered / suites
