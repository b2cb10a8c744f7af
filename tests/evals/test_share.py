from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.optimize import brentq

from monitor.difficulty.tiers import Tier
from monitor.evals.cases import UNGRADED, Attempt, CaseKey, Grade, Pair, pair_runs, runs_of
from monitor.evals.comparison import measure_share
from tests.evals.suites import pairs_of

SEED = [
    (Tier.EASY, 1, 1, 588),
    (Tier.EASY, 0, 1, 6),
    (Tier.EASY, 0, 0, 6),
    (Tier.MEDIUM, 1, 1, 270),
    (Tier.MEDIUM, 0, 1, 18),
    (Tier.MEDIUM, 0, 0, 12),
    (Tier.HARD, 1, 1, 40),
    (Tier.HARD, 0, 1, 5),
    (Tier.HARD, 0, 0, 55),
]


def test_share_of_the_seed_arithmetic() -> None:
    """60 of 102 failures are hard before, 55 of 73 after."""
    share = measure_share(pairs_of(SEED), confidence=0.95)
    assert share is not None

    assert (60 / 102, 55 / 73) == pytest.approx((share.baseline.estimate, share.candidate.estimate))


def test_uniform_gain_is_the_same_gain_in_logits_for_every_tier() -> None:
    """Solved by hand for the seed arithmetic: one shift of all three tiers' logits that gives 73 failures."""
    mix, rate = np.array([600, 300, 100]), np.array([0.02, 0.10, 0.60])
    logit = np.log(rate / (1 - rate))

    def failures(shift: float) -> np.ndarray:
        return mix / (1 + np.exp(-(logit + shift)))

    shift = brentq(lambda s: failures(s).sum() - 73, -5, 5)
    expected = failures(shift)[2] / 73 - 60 / 102
    share = measure_share(pairs_of(SEED), confidence=0.95)
    assert share is not None

    assert expected == pytest.approx(share.expected_change, abs=1e-9)
    assert 55 / 73 - 60 / 102 - expected == pytest.approx(share.excess.estimate, abs=1e-9)


def test_decomposition_adds_up_to_the_change() -> None:
    """With the same cases in both runs, easier and hard tiers account for the whole change."""
    share = measure_share(pairs_of(SEED), confidence=0.95)
    assert share is not None
    assert share.decomposition is not None
    parts = share.decomposition

    assert 0.0 == pytest.approx(parts.traffic_mix)
    assert share.change.estimate == pytest.approx(parts.easier_tiers + parts.hard_tiers)


def test_a_uniform_gain_has_no_excess() -> None:
    """Where every tier gains the same in logits, the share rises and nothing is left over."""
    share = measure_share(
        pairs_of(
            [
                (Tier.EASY, 1, 1, 900),  # 10 % fail, then 5.26 %: odds are halved
                (Tier.EASY, 0, 1, 47),
                (Tier.EASY, 0, 0, 53),
                (Tier.HARD, 1, 1, 400),  # 60 % fail, then 42.9 %: odds are halved
                (Tier.HARD, 0, 1, 171),
                (Tier.HARD, 0, 0, 429),
            ]
        ),
        confidence=0.95,
    )
    assert share is not None

    assert share.change.estimate > 0.03
    assert 0.0 == pytest.approx(share.excess.estimate, abs=0.002)
    assert share.excess.lower < 0.0 < share.excess.upper


def test_without_a_failure_there_is_no_share() -> None:
    """Nothing can be shared out where a run passes every tiered case."""
    pairs = pairs_of([(Tier.EASY, 1, 1, 10), (Tier.HARD, 0, 1, 10)])

    assert measure_share(pairs, confidence=0.95) is None


def test_cases_without_a_tier_are_left_out() -> None:
    """Untiered cases change no share."""
    with_tiers = pairs_of(SEED)
    untiered = [replace(pair, grade=UNGRADED) for pair in pairs_of([(Tier.EASY, 0, 0, 50)])]

    assert measure_share(with_tiers, confidence=0.95) == measure_share([*with_tiers, *untiered], confidence=0.95)


def _rasch_pairs(random: np.random.Generator, gain: float) -> list[Pair]:
    """Cases of known difficulty on two versions; the candidate gains the same logit everywhere."""
    difficulty = random.normal(-1.5, 1.5, size=300)
    before, after = [], []
    for number, logit in enumerate(difficulty):
        for ability, attempts in ((0.0, before), (-gain, after)):
            failed = random.random() < 1 / (1 + np.exp(-(logit + ability)))
            attempts.append(Attempt(CaseKey("", str(number)), passed=not failed))
    pairs = pair_runs(runs_of(before)[""], runs_of(after)[""]).pairs
    return [
        replace(pair, grade=Grade(Tier.HARD if logit > -0.5 else Tier.EASY, float(logit)))
        for pair in pairs
        for logit in [difficulty[int(pair.key.case_id)]]
    ]


@pytest.mark.slow
def test_bounds_of_the_excess_cover_none_when_the_gain_is_uniform() -> None:
    """
    With the difficulty of each case known, 95 % bounds of the excess hold 0 about as often as they promise.

    Of 150 suites, 4 standard errors at 95 % are 0.071.
    """
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(150):
        share = measure_share(_rasch_pairs(random, 0.7), confidence=0.95)
        assert share is not None
        covered += share.excess.lower <= 0.0 <= share.excess.upper

    assert 0.95 - 0.071 < covered / 150
