from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import ArmName, TierGroup
from monitor.rollout.label_plan import (
    LabelPlan,
    ServedRequest,
    inclusion_probabilities,
    plan_labels,
    systematic_sample,
)
from tests.builders import NOON

OLD, NEW = ArmName.BASELINE, ArmName.CANDIDATE


def requests(
    arm: ArmName, tier: Tier, number: int, *, said: str = "p---", success: bool | None = True
) -> Sequence[ServedRequest]:
    names = (f"{arm}-{tier}-{said}-{success}-{n}" for n in range(number))
    return [ServedRequest(arm, name, NOON, tier, "search", said, success, None) for name in names]


def plan(served: Sequence[ServedRequest], *, count: int = 40, budget: int = 40, seed: int = 1) -> LabelPlan:
    return plan_labels(served, count=count, budget=budget, seed=seed)


def drawn(served: Sequence[ServedRequest], *, runs: int = 50) -> Counter[tuple[ArmName, Tier, str]]:
    """How many were drawn by arm, tier and what was said, over so many seeds."""
    plans = (plan(served, seed=seed) for seed in range(runs))
    return Counter((each.arm, each.tier, each.said) for found in plans for each in found.labels)


@given(st.lists(st.floats(1e-3, 1e3), max_size=60), st.integers(1, 80))
def test_chances_add_up_and_are_in_proportion(sizes: list[float], count: int) -> None:
    """None is above 1, and all below it keep the proportion of the sizes."""
    chances = np.array(inclusion_probabilities(sizes, count))

    assert min(count, len(sizes)) == pytest.approx(chances.sum())
    assert (chances <= 1).all()
    ratios = (chances / np.array(sizes))[chances < 1] if sizes else np.ones(1)
    assert ratios == pytest.approx(np.full(ratios.size, ratios[:1].sum()))


def test_each_is_drawn_with_its_chance_and_the_size_is_fixed() -> None:
    """Over 4,000 draws every frequency is within 4.5 standard errors, sqrt(p (1 - p) / 4000)."""
    chances = np.array(inclusion_probabilities([1, 2, 3, 4, 5, 6, 7, 8, 9, 40], 5))
    random, times = Random(16), np.zeros(10)
    for _ in range(4_000):
        places = systematic_sample(chances.tolist(), random)
        assert 5 == len(set(places))
        times[list(places)] += 1

    assert (np.abs(times / 4_000 - chances) <= 4.5 * np.sqrt(chances * (1 - chances) / 4_000)).all()


@pytest.mark.slow
def test_the_estimate_from_draws_is_unbiased() -> None:
    """
    Horvitz and Thompson: failures over their chances add up to all failures, on average over 600 seeds.

    Within four standard errors of that mean. The draw prefers hard requests and what a judge says against the tier, and
    every third request is one of those that the judge sees wrongly, so a plain share of failures would be far off.
    """
    served = [
        *requests(OLD, Tier.EASY, 300, said="p-p-"),
        *requests(OLD, Tier.EASY, 15, said="p-f-", success=False),
        *requests(NEW, Tier.EASY, 300, said="p-p-"),
        *requests(NEW, Tier.HARD, 60, said="p-f-", success=False),
        *requests(NEW, Tier.HARD, 40, said="p-p-"),
    ]
    fails = {each.trace_id: number % 3 == 0 for number, each in enumerate(served)}
    estimates = []
    for seed in range(600):
        labels = plan(served, count=50, seed=seed).labels
        estimates.append(sum(fails[each.trace_id] / each.sampling_probability for each in labels))

    off = np.mean(estimates) - sum(fails.values())
    assert abs(off) <= 4 * np.std(estimates) / math.sqrt(600)
    plain = np.mean([each.tier is Tier.HARD for each in plan(served, count=50).labels])
    assert plain > 2 * 100 / len(served)


def test_a_seed_draws_the_same_whatever_the_order() -> None:
    """And another one others."""
    served = [*requests(OLD, Tier.EASY, 200), *requests(NEW, Tier.HARD, 50)]

    assert plan(served).labels == plan(served[::-1]).labels
    assert plan(served).labels != plan(served, seed=2).labels


def test_hard_requests_and_uncertain_ones_and_the_arm_that_is_short_come_first() -> None:
    """Each request of the hard tier, and of a small canary, is more likely to be asked about than another."""
    labelled = [*requests(OLD, Tier.EASY, 400, said="--p-"), *requests(OLD, Tier.HARD, 40, said="--f-", success=False)]
    judged = [*labelled, *requests(NEW, Tier.EASY, 90, said="--p-"), *requests(NEW, Tier.HARD, 10, said="--p-")]
    found = drawn(judged)
    checked = drawn([*judged, *requests(OLD, Tier.HARD, 40, said="--pp")])

    assert found[OLD, Tier.HARD, "--f-"] / 40 > 3 * found[OLD, Tier.EASY, "--p-"] / 400
    assert found[NEW, Tier.EASY, "--p-"] / 90 > 2 * found[OLD, Tier.EASY, "--p-"] / 400
    assert checked[OLD, Tier.HARD, "--f-"] < found[OLD, Tier.HARD, "--f-"]


@pytest.mark.parametrize(
    ("said", "is_open"),
    [("p-p-", True), ("--f-", True), ("p-pf", False), ("p---", False), ("", False), ("f-f-", False), ("pf--", False)],
)
def test_where_a_judge_speaks_people_check_it(said: str, *, is_open: bool) -> None:
    """What it did not see is left to it, and known failures need nobody."""
    served = [*requests(OLD, Tier.EASY, 100, said="p-p-"), *requests(NEW, Tier.EASY, 7, said=said)]

    assert 100 + 7 * is_open == plan(served).open


@pytest.mark.parametrize(
    ("said", "is_open"), [("p---", True), ("", True), ("pf--", True), ("p--p", False), ("f---", False)]
)
def test_without_a_judge_people_label_what_nobody_has_labelled(said: str, *, is_open: bool) -> None:
    """Reports are no verdict of a person who was asked."""
    served = [*requests(OLD, Tier.EASY, 100), *requests(NEW, Tier.EASY, 7, said=said)]

    assert 100 + 7 * is_open == plan(served).open


def test_more_labels_leave_a_smaller_error() -> None:
    """Four times as many halve it while chances are far from 1; without hard requests nothing is said of them."""
    served = [*requests(OLD, Tier.EASY, 4_000), *requests(NEW, Tier.EASY, 4_000)]

    few, many = (plan(served, budget=budget).standard_errors for budget in (100, 400))

    assert {TierGroup.ALL} == few.keys()
    assert few[TierGroup.ALL] == pytest.approx(2 * many[TierGroup.ALL])


@pytest.mark.parametrize("served", [[], requests(OLD, Tier.EASY, 3, said="f---", success=False)])
def test_nothing_to_label_is_an_empty_plan(served: Sequence[ServedRequest]) -> None:
    """Neither an error nor a number that is none."""
    assert LabelPlan([], 0, 40, {}) == plan(served)


def test_a_request_that_stands_for_others_has_their_part_of_the_chance() -> None:
    """Every fourth request of an arm was read: its chance is a quarter of that with which it was drawn."""
    served = [each._replace(sampling_probability=0.25) for each in requests(OLD, Tier.EASY, 30)]

    assert {0.25} == {each.sampling_probability for each in plan(served).labels}
