"""The four states, their reasons and forecasts, on cohorts whose tiers are known without doubt."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from math import isfinite

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rollout_streams import ArmStream, KnownTiers
from monitor.difficulty.tiers import NO_TAG, TIERS, Tier
from monitor.difficulty.trust import Trust
from monitor.rollout.cohort import Arm, Cohort, Stratum
from monitor.rollout.judging import judge
from monitor.rollout.measurement import Yardstick
from monitor.rollout.policy import Floor, Policy
from monitor.rollout.verdict import Verdict, VerdictState

REQUESTS = (6000, 3000, 1000, 0)
BASELINE = (120, 300, 600, 0)
CLIFF = (60, 120, 560, 0)  # easier tiers 0.02 -> 0.01 and 0.10 -> 0.04, the hard one 0.60 -> 0.56
WORSE = (120, 300, 700, 0)
UNIFORM = (60, 157, 427, 0)  # every request's log-odds of failing lowered by 0.7

Counts = tuple[int, int, int, int]


def an_arm(failures: Counts, requests: Counts = REQUESTS, labelled: Counts | None = None) -> Arm:
    stream = ArmStream(*(np.array([counts]) for counts in (requests, labelled or requests, failures)))
    return Arm("version", stream.strata(0))


def a_verdict(
    candidate: Arm,
    baseline: Arm | None = None,
    *,
    calibration: Yardstick | None = KnownTiers(),  # noqa: B008 - frozen
    policy: Policy = Policy(),  # noqa: B008 - frozen
    previous: Verdict | None = None,
) -> Verdict:
    cohort = Cohort(baseline or an_arm(BASELINE), candidate, "known-tiers")
    return judge(cohort, calibration, policy, service="agent", environment="production", previous=previous)


def untrusted(trust: Trust) -> KnownTiers:
    return replace(KnownTiers(), trust=trust)


@pytest.mark.parametrize(
    ("failures", "state", "words"),
    [
        pytest.param(CLIFF, VerdictState.CLIFF, "The hard tier was left behind", id="easier tiers improved alone"),
        pytest.param(WORSE, VerdictState.REGRESSION, "The hard tier fails more often", id="hard tier got worse"),
        pytest.param(UNIFORM, VerdictState.OK, "as a uniform gain implies", id="everything improved alike"),
        pytest.param(BASELINE, VerdictState.OK, "Neither a regression nor a cliff is shown", id="nothing changed"),
    ],
)
def test_state_follows_what_changed(failures: Counts, state: VerdictState, words: str) -> None:
    """Each kind of change has its state, and its first reason says which."""
    verdict = a_verdict(an_arm(failures))

    assert state is verdict.state
    assert words in verdict.reasons[0]


def test_cliff_that_makes_the_aggregate_worse_is_none() -> None:
    """A share that jumped because the hard tier fails more, without a better aggregate, is no cliff."""
    worse = an_arm((60, 120, 850, 0))
    rates_unknown = untrusted(replace(KnownTiers().trust, hard_rate_reasons=("Two more reference versions needed.",)))

    verdict = a_verdict(worse, calibration=rates_unknown)

    assert VerdictState.OK is verdict.state
    assert "the aggregate got worse" in verdict.reasons[0]
    assert "Two more reference versions needed." in verdict.reasons[-1]


def test_small_jump_is_no_cliff() -> None:
    """A rise below the policy's jump does not matter, however sure it is."""
    verdict = a_verdict(an_arm(CLIFF), policy=Policy(share_jump=0.30))

    assert VerdictState.OK is verdict.state
    assert "less than the jump of +30.0 points that matters" in verdict.reasons[0]


def test_reasons_tell_rates_and_shares_in_numbers() -> None:
    """The second reason is the comparison of tiers that a person would make."""
    verdict = a_verdict(an_arm((60, 120, 590, 0)))

    assert (
        "Hard tier 60.0 % -> 59.0 % failures, not shown to improve; easier tiers 4.7 % -> 2.0 % failures, improved; "
        "58.8 % -> 76.6 % of failures are now hard."
    ) == verdict.reasons[1]


def test_exact_tiers_are_plain_counting() -> None:
    """Where tiers are known without doubt, corrected rates are the counted ones but for the weak prior."""
    verdict = a_verdict(an_arm(CLIFF))

    counted = [failed / seen for failed, seen in zip(CLIFF[:3], REQUESTS[:3], strict=True)]
    rates = [verdict.tiers[tier].candidate.rate for tier in TIERS[:3]]
    assert counted == pytest.approx([rate.estimate for rate in rates if rate is not None], rel=0.02)
    assert verdict.share is not None
    assert 560 / 740 - 600 / 1020 == pytest.approx(verdict.share.change.estimate, abs=0.003)


