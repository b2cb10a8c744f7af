"""Corrected rates and shares: unbiased where tags are noisy, and told apart from a uniform gain."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from monitor.difficulty.correction import DifficultyBin, compare_shares, measure_arm, soft_tiers, tagged_excess
from monitor.difficulty.tiers import TierCuts

Array = NDArray[np.float64]
RateOf = Callable[[Array, NDArray[np.int64]], Array]

CUTS = TierCuts(medium=-2.0, hard=0.0, frontier=2.0)
IS_HARD = np.array([False, False, True, True])
BINS = st.lists(
    st.builds(
        lambda logit, variance, known, requests, part, failing: DifficultyBin(
            logit, variance, known, requests, round(part * requests), round(failing * round(part * requests))
        ),
        st.floats(-8, 8),
        st.floats(0, 12),
        st.booleans(),
        st.integers(1, 500),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
    max_size=20,
)


def simulated(
    rate_of: RateOf, *, requests: int = 400_000, variance: float = 1.5, known: float = 1.0, seed: int = 0
) -> tuple[list[DifficultyBin], Array, float]:
    """Bins of an arm whose true difficulty is normal around what is told, and the true rate per tier."""
    rng = np.random.default_rng(seed)
    told = rng.normal(-1.0, 2.0, requests)
    true = told + rng.normal(0.0, variance**0.5, requests)
    tier = np.searchsorted([CUTS.medium, CUTS.hard, CUTS.frontier], true)
    failed = rng.random(requests) < rate_of(true, tier)
    is_known = rng.random(requests) < known
    group = 2 * np.searchsorted(np.arange(-6.0, 6.0, 0.5), told) + is_known
    bins = [
        DifficultyBin(
            float(told[member].mean()),
            variance,
            bool(index % 2),
            int(member.sum()),
            int(member.sum()),
            int(failed[member].sum()),
        )
        for index in np.unique(group)
        if (member := group == index).any()
    ]
    return bins, np.array([failed[tier == each].mean() for each in range(4)]), IS_HARD[tier][failed].mean()


def by_tier(rates: Sequence[float]) -> RateOf:
    """Failure rates that depend on the tier alone."""
    return lambda _, tier: np.asarray(rates)[tier]


def uniform(ability: float) -> RateOf:
    """Failure rates of the uniform-gain curve."""
    return lambda true, _: expit(true + ability)


def test_rates_behind_noisy_tags_are_found() -> None:
    """With plenty of requests, the corrected rates are the true ones, though a third of the tags are wrong."""
    bins, true, _ = simulated(by_tier([0.02, 0.10, 0.50, 0.95]))

    assert true == pytest.approx(measure_arm(bins, CUTS).failure_rate, abs=0.03)


def test_rates_are_the_most_likely_ones() -> None:
    """No neighbouring rates are likelier: scipy's optimiser on the same likelihood agrees."""
    bins, *_ = simulated(by_tier([0.02, 0.10, 0.50, 0.95]), requests=2_000)
    arm = measure_arm(bins, CUTS, prior_weight=5.0)
    known = [each for each in bins if each.is_known]
    tiers = soft_tiers([b.difficulty_logit for b in known], [b.difficulty_variance for b in known], CUTS)
    failures = np.array([b.failures for b in known])
    successes = np.array([b.labelled for b in known]) - failures
    curve = arm.uniform_gain_rate

    def surprise(rate: Array) -> float:
        mean = tiers @ rate
        prior = 5.0 * (curve @ np.log(rate) + (1 - curve) @ np.log(1 - rate))
        return -(failures @ np.log(mean) + successes @ np.log(1 - mean) + prior)

    best = minimize(surprise, curve, bounds=[(1e-4, 1 - 1e-4)] * 4, method="L-BFGS-B").x

    assert best == pytest.approx(arm.failure_rate, abs=2e-3)


