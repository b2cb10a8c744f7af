"""Another mix of requests in the candidate: seen where it is there, and told from a change of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, ClusterSums, Cohort, Mix, SharedClusterSums, Stratum, TierGroup, TiersBy
from monitor.rollout.judging import judge
from monitor.rollout.measurement import Measurement
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import VerdictState


def of_items(
    kinds: Sequence[tuple[int, int, int, int]], *, is_told: bool = True, once: Sequence[int] = (0, 0, 0, 0)
) -> Cohort:
    """
    40 items of each kind in one row: requests and failures of an item in the baseline, then in the candidate.

    Beside them requests that come *once*, counted likewise.
    """

    def arm(at: int) -> Arm:
        products = [(n, f, n * n, n * f, f * f) for n, f in (kind[at : at + 2] for kind in kinds)]
        of_items = [40 * sum(column) for column in zip(*products, strict=True)]
        alone, failed = once[at : at + 2]
        beside = (alone, failed, alone, failed, failed)
        n, f, *squares = (some + others for some, others in zip(of_items, beside, strict=True))
        clusters = [ClusterSums(TierGroup.ALL, 40 * len(kinds) + alone, n, f, *squares)]
        return Arm("version", [Stratum(Tier.UNTIERED, "search", 0, True, n, n, f, 0.0, 0.0)], clusters)

    products = [(n * m, f * m, n * g, f * g, n + m) for n, f, m, g in kinds]
    sums = [40 * sum(each[at] for each in products) for at in range(4)]
    alike = tuple(40 * sum(each[at] / each[4] for each in products) for at in range(3))
    served = tuple(40 * sum(column) for column in zip(*kinds, strict=True))
    shared = SharedClusterSums(TierGroup.ALL, *sums, mixes=[Mix(alike, served)] if is_told else [])
    return Cohort(arm(0), arm(2), "", TiersBy.NONE, shared_clusters=[shared])


@pytest.mark.parametrize(
    ("factor", "is_shown"),
    [pytest.param(1, False, id="items fail as before"), pytest.param(2, True, id="items fail twice as often")],
)
def test_items_that_both_arms_served_tell_a_change_of_traffic_from_one_of_the_model(
    factor: int, *, is_shown: bool
) -> None:
    """The candidate gets more of the harder items of one row: alone this raises its rate from 9.3 to 12 %."""
    kinds = ((100, 4, 75, 3 * factor), (50, 10, 75, 15 * factor))

    by_rows, by_items = (
        Measurement(of_items(kinds, is_told=is_told), None, Policy()).changes[TierGroup.ALL]
        for is_told in (False, True)
    )

    assert by_rows is not None
    assert by_items is not None
    assert 0 < by_rows.lower
    assert is_shown == (by_items.lower > 0)
    assert (factor - 1) * 0.105 == pytest.approx(by_items.estimate, abs=0.02)


def test_a_rise_that_turns_out_to_be_another_mix_is_taken_back() -> None:
    """Until enough items came again, nothing told the mix from the model; what was shown then holds no longer."""
    kinds = ((100, 4, 75, 3), (50, 10, 75, 15))

    early = judge(of_items(kinds, is_told=False), None, Policy(), previous=None)
    late = judge(of_items(kinds), None, Policy(), previous=early)

    assert (VerdictState.REGRESSION, VerdictState.OK) == (early.state, late.state)


@pytest.mark.parametrize(
    ("kinds", "once"),
    [
        pytest.param(((100, 4, 100, 4), (50, 10, 50, 10)), (9_000, 900, 9_000, 1_800), id="items fail as before"),
        pytest.param(((100, 0, 100, 0),), (12_000, 1_200, 12_000, 1_700), id="items that never fail"),
        pytest.param(((90, 0, 30, 0),), (9_000, 900, 3_000, 600), id="a smaller candidate"),
        pytest.param(
            ((100, 4, 75, 3), (50, 10, 75, 15)),
            (9_000, 840, 9_000, 1_700),
            id="more of the harder items",
        ),
    ],
)
def test_items_that_fail_as_before_hide_no_rise_of_all_other_requests(
    kinds: Sequence[tuple[int, int, int, int]], once: Sequence[int]
) -> None:
    """Health checks and scheduled jobs come again in both arms, and say nothing of what comes once."""
    cohort = of_items(kinds, once=once)

    verdict = judge(cohort, None, Policy(), previous=None)

    assert VerdictState.REGRESSION == verdict.state
    assert "All requests fail more often" in verdict.reasons[0]


@pytest.mark.parametrize(("failures", "state"), [(300, VerdictState.OK), (540, VerdictState.REGRESSION)])
def test_an_hour_in_which_the_baseline_failed_is_no_gain_of_the_candidate(failures: int, state: VerdictState) -> None:
    """Rows compare hours; the items that both arms served were asked in all of them, most of them of the baseline."""
    hours = [(20_000, 6_000), (6_000, 320)], [(200, 60), (6_000, failures)]
    kind = [sum(column) // 40 for arm in hours for column in zip(*arm, strict=True)]
    cohort = of_items([(kind[0], kind[1], kind[2], kind[3])])
    baseline, candidate = (
        replace(arm, strata=[Stratum(Tier.UNTIERED, "search", 0, True, n, n, f, 0.0, 0.0, at) for at, (n, f) in each])
        for arm, each in zip(cohort.arms, map(enumerate, hours), strict=True)
    )
    cohort = replace(cohort, baseline=baseline, candidate=candidate)

    assert state == judge(cohort, None, Policy(), previous=None).state


def test_a_handful_of_requests_tells_no_other_mix() -> None:
    """Rows hold an hour of the baseline, and what it served of the same items all of them: by chance they differ."""
    hours = [(5, 0), (1_345, 385)], [(5, 1)]
    once = [ClusterSums(TierGroup.ALL, n, n, f, n, f, f) for n, f in ((1_350, 385), (5, 1))]
    arms = (
        Arm("any", [Stratum(Tier.UNTIERED, "search", 0, True, n, n, f, 0.0, 0.0, at) for at, (n, f) in each], [sums])
        for each, sums in zip(map(enumerate, hours), once, strict=True)
    )
    shared = SharedClusterSums(TierGroup.ALL, 5, 2, 1, 0, [Mix((2.5, 1.0, 0.5), (5, 2, 5, 1))])

    assert {} == Measurement(Cohort(*arms, "", TiersBy.NONE, shared_clusters=[shared]), None, Policy()).other_mixes


@pytest.mark.parametrize("read", [1.0, 0.05])
def test_a_part_of_the_items_of_a_large_service_tells_that_the_mix_changed(read: float) -> None:
    """A large service has too many items to read all of them. Those that are read are enough to see another mix."""
    cohort = of_items(((1_000, 40, 750, 30), (500, 100, 750, 150)))
    (shared,) = cohort.shared_clusters
    mix = shared.mixes[0]._replace(weighted=tuple(read * each for each in shared.mixes[0].weighted))
    cohort = replace(cohort, shared_clusters=[replace(shared, mixes=[mix])])

    assert VerdictState.OK == judge(cohort, None, Policy(), previous=None).state


@pytest.mark.parametrize(
    ("failures", "state"),
    [
        pytest.param((80, 600), VerdictState.OK, id="families fail as before"),
        pytest.param((240, 1_800), VerdictState.REGRESSION, id="families fail three times as often"),
    ],
)
def test_requests_that_come_once_are_compared_by_what_their_prompts_have_in_common(
    failures: tuple[int, int], state: VerdictState
) -> None:
    """Of two classes, the one that has most requests gets a harder mix of prompt families."""
    (easy, hard), served = failures, ((4_000, 160, 2_000), (2_000, 300, 4_000))
    rows = [(n, f, m, g) for (n, f, m), g in zip(served, (easy, hard), strict=True)]
    products = [(n * m / (n + m), f * m / (n + m), n * g / (n + m)) for n, f, m, g in rows]
    alike = tuple(sum(column) for column in zip(*products, strict=True))
    mix = Mix(alike, tuple(sum(column) for column in zip(*rows, strict=True)))

    def arm(at: int) -> Arm:
        n, f = mix.served[at : at + 2]
        strata = [
            Stratum(Tier.UNTIERED, name, 0, True, *counts, 0, 0)
            for name, counts in (("chat", (n, n, f)), ("faq", (1_000, 1_000, 10)))
        ]
        total = (n + 1_000, f + 10)
        return Arm("version", strata, [ClusterSums(TierGroup.ALL, total[0], *total, total[0], total[1], total[1])])

    shared = SharedClusterSums(TierGroup.ALL, 0, 0, 0, 0, [mix])
    cohort = Cohort(arm(0), arm(2), "", TiersBy.NONE, shared_clusters=[shared])

    assert state == judge(cohort, None, Policy(), previous=None).state
    assert VerdictState.REGRESSION == judge(replace(cohort, shared_clusters=[]), None, Policy(), previous=None).state


def test_where_other_requests_may_have_another_mix_too_neither_a_rise_nor_ok_is_said() -> None:
    """Of the items the candidate gets harder ones; of the other requests 2.7 points more fail for whatever reason."""
    cohort = of_items(((100, 4, 75, 3), (50, 10, 75, 15)), once=(12_000, 1_110, 12_000, 1_430))

    verdict = judge(cohort, None, Policy(ok_margin=0.015), previous=None)

    assert (VerdictState.WAITING, 0) == (verdict.state, verdict.requests_needed)
    assert "The candidate gets other requests than the baseline" in verdict.obstacles[0]


def test_easier_items_that_hide_a_rise_are_an_obstacle() -> None:
    """Each item fails 4 or 8 points more often, and both arms 14.7 % of the time: no number of requests decides."""
    verdict = judge(of_items([(50, 2, 100, 8), (100, 20, 50, 14)]), None, Policy(), previous=None)

    assert (VerdictState.WAITING, 0) == (verdict.state, verdict.requests_needed)
    assert "The candidate gets other requests than the baseline" in verdict.obstacles[0]
    assert verdict.could_still_be["all"] > 0.06


@pytest.mark.parametrize(
    ("rates", "state"),
    [
        pytest.param((0.25, 0.665), VerdictState.OK, id="all gained alike"),
        pytest.param((0.4, 0.8), VerdictState.CLIFF, id="only easy requests gained"),
    ],
)
def test_harder_requests_of_the_hard_tier_are_no_cliff(rates: tuple[float, float], state: VerdictState) -> None:
    """The odds of failing of easy requests halve, and most hard requests of the candidate are of the harder family."""
    served = ((2_000, 800, 800, round(800 * rates[0])), (2_000, 1_600, 3_200, round(3_200 * rates[1])))
    products = [(n * m / (n + m), f * m / (n + m), n * g / (n + m)) for n, f, m, g in served]
    alike = tuple(sum(column) for column in zip(*products, strict=True))
    mix = Mix(alike, tuple(sum(column) for column in zip(*served, strict=True)))

    def arm(easy_failures: int, at: int) -> Arm:
        n, f = mix.served[at : at + 2]
        counts = {Tier.EASY: (40_000, easy_failures), Tier.HARD: (n, f)}
        strata = [Stratum(tier, "chat", 0, False, n, n, f, 0, 0) for tier, (n, f) in counts.items()]
        return Arm("version", strata, [ClusterSums(TierGroup.HARD, n, n, f, n, f, f)])

    shared = SharedClusterSums(TierGroup.HARD, 0, 0, 0, 0, [mix])
    cohort = Cohort(arm(1_600, 0), arm(800, 2), "", TiersBy.DECLARED, shared_clusters=[shared])

    assert state == judge(cohort, None, Policy(), previous=None).state
    if state is VerdictState.OK:
        blind = replace(cohort, shared_clusters=[])
        assert VerdictState.CLIFF == judge(blind, None, Policy(), previous=None).state