def test_no_calibration_is_waiting_with_counts() -> None:
    """Without tiers there are counts of all requests, and the reason says what is missing."""
    untagged = [Stratum(NO_TAG.tier, "any", NO_TAG.bin, NO_TAG.is_known, 500, 500, 50, 0.0, 0.0)]
    arm = Arm("version", untagged)

    verdict = a_verdict(arm, arm, calibration=None)

    assert VerdictState.WAITING is verdict.state
    assert "No calibration is in force" in verdict.reasons[0]
    assert verdict.share is None
    assert set(TIERS) == set(verdict.tiers)
    assert verdict.aggregate.candidate.rate is not None
    assert verdict.aggregate.candidate.rate.lower < 0.1 < verdict.aggregate.candidate.rate.upper


def test_untrusted_tiers_are_waiting_with_the_reasons() -> None:
    """A calibration that may not be believed gives no verdict, and says why."""
    trust = replace(KnownTiers().trust, is_trusted=False, reasons=("2 more reference versions needed.",))

    verdict = a_verdict(an_arm(CLIFF), calibration=untrusted(trust))

    assert VerdictState.WAITING is verdict.state
    assert "2 more reference versions needed." in verdict.reasons
    assert verdict.requests_to_verdict == 0


def test_too_few_labels_are_waiting_with_a_forecast() -> None:
    """With 12 hard-tier failures in 200 requests, 30 need about 300 more."""
    small = an_arm((2, 6, 12, 0), (120, 60, 20, 0))

    verdict = a_verdict(small, small)

    assert VerdictState.WAITING is verdict.state
    assert verdict.requests_needed == 300
    assert "about 300 more labelled candidate requests" in verdict.reasons[0]


def test_arm_whose_labels_lag_behind_is_waiting() -> None:
    """A candidate of whose requests half are labelled cannot be compared with a baseline that has all labels."""
    half = an_arm((30, 60, 280, 0), labelled=(3000, 1500, 500, 0))

    verdict = a_verdict(half)

    assert VerdictState.WAITING is verdict.state
    assert "The candidate's labels lag behind: 50% of its matured requests are labelled" in verdict.reasons[0]


def test_labels_that_lag_in_the_hard_tier_alone_are_waiting_too() -> None:
    """Coverage is compared in the hard tier as well."""
    verdict = a_verdict(an_arm((60, 120, 300, 0), labelled=(6000, 3000, 500, 0)))

    assert VerdictState.WAITING is verdict.state
    assert "hard-tier labels lag behind" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("floor", "state"),
    [
        pytest.param(Floor(service="agent", pass_rate=0.52), VerdictState.REGRESSION, id="44 % pass below 52 %"),
        pytest.param(Floor(service="agent", pass_rate=0.48), VerdictState.CLIFF, id="44 % pass may be 48 %"),
        pytest.param(Floor(service="other", pass_rate=0.9), VerdictState.CLIFF, id="floor of another service"),
        pytest.param(
            Floor(service="agent", pass_rate=0.9, environment="staging"), VerdictState.CLIFF, id="other environment"
        ),
        pytest.param(
            Floor(service="agent", pass_rate=0.9, capability="any"), VerdictState.REGRESSION, id="floor of a capability"
        ),
        pytest.param(
            Floor(service="agent", pass_rate=0.9, capability="none"), VerdictState.CLIFF, id="capability never seen"
        ),
    ],
)
def test_broken_floor_is_a_regression(floor: Floor, state: VerdictState) -> None:
    """A floor breaks when even the highest believable pass rate is below it."""
    assert state is a_verdict(an_arm(CLIFF), policy=Policy(floors=(floor,))).state


def test_broken_floor_says_who_agreed_to_it() -> None:
    """The reason names the floor, the rate and the agreement."""
    floor = Floor(service="agent", pass_rate=0.52, agreed_by="support team", agreed_on="2026-10-01")

    verdict = a_verdict(an_arm(CLIFF), policy=Policy(floors=(floor,)))

    assert verdict.reasons[0].startswith("The hard tier passes 44.0 %")
    assert verdict.reasons[0].endswith("below the floor of 52.0 % agreed by support team on 2026-10-01.")


