"""Canaries too small to be judged in time."""

from __future__ import annotations

import pytest

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cohort, Comparison, Stratum
from monitor.rollout.needed import too_small
from monitor.rollout.policy import Policy

DAY = 86_400.0


def a_cohort(baseline: int, candidate: int, *, comparison: Comparison = Comparison.CONCURRENT) -> Cohort:
    old, new = (
        Arm(name, [Stratum(Tier.EASY, "search", 0, True, requests, requests, 0, 0.0, 0.0)])
        for name, requests in (("v1", baseline), ("v2", candidate))
    )
    return Cohort(old, new, "", comparison=comparison)


def test_half_a_percent_is_told_which_share_would_do() -> None:
    """Five requests a day need 200 days for a thousand; fourteen times as many need fourteen."""
    assert (
        "The candidate gets 0.5 % of the traffic, about 5 labelled requests a day: "
        "the 1,000 still needed take 200 days. At 7.1 % they take 14."
    ) == too_small(a_cohort(995, 5), Policy(), needed=1_000, seconds=DAY)


def test_a_small_service_is_told_that_no_share_would_do() -> None:
    """Where all of its traffic is too little, it is said how long that would take."""
    told = too_small(a_cohort(5, 5), Policy(), needed=1_000, seconds=DAY)

    assert told is not None
    assert told.endswith("Even all of the traffic would take 100.")


@pytest.mark.parametrize(
    ("cohort", "needed"),
    [
        pytest.param(a_cohort(900, 100), 1_000, id="ten days are within the ramp"),
        pytest.param(a_cohort(995, 5), 0, id="nothing is needed any more"),
        pytest.param(a_cohort(995, 0), 1_000, id="no pace is known yet"),
        pytest.param(a_cohort(995, 5, comparison=Comparison.BEFORE_AFTER), 1_000, id="the candidate serves alone"),
    ],
)
def test_nothing_is_said_where_time_or_numbers_suffice(cohort: Cohort, needed: int) -> None:
    """Of a canary that will be judged in time."""
    assert too_small(cohort, Policy(), needed=needed, seconds=DAY) is None
