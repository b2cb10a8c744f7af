"""Hours in which one arm was down alone are one failure, not many."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cohort, Stratum, TiersBy
from monitor.rollout.judging import judge
from monitor.rollout.outages import outages
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Verdict, VerdictState

HOURS = 48
EASY, HARD = (200, 4), (20, 10)
DOWN = {Tier.EASY: (200, 200), Tier.HARD: (20, 20)}


def strata(*, down: range = range(0), then: dict[Tier, tuple[int, int]] = DOWN) -> list[Stratum]:
    """Two days of easy and hard requests, but what *then* says in the hours *down*."""
    usual = {Tier.EASY: EASY, Tier.HARD: HARD}
    return [
        Stratum(tier, "any", 0, False, n, n, failures, 0, 0, block=hour)
        for hour in range(HOURS)
        for tier, (n, failures) in (then if hour in down else usual).items()
    ]


def judged(baseline: list[Stratum], candidate: list[Stratum]) -> Verdict:
    return judge(
        Cohort(Arm("old", baseline), Arm("new", candidate), "", TiersBy.DECLARED), None, Policy(), previous=None
    )


def of_baseline(
    baseline: list[Stratum], candidate: list[Stratum], *, design_effect: float = 1.0
) -> Mapping[int, float]:
    cohort = Cohort(Arm("old", baseline), Arm("new", candidate), "", TiersBy.DECLARED)
    return outages(cohort, (design_effect, design_effect))[0]


@pytest.mark.parametrize("hours", [range(10, 11), range(10, 13), range(40, 48)], ids=len)
def test_an_outage_of_the_baseline_alone_is_left_out(hours: range) -> None:
    """Without its hours nothing changed; with them the candidate seems to have gained on easy requests alone."""
    verdict = judged(strata(down=hours), strata())

    assert VerdictState.OK == verdict.state
    assert f"{220 * len(hours):,} of the baseline's failures came in" in " ".join(verdict.reasons)
    assert "left out in both arms" in " ".join(verdict.reasons)


def test_an_outage_of_the_baseline_hides_no_rise() -> None:
    """Its failures would make up for those that the candidate has more."""
    worse = [
        s if s.tier is Tier.HARD else Stratum(s.tier, "any", 0, False, 200, 200, 16, 0, 0, s.block) for s in strata()
    ]

    assert VerdictState.REGRESSION == judged(strata(down=range(10, 13)), worse).state


def test_an_outage_of_the_candidate_counts_and_is_said() -> None:
    """Whether its model or its provider was down, its users met it."""
    verdict = judged(strata(), strata(down=range(10, 13)))

    assert VerdictState.REGRESSION == verdict.state
    assert "660 of the candidate's failures came in 3 hours in which it alone failed nearly everything" in " ".join(
        verdict.reasons
    )


@pytest.mark.parametrize(
    ("then", "elsewhere"),
    [
        pytest.param(DOWN, DOWN, id="both arms were down"),
        pytest.param(DOWN, {Tier.EASY: (220, 209)}, id="both arms were down, and one passed a few by chance"),
        pytest.param({Tier.HARD: (200, 100)}, {Tier.HARD: (200, 100)}, id="a night of hard requests"),
        pytest.param({Tier.HARD: (200, 100)}, {Tier.EASY: (20, 0)}, id="hard requests of the baseline alone"),
        pytest.param({Tier.EASY: (3, 3)}, {Tier.EASY: (200, 4)}, id="hardly a request"),
    ],
)
def test_what_is_no_outage(then: dict[Tier, tuple[int, int]], elsewhere: dict[Tier, tuple[int, int]]) -> None:
    """Harder requests, or too few to tell, are what the arm serves."""
    hours = range(10, 13)

    assert {} == of_baseline(strata(down=hours, then=then), strata(down=hours, then=elsewhere))


def test_an_arm_that_is_half_down_leaves_the_other_alone() -> None:
    """With more than half of its usual passes, the other arm was not down."""
    hours = range(10, 11)
    half, fewer = ({Tier.EASY: (200, failures)} for failures in (106, 110))

    assert {10: 220} == of_baseline(strata(down=hours), strata(down=hours, then=half))
    assert {} == of_baseline(strata(down=hours), strata(down=hours, then=fewer))


def test_an_arm_that_is_often_down_is_so() -> None:
    """With more than a third of its hours, nothing tells which are the usual ones."""
    often = range(HOURS // 3 + 1)

    assert {} == of_baseline(strata(down=often), strata())


def test_requests_of_few_users_tell_no_outage() -> None:
    """Requests of one user fail together without any outage."""
    arms = strata(down=range(10, 11)), strata()

    assert {10: 220} == of_baseline(*arms)
    assert {} == of_baseline(*arms, design_effect=220.0)


def test_an_arm_without_labels_has_none() -> None:
    """A rollout that has just begun has no hour."""
    assert {} == of_baseline([], strata())