def test_more_floors_make_each_harder_to_break() -> None:
    """The error rate is shared between the floors of a service."""
    others = tuple(Floor(service="agent", pass_rate=0.01, capability=name) for name in "abcdefgh")
    floor = Floor(service="agent", pass_rate=0.491)

    alone = a_verdict(an_arm(CLIFF), policy=Policy(floors=(floor,)))
    among = a_verdict(an_arm(CLIFF), policy=Policy(floors=(floor, *others)))

    assert alone.hard_tier is not None
    assert among.hard_tier is not None
    assert alone.hard_tier.candidate.rate is not None
    assert among.hard_tier.candidate.rate is not None
    assert among.hard_tier.candidate.rate.lower < alone.hard_tier.candidate.rate.lower


def test_capability_that_got_worse_is_named() -> None:
    """One class may regress in the hard tier while another improves as much: the average does not tell."""

    def arm(search: int, booking: int) -> Arm:
        easy = an_arm((120, 300, 0, 0), (6000, 3000, 0, 0)).strata
        hard = [
            replace(an_arm((0, 0, failures, 0), (0, 0, 500, 0)).strata[0], capability=name)
            for name, failures in (("search", search), ("booking", booking))
        ]
        return Arm("version", [*easy, *hard])

    verdict = a_verdict(arm(380, 220), arm(300, 300))

    assert VerdictState.OK is verdict.state
    assert ["search"] == list(verdict.regressed_capabilities)
    assert "The hard tier of search 60.0 % -> 76.0 % failures, got worse." in verdict.reasons


def test_requests_to_verdict_counts_until_the_state_was_first_reached() -> None:
    """A state that holds keeps its count; a new one starts with the labels of its look."""
    first = a_verdict(an_arm(CLIFF))
    more = an_arm((120, 240, 1120, 0), (12000, 6000, 2000, 0))

    again = a_verdict(more, previous=first)
    changed = a_verdict(an_arm(WORSE), previous=first)

    assert first.requests_to_verdict == 10_000
    assert again.requests_to_verdict == 10_000
    assert VerdictState.REGRESSION is changed.state
    assert changed.requests_to_verdict == 10_000
    assert a_verdict(more, previous=changed).requests_to_verdict == 20_000


def test_forecast_of_a_cliff_shrinks_as_evidence_grows() -> None:
    """A jump that is not shown yet says how many requests would show it, should the estimates hold."""

    def forecast(part: float) -> int:
        def scaled(counts: Counts) -> Counts:
            return tuple(round(part * count) for count in counts)  # type: ignore[return-value]

        requests = scaled(REQUESTS)
        verdict = a_verdict(an_arm(scaled(CLIFF), requests), an_arm(scaled(BASELINE), requests))
        assert VerdictState.OK is verdict.state
        return verdict.requests_needed

    assert 0 < forecast(0.15) < forecast(0.075)
    assert forecast(0.15) + 1500 == pytest.approx(forecast(0.075) + 750, rel=0.1)


counts = st.tuples(*[st.integers(0, 400)] * 4)


@given(counts, counts, counts, counts, st.sampled_from([None, KnownTiers()]))
def test_no_number_of_a_verdict_is_ever_missing_its_value(
    requests: Counts, failures: Counts, other_requests: Counts, other_failures: Counts, calibration: KnownTiers | None
) -> None:
    """Bounds are numbers in order around the estimate, or absent; never NaN, whatever the counts."""

    def arm(seen: Counts, failed: Counts) -> Arm:
        return an_arm(tuple(map(min, seen, failed)), seen)  # type: ignore[arg-type]

    verdict = a_verdict(arm(requests, failures), arm(other_requests, other_failures), calibration=calibration)

    assert [] == [value for value in numbers(verdict) if not isfinite(value)]
    assert verdict.reasons
    if verdict.share is not None:
        for told in (verdict.share.baseline, verdict.share.candidate, verdict.share.change, verdict.share.excess):
            assert told.lower <= told.estimate <= told.upper


def numbers(value: object) -> list[float]:
    """Every number in a tree of dataclasses."""
    if is_dataclass(value):
        return [number for field in fields(value) for number in numbers(getattr(value, field.name))]
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


def test_arms_swapped_give_the_mirrored_changes() -> None:
    """A rollback turns every change of a rate around."""
    there = a_verdict(an_arm(CLIFF))
    back = a_verdict(an_arm(BASELINE), an_arm(CLIFF))

    for tier in (Tier.EASY, Tier.MEDIUM, Tier.HARD):
        forth, reverse = there.tiers[tier].change, back.tiers[tier].change
        assert forth is not None
        assert reverse is not None
        assert (forth.estimate, forth.lower, forth.upper) == pytest.approx(
            (-reverse.estimate, -reverse.upper, -reverse.lower)
        )