def test_a_uniform_gain_has_no_excess() -> None:
    """The share rises as the curve says when every request gains the same logits, and the excess is nil."""
    before, _, share_before = simulated(uniform(0.0), seed=1)
    after, _, share_after = simulated(uniform(-1.5), seed=2)
    shift = compare_shares(measure_arm(before, CUTS), measure_arm(after, CUTS))

    assert share_after - share_before > 0.1
    assert share_after - share_before == pytest.approx(shift.expected_change, abs=0.01)
    assert shift.excess == pytest.approx(0.0, abs=0.02)


def test_a_cliff_has_an_excess() -> None:
    """Where only easy and medium requests gain, the share rises more than the curve says, and hard rates stay."""
    before_rates, after_rates = [0.05, 0.20, 0.60, 0.95], [0.015, 0.06, 0.60, 0.95]
    before, _, share_before = simulated(by_tier(before_rates), seed=1)
    after, _, share_after = simulated(by_tier(after_rates), seed=2)
    baseline, candidate = measure_arm(before, CUTS), measure_arm(after, CUTS)
    shift = compare_shares(baseline, candidate)

    assert share_after - share_before == pytest.approx(shift.change, abs=0.02)
    assert shift.excess > 0.05
    assert candidate.failure_rate[IS_HARD] == pytest.approx(baseline.failure_rate[IS_HARD], abs=0.03)


def test_unknown_requests_count_in_the_mix_and_not_in_the_rates() -> None:
    """Rates rest on known requests; what share of traffic a tier has rests on all."""
    known = [DifficultyBin(-3.0, 0.5, True, 100, 100, 5), DifficultyBin(1.0, 0.5, True, 100, 100, 50)]
    unknown = [DifficultyBin(1.0, 0.5, False, 300, 300, 0)]
    alone, beside = measure_arm(known, CUTS), measure_arm([*known, *unknown], CUTS)

    assert alone.failure_rate == pytest.approx(beside.failure_rate, abs=1e-3)
    assert beside.tier_mix[IS_HARD].sum() > alone.tier_mix[IS_HARD].sum() + 0.2
    assert beside.aggregate_failure_rate == pytest.approx(55 / 200)


@given(bins=BINS, other=BINS)
def test_whatever_the_counts_nothing_is_undefined(bins: list[DifficultyBin], other: list[DifficultyBin]) -> None:
    """There is a finite answer within its range, or none."""
    arms = measure_arm(bins, CUTS), measure_arm(other, CUTS)

    for arm, given_bins in zip(arms, (bins, other), strict=True):
        assert (arm is None) == (not any(each.is_known and each.labelled for each in given_bins))
        if arm is not None:
            assert arm.tier_mix.sum() == pytest.approx(1.0)
            assert ((arm.failure_rate > 0) & (arm.failure_rate < 1)).all()
            assert np.isfinite(arm.failure_rate_covariance).all()
            assert (np.diag(arm.failure_rate_covariance) > 0).all()
    if None not in arms and (shift := compare_shares(*arms)) is not None:
        assert all(np.isfinite(getattr(shift, name)) for name in shift.__slots__)
        assert 0 <= shift.baseline <= 1
        assert -1 <= shift.change <= 1


@given(bins=BINS)
def test_an_arm_against_itself_has_no_change(bins: list[DifficultyBin]) -> None:
    """The same bins in both arms change nothing, expect nothing and exceed nothing."""
    arm = measure_arm(bins, CUTS)
    if arm is None or (shift := compare_shares(arm, arm)) is None:
        return

    assert (0.0, 0.0, 0.0) == (shift.change, shift.expected_change, shift.excess)


