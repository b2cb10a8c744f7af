"""Forecasts of how many more requests a rollout needs."""

from __future__ import annotations

import numpy as np
import pytest

from bench.rollout_streams import Truth, simulate
from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cohort, Comparison, Stratum, TiersBy
from monitor.rollout.judging import judge
from monitor.rollout.measurement import Measurement
from monitor.rollout.needed import is_beyond_baseline, too_small
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Verdict, VerdictState

POLICY = Policy()


def judged(
    baseline: tuple[int, int], candidate: tuple[int, int], comparison: Comparison = Comparison.CONCURRENT
) -> Verdict:
    """Arms as (requests, failures), without tiers."""
    arms = [
        Arm("version", [Stratum(Tier.UNTIERED, "any", 0, False, n, n, f, 0.0, 0.0)]) for n, f in (baseline, candidate)
    ]
    cohort = Cohort(arms[0], arms[1], "", TiersBy.NONE, comparison)
    return judge(cohort, None, POLICY, previous=None)


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        pytest.param(0.10, 0.10, VerdictState.OK, id="nothing changed"),
        pytest.param(0.10, 0.06, VerdictState.OK, id="it got better"),
        pytest.param(0.10, 0.17, VerdictState.REGRESSION, id="it got worse"),
        pytest.param(0.00, 0.00, VerdictState.OK, id="nothing ever fails"),
        pytest.param(0.10, 0.131, VerdictState.REGRESSION, id="as much worse as the margin"),
    ],
)
def test_so_many_more_requests_end_the_waiting(before: float, after: float, ends: VerdictState) -> None:
    """At the present rates, what is forecast is about what it takes, and it takes that to an end."""
    n = 200
    waiting = judged((n, round(n * before)), (n, round(n * after)))
    assert VerdictState.WAITING is waiting.state
    asked = [waiting.requests_needed]
    while (verdict := judged((n, round(n * before)), (n, round(n * after)))).state is VerdictState.WAITING:
        asked.append(verdict.requests_needed)
        n += max(verdict.requests_needed, 1)

    assert ends is verdict.state
    assert len(asked) <= 3
    assert verdict.requests_needed == 0
    assert n == pytest.approx(200 + asked[0], rel=0.05)


def test_a_baseline_that_serves_no_more_does_not_grow_with_the_candidate() -> None:
    """What is forecast after a cutover is enough; with too few requests before it nothing is, and that is said."""
    old, new = (2_400, 240), (1_000, 100)
    waiting = judged(old, new, Comparison.BEFORE_AFTER)
    enough = 1_000 + waiting.requests_needed
    too_few = judged((300, 30), (5_000, 500), Comparison.BEFORE_AFTER)
    below_minimum = judged((150, 0), (50_000, 0), Comparison.BEFORE_AFTER)

    assert VerdictState.WAITING is waiting.state
    assert waiting.requests_needed > judged(old, new).requests_needed
    assert VerdictState.OK is judged(old, (int(1.3 * enough), int(0.13 * enough)), Comparison.BEFORE_AFTER).state
    for verdict, number in ((too_few, 300), (below_minimum, 150)):
        assert verdict.requests_needed == 0
        assert verdict.obstacles[0].startswith(f"The baseline's {number} labelled requests are too few")


@pytest.mark.parametrize(("per_hour", "days", "is_beyond"), [(40, 1, False), (40, 3, False), (5, 3, True)])
def test_earlier_hours_of_the_week_still_come_in_after_a_cutover(per_hour: int, days: int, *, is_beyond: bool) -> None:
    """On the first day, only one weekday of the baseline counts: too early to say that it has too few requests."""
    old, new = (
        Arm(name, [Stratum(Tier.UNTIERED, "any", 0, False, n, n, n // 5, 0.0, 0.0, block=hour) for hour in hours])
        for name, n, hours in (("old", per_hour, range(168)), ("new", per_hour, range(168, 168 + 24 * days)))
    )
    measurement = Measurement(Cohort(old, new, "", TiersBy.NONE, Comparison.BEFORE_AFTER), None, POLICY)

    assert is_beyond is is_beyond_baseline(measurement, POLICY)


def test_nothing_seen_needs_the_minimum() -> None:
    """Before the first request the forecast is the minimum of labelled requests."""
    empty = Cohort(Arm("old", []), Arm("new", []), "")

    verdict = judge(empty, None, POLICY, previous=None)

    assert POLICY.min_labelled_requests == verdict.requests_needed


def test_a_young_rollout_after_a_cutover_asks_for_a_sane_number() -> None:
    """With less than the minimum of labels the estimate is too rough to say that nothing will do."""
    assert 0 < judged((300, 30), (163, 18), Comparison.BEFORE_AFTER).requests_needed < 100_000


def test_hard_requests_that_one_arm_lacks_are_asked_for_until_that_is_an_obstacle() -> None:
    """The baseline declares 10 of its requests hard. Of 4,000 more the candidate would have 20, or it gets none."""
    counts = {Tier.EASY: (3_990, 39), Tier.HARD: (10, 5)}
    said = []
    for times in (1, 2):
        strata = [Stratum(t, "any", 0, False, times * n, times * n, times * f, 0, 0) for t, (n, f) in counts.items()]
        easy = [Stratum(Tier.EASY, "any", 0, False, times * 4_000, times * 4_000, times * 40, 0, 0)]
        cohort = Cohort(Arm("old", strata), Arm("new", easy), "", TiersBy.DECLARED)
        said.append(judge(cohort, None, POLICY, previous=None))

    assert [4_000, 0] == [verdict.requests_needed for verdict in said]
    assert "There is nothing to compare on the hard tier" in said[1].obstacles[0]


def test_forecast_shrinks_as_requests_arrive() -> None:
    """Over a rollout that changed nothing, the forecast falls to 0 with `ok`."""
    verdict: Verdict | None = None
    needed = []
    no_change = Truth(candidate_rate=Truth(candidate_rate=np.zeros(4)).baseline_rate)
    for cohort in simulate(no_change, looks=60, per_look=150, rng=np.random.default_rng(1)).cohorts():
        verdict = judge(cohort, None, POLICY, previous=verdict)
        needed.append(verdict.requests_needed)

    assert verdict is not None
    assert VerdictState.OK is verdict.state
    assert 0 == needed[-1]
    assert needed[0] > 1_000


def test_what_is_needed_by_a_tiny_canary_is_told_by_the_day() -> None:
    """One label a day is one, in the singular."""
    cohort = Cohort(
        Arm("old", [Stratum(Tier.UNTIERED, "any", 0, False, 90, 90, 9, 0.0, 0.0)]),
        Arm("new", [Stratum(Tier.UNTIERED, "any", 0, False, 10, 10, 1, 0.0, 0.0)]),
        "",
    )

    told = too_small(cohort, POLICY, needed=5_000, seconds=10 * 86_400.0)

    assert told is not None
    assert "10 % of the traffic, about 1 labelled request a day: the 5,000 still needed take 5,000 days" in told
