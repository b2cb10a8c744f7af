"""What a rollout brought, by signature: shown against the baseline, hard first, and remembered by later rollouts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, ArmName, Cohort, Stratum
from monitor.rollout.new_failures import new_failures
from monitor.rollout.oncall import NewFailure, OnCallLoad, Signature, on_call_load

HARD = Signature(Tier.HARD, "refund", "timeout")
EASY = Signature(Tier.EASY, "search", "wrong_tool")
STEADY = Signature(Tier.HARD, "search", "wrong_tool")


def a_cohort(baseline: int = 1_000, candidate: int = 1_000, *others: Signature) -> Cohort:
    """So many labelled requests in each class."""
    places = {(each.tier, each.capability): None for each in (HARD, EASY, STEADY, *others)}
    arms = (
        Arm(name, [Stratum(*place, 3, True, labelled, labelled, 0, 0.0, 0.0) for place in places])
        for name, labelled in (("m-1", baseline), ("m-2", candidate))
    )
    return Cohort(*arms, "c1")


def found(
    before: Mapping[Signature, int],
    after: Mapping[Signature, int],
    cohort: Cohort | None = None,
    *,
    effects: Mapping[ArmName, float] | None = None,
    earlier: OnCallLoad | None = None,
) -> Mapping[Signature, NewFailure]:
    past = [] if earlier is None else [earlier]
    return new_failures(cohort or a_cohort(), (before, after), effects=effects or {}, earlier=past, level=0.05)


def load(
    before: Mapping[Signature, int], after: Mapping[Signature, int], *, earlier: OnCallLoad | None = None
) -> OnCallLoad:
    told = on_call_load(a_cohort(), (before, after), new=found(before, after, earlier=earlier))
    assert told is not None
    return told


def test_what_is_shown_to_be_more_frequent_is_open() -> None:
    """What was there before is not, however frequent it is; and what rose a little is not shown."""
    before, after = {STEADY: 300, EASY: 1}, {STEADY: 310, EASY: 40, HARD: 20}

    assert {EASY: NewFailure.OPEN, HARD: NewFailure.OPEN} == found(before, after)


@pytest.mark.parametrize(
    ("cohort", "after", "effect"),
    [
        pytest.param(a_cohort(), {HARD: 3}, 1.0, id="three failures"),
        pytest.param(a_cohort(), {HARD: 20}, 10.0, id="twenty of two conversations"),
        pytest.param(a_cohort(baseline=0), {HARD: 20}, 1.0, id="a class that the baseline never had"),
    ],
)
def test_too_little_is_not_new(cohort: Cohort, after: Mapping[Signature, int], effect: float) -> None:
    """Few failures, failures that are alike, or no baseline to compare with show nothing."""
    assert {} == found({}, after, cohort, effects={ArmName.CANDIDATE: effect, ArmName.BASELINE: effect})


def test_more_traffic_of_a_class_is_not_new() -> None:
    """Ten times the requests bring ten times the failures."""
    cohort = Cohort(a_cohort(100).baseline, a_cohort(candidate=1_000).candidate, "c1")

    assert {} == found({HARD: 10}, {HARD: 100}, cohort)


def test_new_failures_are_told_first_and_of_them_the_hard_tier() -> None:
    """Before what is merely frequent."""
    told = load({STEADY: 300, EASY: 1}, {STEADY: 310, EASY: 40, HARD: 20})

    assert [(HARD, NewFailure.OPEN), (EASY, NewFailure.OPEN), (STEADY, None)] == [
        (each.signature, each.state) for each in told.signatures
    ]


def test_a_later_rollout_sees_them_again_or_finds_them_gone() -> None:
    """One failure is enough to be seen again; the next rollout but one still remembers what was gone."""
    first = load({}, {HARD: 40, EASY: 40})
    second = load({HARD: 40, EASY: 40}, {HARD: 1}, earlier=first)
    assert [(HARD, NewFailure.SEEN_AGAIN, True), (EASY, NewFailure.GONE, False)] == [
        (each.signature, each.state, each.candidate > 0) for each in second.signatures
    ]

    third = found({}, {EASY: 1}, earlier=first)
    assert {HARD: NewFailure.GONE, EASY: NewFailure.SEEN_AGAIN} == third


@pytest.mark.slow
def test_the_same_model_seldom_brings_anything() -> None:
    """Twenty signatures, looked at ten times: at most the level (5 %) of rollouts call any of them new."""
    rng, rollouts, looks = np.random.default_rng(20_261_129), 200, 40
    names = [Signature(Tier.HARD, f"class-{number}") for number in range(20)]
    false_alarms = 0
    for _ in range(rollouts):
        counts = rng.binomial(100, 0.01, size=(2, looks, len(names))).cumsum(axis=1)
        false_alarms += any(
            found(
                dict(zip(names, counts[0, look].tolist(), strict=True)),
                dict(zip(names, counts[1, look].tolist(), strict=True)),
                a_cohort(100 * (look + 1), 100 * (look + 1), *names),
            )
            for look in range(0, looks, 4)
        )

    assert false_alarms <= 21  # binomial(200, .05) is beyond it in 0.05 % of seeds
