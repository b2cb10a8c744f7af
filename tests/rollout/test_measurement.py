"""From strata to rates: which requests count, and what bounds are made of."""

from __future__ import annotations

import numpy as np
import pytest

from bench.rollout_streams import ArmStream, known_tiers
from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cohort, Comparison, Stratum, TierGroup, TiersBy
from monitor.rollout.judging import judge
from monitor.rollout.measurement import Measurement, _by_test
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Interval, VerdictState


@pytest.mark.parametrize(
    ("old", "new", "is_beside"),
    [
        pytest.param(range(204), range(204, 230), False, id="a cutover at noon: one day, no hour"),
        pytest.param(range(216), range(216, 240), False, id="a cutover at midnight"),
        pytest.param(range(204), range(200, 230), True, id="four hours side by side"),
        pytest.param(range(0, 204, 2), range(151, 230, 2), True, id="hours in turn over days, then alone"),
    ],
)
def test_a_cutover_within_a_day_is_not_side_by_side(old: range, new: range, *, is_beside: bool) -> None:
    """Morning and afternoon of that day passed for it, which took an `ok` back and kept a rise from being called."""
    arms = [
        Arm("v", [Stratum(Tier.UNTIERED, "any", 0, False, 30, 30, 3, 0.0, 0.0, 24_000 + hour) for hour in hours])
        for hours in (old, new)
    ]
    cohort = Cohort(*arms, "", TiersBy.NONE, Comparison.BEFORE_AFTER)

    assert is_beside == (Measurement(cohort, None, Policy()).side_by_side is not None)


def test_hard_tier_is_compared_at_one_mix() -> None:
    """When only the mix of hard and frontier changes, the hard tier's rate does not."""

    def arm(frontier: int) -> Arm:
        requests = np.array([[6000, 3000, 1000 - frontier, frontier]])
        failures = np.round(requests * np.array([0.02, 0.10, 0.60, 0.999])).astype(int)
        return Arm("version", ArmStream(requests, requests, failures).strata(0))

    measurement = Measurement(Cohort(arm(100), arm(400), "known-tiers"), known_tiers(), Policy())

    assert measurement.hard_tier.change is not None
    assert measurement.hard_tier.change.estimate == pytest.approx(0.0, abs=0.005)
    assert measurement.standardised_change == pytest.approx(0.0, abs=0.002)
    assert measurement.decomposition is not None
    assert measurement.decomposition.traffic_mix == pytest.approx(0.040, abs=0.001)


@pytest.mark.parametrize("failures", [0, 10])
def test_a_share_of_no_failures_has_no_parts(failures: int) -> None:
    """The baseline never fails: rates that are kept off 0 would tell parts of a change that is unknown."""

    def arm(failures: int) -> Arm:
        tiers = (Tier.EASY, Tier.HARD)
        return Arm("v", [Stratum(tier, "any", 0, True, 500, 500, failures, 0.0, 0.0) for tier in tiers])

    measurement = Measurement(Cohort(arm(failures), arm(20), "", TiersBy.DECLARED), None, Policy())

    assert [failures > 0] * 2 == [told is not None for told in (measurement.decomposition, measurement.share)]


@pytest.mark.parametrize(
    ("requests", "failures", "is_known", "is_bounded"),
    [(200, 0, False, False), (200, 1, True, True), (2_000, 0, True, False), (2_000, 10, True, True)],
)
def test_easier_failures_that_the_candidate_lacks_bound_what_it_gained_from_below_alone(
    requests: int, failures: int, *, is_known: bool, is_bounded: bool
) -> None:
    """Where 2 % of a few requests fail, one failure is what was due; of 2,000, thirty were."""

    def arm(requests: int, failures: int) -> Arm:
        easy = Stratum(Tier.EASY, "any", 0, True, requests, requests, failures, 0.0, 0.0)
        return Arm("v", [easy, Stratum(Tier.HARD, "any", 0, True, 500, 500, 250, 0.0, 0.0)])

    cohort = Cohort(arm(5_000, 100), arm(requests, failures), "", TiersBy.DECLARED)
    shift = Measurement(cohort, None, Policy()).left_behind

    assert is_known == (shift is not None)
    assert is_bounded == (shift is not None and shift.upper < 20.0)


def test_probes_narrow_the_rates_and_leave_traffic_alone() -> None:
    """A panel replayed on both versions is evidence for rates, not part of the mix or of what is counted."""

    def arm(requests: list[int], failures: list[int]) -> Arm:
        counts = np.array([requests])
        return Arm("version", ArmStream(counts, counts, np.array([failures])).strata(0))

    production = Cohort(
        arm([600, 300, 100, 0], [12, 30, 60, 0]), arm([600, 300, 100, 0], [6, 12, 56, 0]), "known-tiers"
    )
    probes = Cohort(arm([0, 100, 400, 0], [0, 10, 240, 0]), arm([0, 100, 400, 0], [0, 4, 224, 0]), "known-tiers")

    alone = Measurement(production, known_tiers(), Policy())
    beside = Measurement(production, known_tiers(), Policy(), probes=probes)

    assert alone.aggregate == beside.aggregate
    assert beside.changes[TierGroup.ALL] == alone.changes[TierGroup.ALL]
    assert 74 < beside.fewest_independent(TierGroup.HARD)[0]
    assert alone.hard_tier.change is not None
    assert beside.hard_tier.change is not None
    assert beside.hard_tier.change.lower > alone.hard_tier.change.lower
    assert alone.share is not None
    assert beside.share is not None
    assert beside.share.baseline.estimate == pytest.approx(alone.share.baseline.estimate, abs=0.02)


@pytest.mark.parametrize(
    ("easier", "state"),
    [
        pytest.param((9_000, 0), VerdictState.WAITING, id="no easier request is labelled"),
        pytest.param((200, 0), VerdictState.OK, id="there are hardly any"),
        pytest.param((9_000, 9_000), VerdictState.OK, id="all are labelled"),
    ],
)
def test_labels_of_the_hard_tier_alone_say_nothing_of_all_requests(
    easier: tuple[int, int], state: VerdictState
) -> None:
    """The rate of all requests would be that of the hard tier, so `ok` could hide any rise of the easier tiers."""
    strata = [
        Stratum(tier, "search", 0, True, requests, labelled, labelled // 10, 0.0, 0.0)
        for tier, (requests, labelled) in ((Tier.HARD, (9_000, 9_000)), (Tier.EASY, easier))
    ]
    cohort = Cohort(Arm("old", strata), Arm("new", strata), "", TiersBy.DECLARED)

    verdict = judge(cohort, None, Policy(), previous=None)

    assert state == verdict.state
    assert (state == VerdictState.WAITING) == any("without any label" in each for each in verdict.obstacles)


@pytest.mark.parametrize("change", [1e-4, 1e-14])
def test_bounds_by_a_test_that_shows_next_to_nothing_stay_within_what_a_rate_can_change(change: float) -> None:
    """In proportion to an estimate near 0, they would be hundreds of points wide."""
    shown = _by_test(Interval(0.05, 0.01, 0.09), Interval(change, -0.02, 0.02))

    assert Interval(0.05, -1.0, 1.0) == shown