@given(bins=BINS, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_bins_changes_nothing(bins: list[DifficultyBin], shuffle: random.Random) -> None:
    """Bins are a set."""
    mixed = list(bins)
    shuffle.shuffle(mixed)
    arms = measure_arm(bins, CUTS), measure_arm(mixed, CUTS)

    if arms[0] is not None:
        assert arms[0].failure_rate == pytest.approx(arms[1].failure_rate, abs=1e-3)


@pytest.mark.slow
def test_standard_errors_cover_the_truth() -> None:
    """Over 200 draws of 1,500 requests, nine tenths of the 90 % intervals or more hold the true change of the share."""
    rates = ([0.05, 0.20, 0.60, 0.95], [0.02, 0.10, 0.55, 0.95])
    *_, share_before = simulated(by_tier(rates[0]), seed=10_001)
    *_, share_after = simulated(by_tier(rates[1]), seed=10_002)
    held = 0
    for draw in range(200):
        before, after = (simulated(by_tier(rates[arm]), requests=1_500, seed=2 * draw + arm)[0] for arm in (0, 1))
        shift = compare_shares(measure_arm(before, CUTS), measure_arm(after, CUTS))
        held += abs(shift.change - (share_after - share_before)) <= 1.645 * shift.change_se

    assert held >= 167  # 180 less three binomial standard deviations


def test_no_failures_no_share() -> None:
    """Without a failure there is nothing to share out."""
    failing = measure_arm([DifficultyBin(0.0, 1.0, True, 50, 50, 20)], CUTS)
    flawless = measure_arm([DifficultyBin(0.0, 1.0, True, 50, 50, 0)], CUTS)

    assert compare_shares(failing, flawless) is None
    assert compare_shares(flawless, failing) is None


def tagged(slope: float, gains: tuple[float, float], *, variance: float = 1.5) -> tuple[float, float]:
    """
    The excess where log-odds of failing rise *slope* times as fast as difficulty.

    The candidate gains so many logits on requests below and above difficulty 0.
    """
    told = np.arange(-6.0, 6.0, 0.5)
    requests = np.stack((4_000 * np.exp(-((told + 1) ** 2) / 8), 1_000 * np.exp(-(told**2) / 8)))
    gain = np.where(told < 0, *gains)
    inside = told[:, None] + np.sqrt(variance) * np.linspace(-2.5, 2.5, 51)
    weight = np.exp(-(np.linspace(-2.5, 2.5, 51) ** 2) / 2)
    rates = [expit(slope * inside - 0.5 - lost[:, None]) @ weight / weight.sum() for lost in (0 * gain, gain)]
    found = tagged_excess((told, np.full_like(told, variance)), (requests, requests * np.stack(rates)), CUTS)
    assert found is not None
    return found


@pytest.mark.parametrize("slope", [1.0, 1.4])
@pytest.mark.parametrize("gain", [0.0, 0.5, 2.0])
def test_a_uniform_gain_leaves_no_excess_by_tags(slope: float, gain: float) -> None:
    """Nor where failures rise faster with difficulty than the tags say: the smaller of two excesses counts."""
    excess, error = tagged(slope, (gain, gain))

    assert excess < 0.1 * error
    assert 0 < error < 0.05


@pytest.mark.parametrize("slope", [1.0, 1.4])
def test_a_gain_that_leaves_hard_requests_is_an_excess_by_tags(slope: float) -> None:
    """Noisy tags shrink it, and do not hide it."""
    excess, error = tagged(slope, (1.5, 0.0))

    assert 4 * error < excess < 0.4


def test_harder_requests_in_one_arm_are_no_excess_by_tags() -> None:
    """A row has the same weight in both arms, and rows of one arm have none."""
    told = np.array([-3.0, 0.5, 2.0])
    requests, rate = np.array([[900.0, 100.0, 0.0], [100.0, 900.0, 500.0]]), expit(told)

    found = tagged_excess((told, np.full(3, 0.5)), (requests, requests * rate), CUTS)

    assert found is not None
    assert 0 == pytest.approx(found[0], abs=1e-9)


def test_without_a_failure_there_is_no_excess_by_tags() -> None:
    """An arm that passes everything has no failures to have a share of."""
    told, requests = np.array([-3.0, 0.5]), np.full((2, 2), 100.0)

    assert tagged_excess((told, np.full(2, 0.5)), (requests, np.array([[1.0, 50.0], [0.0, 0.0]])), CUTS) is None
