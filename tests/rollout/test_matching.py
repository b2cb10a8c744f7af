"""Like with like: hours, groups of alike requests, and what their weights leave of the counts."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cohort, Comparison, Stratum, TiersBy
from monitor.rollout.confidence_sequence import Counts
from monitor.rollout.matching import Row, match

MONDAY = 168 * 2_900


def a_stratum(requests: int, failures: int, *, block: int = 0, tier: Tier = Tier.EASY) -> Stratum:
    return Stratum(tier, "any", 0, True, requests, requests, failures, 0.0, 0.0, block)


def compared(*arms: list[Stratum], comparison: Comparison = Comparison.CONCURRENT) -> tuple[Counts, Counts]:
    matched = match(Cohort(Arm("old", arms[0]), Arm("new", arms[1]), "", comparison=comparison))
    pair = matched.compare(matched.known)
    assert pair is not None
    return pair


def test_one_hour_is_plain_counting() -> None:
    """Without a difference of time or mix, counts are what they are."""
    baseline, candidate = compared([a_stratum(900, 90)], [a_stratum(100, 20)])

    assert (900, 90) == pytest.approx((baseline.requests, baseline.failures))
    assert (100, 20) == pytest.approx((candidate.requests, candidate.failures))


def test_hours_without_a_candidate_weigh_nothing() -> None:
    """A hard night that only the baseline served is not held against the day."""
    baseline, _ = compared([a_stratum(500, 400, block=1), a_stratum(900, 90, block=2)], [a_stratum(100, 10, block=2)])

    assert (900, 0.1) == pytest.approx((baseline.requests, baseline.rate))


def test_a_ramp_through_a_harder_day_is_no_change() -> None:
    """The canary grows while everything gets harder; at the same hours both arms fail alike."""
    baseline, candidate = compared(
        [a_stratum(950, 95, block=1), a_stratum(500, 200, block=2)],
        [a_stratum(50, 5, block=1), a_stratum(500, 200, block=2)],
    )

    assert candidate.rate == pytest.approx(baseline.rate)
    assert candidate.requests < 550


def test_another_mix_of_tiers_is_no_change() -> None:
    """A candidate that gets harder requests is compared inside each tier."""
    baseline, candidate = compared(
        [a_stratum(900, 90), a_stratum(100, 60, tier=Tier.HARD)],
        [a_stratum(500, 50), a_stratum(500, 300, tier=Tier.HARD)],
    )

    assert candidate.rate == pytest.approx(baseline.rate)


def test_requests_that_only_one_arm_served_are_left_out() -> None:
    """They cannot be compared with anything."""
    baseline, candidate = compared([a_stratum(100, 10), a_stratum(50, 50, tier=Tier.HARD)], [a_stratum(100, 10)])

    assert (baseline.requests, baseline.rate) == pytest.approx((candidate.requests, candidate.rate))


def test_after_a_cutover_the_same_hours_of_the_week_stand_in() -> None:
    """Monday is compared with the Monday before, not with the Sunday between."""
    monday, sunday = MONDAY, MONDAY + 140
    baseline, _ = compared(
        [a_stratum(200, 40, block=monday), a_stratum(800, 640, block=sunday)],
        [a_stratum(200, 40, block=monday + 168)],
        comparison=Comparison.BEFORE_AFTER,
    )

    assert (200, 0.2) == pytest.approx((baseline.requests, baseline.rate))


def test_arms_that_share_no_hour_are_compared_before_and_after() -> None:
    """Where not even the hour of the day is shared, all hours stand in, and the comparison says so."""
    cohort = Cohort(Arm("old", [a_stratum(100, 10, block=1)]), Arm("new", [a_stratum(100, 10, block=33)]), "")

    matched = match(cohort)

    assert Comparison.BEFORE_AFTER is matched.comparison
    assert matched.compare(matched.known) is not None


def test_arms_that_share_few_hours_are_compared_by_spans_of_six() -> None:
    """One request an hour, or arms in turns: the arms serve beside each other, and nothing is left out."""
    hours = range(60, 120)
    old, new = ([a_stratum(10, 1 + hour % 2, block=hour) for hour in hours if hour % 2 == odd] for odd in (0, 1))

    matched = match(Cohort(Arm("old", old), Arm("new", [*new, a_stratum(1, 0, block=60)]), ""))

    assert Comparison.CONCURRENT is matched.comparison
    pair = matched.compare(matched.known)
    assert pair is not None
    assert pair[1].requests > 295


def test_nothing_has_no_comparison() -> None:
    """Empty arms have no rows."""
    matched = match(Cohort(Arm("old", []), Arm("new", []), ""))

    assert matched.compare(matched.known) is None


def of_classes(**classes: tuple[int, int]) -> Arm:
    """An arm with so many labelled requests and failures of each class."""
    return Arm(
        "version",
        [Stratum(Tier.UNTIERED, name, 0, False, n, n, failed, 0.0, 0.0) for name, (n, failed) in classes.items()],
    )


def test_classes_that_a_version_renamed_are_compared_as_one() -> None:
    """A tripled failure rate is seen, although no class has the same name in both arms."""
    cohort = Cohort(of_classes(faq=(600, 12), refund=(400, 80)), of_classes(faq_2=(300, 18), refund_2=(200, 120)), "")

    matched = match(cohort)

    pair = matched.compare(np.ones(len(matched.rows), dtype=bool))
    assert pair is not None
    assert (0.092, 0.276) == tuple(round(arm.rate, 6) for arm in pair)
    assert {"faq", "refund", "faq_2", "refund_2"} == set(matched.renamed)


def test_a_renamed_class_is_compared_although_the_new_name_has_no_tier() -> None:
    """Tiers by class were taught by the old names."""
    old, new = (
        Arm("version", [Stratum(tier, name, 0, False, 500, 500, failed, 0.0, 0.0)])
        for tier, name, failed in ((Tier.HARD, "refund", 100), (Tier.UNTIERED, "refund_2", 300))
    )

    matched = match(Cohort(old, new, "", TiersBy.CLASS))

    assert [[100.0], [300.0]] == matched.failures.tolist()


def test_a_class_that_only_the_candidate_serves_is_no_other_class_renamed() -> None:
    """It is compared with nothing, and its share is told; classes that both serve are compared as ever."""
    cohort = Cohort(of_classes(faq=(600, 12), refund=(400, 80)), of_classes(faq=(800, 16), new=(200, 160)), "")

    matched = match(cohort)

    pair = matched.compare(np.ones(len(matched.rows), dtype=bool))
    assert pair is not None
    assert (0.02, 0.02) == tuple(round(arm.rate, 6) for arm in pair)
    assert (Counts(200, 160), set()) == (matched.alone, set(matched.renamed))


def test_a_rare_class_that_a_small_canary_missed_is_no_class_of_one_arm() -> None:
    """Nineteen requests were due: that none came is chance."""
    cohort = Cohort(of_classes(faq=(9_900, 100), rare=(100, 50)), of_classes(faq=(1_900, 20)), "")

    matched = match(cohort)

    assert (Counts(0, 0), set()) == (matched.alone, set(matched.renamed))


@pytest.mark.parametrize(
    ("tiers_by", "tier", "number"), [(TiersBy.LEARNT, Tier.EASY, 7), (TiersBy.DECLARED, Tier.HARD, 0)]
)
def test_arms_that_are_tagged_otherwise_are_compared_by_class(tiers_by: TiersBy, tier: Tier, number: int) -> None:
    """The ids of one version say nothing to the calibration, or one version declares every request to be hard."""
    known = Arm("old", [Stratum(Tier.EASY, "faq", 0, True, 500, 500, 10, 0.0, 0.0)])
    unknown = Arm("new", [Stratum(tier, "faq", number, number == 0, 500, 500, 30, 0.0, 0.0)])

    matched = match(Cohort(known, unknown, "", tiers_by=tiers_by))

    assert [Row(Tier.UNTIERED, "faq", 0, False)] == list(matched.rows)
    assert [[10.0], [30.0]] == matched.failures.tolist()
    assert (Counts(0, 0), set()) == (matched.alone, set(matched.renamed))


def test_labels_too_rare_to_share_an_hour_are_compared_by_days() -> None:
    """A label a day in each arm: both serve, and no sentence may say that they served one after the other."""
    old, new = ([a_stratum(1, 0, block=24 * day + hour) for day in range(20)] for hour in (3, 15))

    matched = match(Cohort(Arm("old", old), Arm("new", new), ""))

    assert Comparison.CONCURRENT is matched.comparison
    pair = matched.compare(matched.known)
    assert pair is not None
    assert (20, 20) == pytest.approx((pair[0].requests, pair[1].requests))


@pytest.mark.parametrize(("in_the_hour", "stands_in"), [(270, 270), (269, 2_300)])
def test_an_hour_in_which_the_baseline_served_too_little_is_not_all_that_stands_in(
    in_the_hour: int, stands_in: int
) -> None:
    """A batch job after a cutover: 3,000 requests in an hour that the baseline served for some minutes."""
    old = [a_stratum(in_the_hour, 30, block=20), a_stratum(2_300 - in_the_hour, 200, block=9)]
    cohort = Cohort(
        Arm("old", old), Arm("new", [a_stratum(3_000, 300, block=44)]), "", comparison=Comparison.BEFORE_AFTER
    )

    matched = match(cohort)

    assert stands_in == pytest.approx(matched.requests[0].sum())


@pytest.mark.parametrize(
    ("last_hour", "alone"),
    [pytest.param(20, 0, id="both serve"), pytest.param(14, 0, id="six"), pytest.param(10, 10, id="ten hours ago")],
)
def test_a_candidate_serves_alone_once_the_baseline_is_missed(last_hour: int, alone: int) -> None:
    """Both serve a hundred requests an hour, the baseline not to the end."""
    old, new = ([a_stratum(100, 10, block=hour) for hour in range(until + 1)] for until in (last_hour, 20))
    few = [a_stratum(1, 0, block=hour) for hour in range(last_hour + 1)]

    assert alone == match(Cohort(Arm("old", old), Arm("new", new), "")).hours_alone
    assert match(Cohort(Arm("old", few), Arm("new", new), "")).hours_alone == 0


@pytest.mark.parametrize("comparison", Comparison)
def test_an_arm_without_labels_does_not_change_how_the_arms_served(comparison: Comparison) -> None:
    """Both arms served in one hour, or one after the other, whether or not anybody labelled them."""
    unlabelled = Stratum(Tier.EASY, "any", 0, True, 500, 0, 0, 0.0, 0.0)

    matched = match(Cohort(Arm("old", [a_stratum(500, 50)]), Arm("new", [unlabelled]), "", comparison=comparison))

    assert comparison is matched.comparison


def test_a_class_that_only_the_baseline_serves_was_not_renamed() -> None:
    """A canary for the others: nothing of it is compared, and no sentence says that it has another name."""
    cohort = Cohort(of_classes(faq=(600, 12), refund=(400, 200)), of_classes(faq=(800, 16)), "")

    matched = match(cohort)

    assert (Counts(0, 0), set()) == (matched.alone, set(matched.renamed))
