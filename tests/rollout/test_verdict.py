"""The four states, their reasons and forecasts, on cohorts whose tiers are known without doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from math import isfinite

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs
from pydantic import TypeAdapter

from bench.rollout_streams import ArmStream, known_tiers
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tiers import NO_TAG, TIERS, Tier
from monitor.difficulty.trust import Trust
from monitor.rollout.cohort import Arm, Cohort, Comparison, Stratum, TierGroup, TiersBy
from monitor.rollout.judging import judge, withdrawn
from monitor.rollout.policy import Floor, Policy
from monitor.rollout.verdict import Verdict, VerdictState
from monitor.rollout.wording import points

REQUESTS = (6000, 3000, 1000, 0)
BASELINE = (120, 300, 600, 0)
CLIFF = (60, 120, 560, 0)  # easier tiers 0.02 -> 0.01 and 0.10 -> 0.04, the hard one 0.60 -> 0.56
WORSE = (120, 300, 700, 0)
EASY_WORSE = (1200, 300, 600, 0)
UNIFORM = (60, 157, 427, 0)  # every request's log-odds of failing lowered by 0.7

Counts = tuple[int, int, int, int]


def an_arm(failures: Counts, requests: Counts = REQUESTS, labelled: Counts | None = None) -> Arm:
    stream = ArmStream(*(np.array([counts]) for counts in (requests, labelled or requests, failures)))
    return Arm("version", stream.strata(0))


def a_verdict(
    candidate: Arm,
    baseline: Arm | None = None,
    *,
    calibration: Calibration | None = known_tiers(),  # noqa: B008 - frozen
    policy: Policy = Policy(),  # noqa: B008 - frozen
    previous: Verdict | None = None,
) -> Verdict:
    cohort = Cohort(baseline or an_arm(BASELINE), candidate, "known-tiers")
    return judge(cohort, calibration, policy, floors=policy.floors, previous=previous)


def untrusted(trust: Trust) -> Calibration:
    return replace(known_tiers(), trust=trust)


@pytest.mark.parametrize(
    ("failures", "state", "words"),
    [
        pytest.param(CLIFF, VerdictState.CLIFF, "The hard tier was left behind", id="easier tiers improved alone"),
        pytest.param(WORSE, VerdictState.REGRESSION, "The hard tier fails more often", id="hard tier got worse"),
        pytest.param(UNIFORM, VerdictState.OK, "the hard tier fails less often", id="everything improved alike"),
        pytest.param(BASELINE, VerdictState.OK, "All requests fail at most", id="nothing changed"),
        pytest.param(EASY_WORSE, VerdictState.REGRESSION, "All requests fail more often", id="easy tier got worse"),
    ],
)
def test_state_follows_what_changed(failures: Counts, state: VerdictState, words: str) -> None:
    """Each kind of change has its state, and its first reason says which."""
    verdict = a_verdict(an_arm(failures))

    assert state is verdict.state
    assert words in verdict.reasons[0]


@pytest.mark.parametrize(
    ("easier", "state"),
    [
        pytest.param((60, 120), VerdictState.REGRESSION, id="left behind beyond doubt"),
        pytest.param((120, 300), VerdictState.WAITING, id="not so"),
    ],
)
def test_a_hard_tier_left_behind_needs_less_to_be_a_regression(easier: tuple[int, int], state: VerdictState) -> None:
    """Once `cliff` has used its part of the error rate to good purpose, the part serves the hard tier."""
    assert state is a_verdict(an_arm((*easier, 672, 0))).state


@pytest.mark.parametrize("tiers_by", [TiersBy.DECLARED, TiersBy.LEARNT])
@pytest.mark.parametrize(("easier", "hard", "state"), [(300, 600, "cliff"), (300, 40, "ok"), (9, 600, "ok")])
def test_a_candidate_whose_easier_tiers_fail_no_more_leaves_the_hard_tier_behind(
    easier: int, hard: int, state: str, tiers_by: TiersBy
) -> None:
    """No odds ratio is known of an arm without a failure: `cliff` was said of a nearly perfect one alone."""
    baseline, candidate = an_arm((easier // 3, easier - easier // 3, 600, 0)), an_arm((0, 0, hard, 0))
    cohort = Cohort(baseline, candidate, "known-tiers", tiers_by)

    assert state == judge(cohort, known_tiers(), Policy(), previous=None).state


def test_learnt_tiers_are_tested_by_the_excess_and_declared_ones_by_odds() -> None:
    """Noisy tags dilute odds ratios; where nothing is doubtful, these need no curve of a uniform gain."""
    learnt = a_verdict(an_arm(CLIFF))
    cohort = Cohort(an_arm(BASELINE), an_arm(CLIFF), "", tiers_by=TiersBy.DECLARED)
    declared = judge(cohort, None, Policy(), previous=None)

    assert VerdictState.CLIFF == learnt.state == declared.state
    assert 0 < learnt.bounds["excess"].lower
    assert 0 < declared.bounds["left_behind"].lower
    assert {"left_behind", "excess"} == learnt.bounds.keys() ^ declared.bounds.keys()


def test_small_jump_is_no_cliff() -> None:
    """A rise below the policy's jump does not matter, however sure it is."""
    verdict = a_verdict(an_arm(CLIFF), policy=Policy(share_jump=0.30))

    assert VerdictState.OK is verdict.state


def test_no_sentence_of_ok_speaks_of_a_rise() -> None:
    """What is within the margins is said as such, whatever the estimates."""
    slightly_worse = an_arm((130, 315, 615, 0))

    verdict = a_verdict(slightly_worse)

    assert VerdictState.OK is verdict.state
    assert not any("got worse" in reason or "fail more often" in reason for reason in verdict.reasons)
    assert "margin +3.0 points" in verdict.reasons[0]
    assert "margin +10.0 points" in verdict.reasons[0]


def test_what_is_not_ruled_out_is_said() -> None:
    """A hard tier that may be more than ten points worse keeps the verdict waiting, with how bad it can still be."""
    verdict = a_verdict(an_arm((6, 15, 30, 0), (300, 150, 50, 0)), an_arm((6, 15, 30, 0), (300, 150, 50, 0)))

    assert VerdictState.WAITING is verdict.state
    assert verdict.could_still_be["hard"] > 0.10
    assert f"the hard tier may fail up to {points(verdict.could_still_be['hard'])} more often" in verdict.reasons[0]
    assert f"About {verdict.requests_needed:,} more labelled candidate requests" in verdict.reasons[0]


def test_reasons_tell_rates_and_shares_in_numbers() -> None:
    """The second reason is the comparison of tiers that a person would make."""
    verdict = a_verdict(an_arm((60, 120, 590, 0)))

    assert (
        "Hard tier 60.0 % → 59.0 % failures, change -1.0 points (-7.8 to +5.7); 58.8 % → 76.6 % of failures are hard."
    ) == "Hard" + verdict.reasons[1].split("; hard")[1]


@pytest.mark.parametrize(
    ("tiers_by", "failures", "words"),
    [
        pytest.param(TiersBy.CLASS, 300, "because their classes had too few labels before the rollout", id="by class"),
        pytest.param(TiersBy.DECLARED, 300, "300 of the baseline's 1,320 failures have no tier; ", id="declared"),
        pytest.param(TiersBy.DECLARED, 20, "", id="hardly any"),
    ],
)
def test_failures_that_have_no_tier_are_said_to_be_left_out(tiers_by: TiersBy, failures: int, words: str) -> None:
    """Without this sentence, the failures of the tiers do not add up to all failures, and you cannot see why."""
    old, new = (
        replace(arm, strata=[*arm.strata, structs.replace(arm.strata[0], tier=Tier.UNTIERED, **counts)])
        for counts in ({"requests": 500, "labelled": 500, "failures": failures},)
        for arm in (an_arm(BASELINE), an_arm(UNIFORM))
    )

    verdict = judge(Cohort(old, new, "", tiers_by=tiers_by), None, Policy(), previous=None)

    assert bool(words) == any("failures have no tier" in reason for reason in verdict.reasons)
    assert words in " ".join(verdict.reasons)


def test_exact_tiers_are_plain_counting() -> None:
    """Where tiers are known without doubt, corrected rates are the counted ones but for the weak prior."""
    verdict = a_verdict(an_arm(CLIFF))

    counted = [failed / seen for failed, seen in zip(CLIFF[:3], REQUESTS[:3], strict=True)]
    rates = [verdict.tiers[tier].candidate.rate for tier in TIERS[:3]]
    assert counted == pytest.approx([rate.estimate for rate in rates if rate is not None], rel=0.02)
    assert verdict.share is not None
    assert 560 / 740 - 600 / 1020 == pytest.approx(verdict.share.change.estimate, abs=0.003)


def untagged(requests: int, failures: int) -> Arm:
    return Arm(
        "version", [Stratum(NO_TAG.tier, "any", NO_TAG.bin, NO_TAG.is_known, requests, requests, failures, 0.0, 0.0)]
    )


@pytest.mark.parametrize(
    ("failures", "state"),
    [
        pytest.param(150, VerdictState.REGRESSION, id="10 -> 30 %"),
        pytest.param(50, VerdictState.WAITING, id="too few to rule out 3 points"),
    ],
)
def test_all_requests_are_judged_without_tiers(failures: int, state: VerdictState) -> None:
    """A missing calibration silences nothing that needs no tiers."""
    verdict = a_verdict(untagged(500, failures), untagged(500, 50), calibration=None)

    assert state is verdict.state
    assert ("all",) * (state is VerdictState.REGRESSION) == verdict.scope
    assert TiersBy.NONE is verdict.tiers_by
    assert "nothing is known about the hard tier" in verdict.reasons[-1]
    assert verdict.share is None
    assert set(TIERS) == set(verdict.tiers)


def test_ok_without_tiers_knows_nothing_of_the_hard_tier() -> None:
    """It says so, and `could_still_be` has no entry for it."""
    verdict = a_verdict(untagged(5000, 500), untagged(5000, 500), calibration=None)

    assert VerdictState.OK is verdict.state
    assert ["all"] == list(verdict.could_still_be)
    assert "nothing is known about the hard tier" in verdict.reasons[-1]


def test_untrusted_tiers_are_none_with_the_reasons() -> None:
    """A calibration that may not be believed gives no tiers, and the verdict says why."""
    trust = replace(known_tiers().trust, is_trusted=False, reasons=("2 more reference versions needed.",))

    verdict = a_verdict(an_arm(CLIFF), calibration=untrusted(trust))

    assert TiersBy.NONE is verdict.tiers_by
    assert VerdictState.OK is verdict.state
    assert "2 more reference versions needed." in verdict.reasons[-1]


def test_declared_tiers_need_no_calibration() -> None:
    """A cliff is called on the operator's own tiers."""
    strata = [an_arm(counts).strata for counts in (BASELINE, CLIFF)]
    cohort = Cohort(Arm("old", strata[0]), Arm("new", strata[1]), "", TiersBy.DECLARED)

    verdict = judge(cohort, None, Policy(), previous=None)

    assert VerdictState.CLIFF is verdict.state
    assert TiersBy.DECLARED is verdict.tiers_by
    assert verdict.share is not None
    assert verdict.share.excess.lower > 0


@pytest.mark.parametrize(
    ("failures", "labelled", "words"),
    [
        pytest.param((30, 60, 280, 0), (3000, 1500, 500, 0), "candidate's labels lag behind: 50.0 %", id="everywhere"),
        pytest.param((60, 120, 300, 0), (6000, 3000, 500, 0), "hard-tier labels lag behind", id="in the hard tier"),
    ],
)
def test_labels_that_one_arm_lacks_are_an_obstacle(failures: Counts, labelled: Counts, words: str) -> None:
    """What they could hide is more than the margin, and more requests do not change that."""
    verdict = a_verdict(an_arm(failures, labelled=labelled))

    assert VerdictState.WAITING is verdict.state
    assert any(words in obstacle for obstacle in verdict.obstacles)
    assert verdict.requests_needed == 0


def test_a_small_gap_of_labels_widens_what_can_be_claimed() -> None:
    """Three points of failures without a label cannot make an `ok` within three points."""
    assert VerdictState.OK is a_verdict(an_arm((120, 300, 600, 0))).state

    verdict = a_verdict(an_arm((0, 150, 570, 0), labelled=(5880, 2850, 970, 0)))

    assert VerdictState.WAITING is verdict.state
    assert verdict.could_still_be["all"] >= 0.03 - 0.02


def test_a_regression_is_called_in_spite_of_missing_labels() -> None:
    """Where even the labels that are there show it."""
    verdict = a_verdict(an_arm((900, 600, 450, 0), labelled=(6000, 3000, 850, 0)))

    assert VerdictState.REGRESSION is verdict.state
    assert {"all", "easier"} <= set(verdict.scope)


def test_labels_that_are_all_failures_are_an_obstacle() -> None:
    """Thumbs down alone tell no failure rate."""
    verdict = a_verdict(untagged(500, 500), untagged(500, 500), calibration=None)

    assert VerdictState.WAITING is verdict.state
    assert "only ever say failure" in verdict.obstacles[0]


@pytest.mark.parametrize(
    ("floor", "state"),
    [
        pytest.param(Floor(service="agent", pass_rate=0.52), VerdictState.REGRESSION, id="44 % pass below 52 %"),
        pytest.param(Floor(service="agent", pass_rate=0.48), VerdictState.CLIFF, id="44 % pass may be 48 %"),
        pytest.param(
            Floor(service="agent", pass_rate=0.9, capability="any"), VerdictState.REGRESSION, id="floor of a capability"
        ),
        pytest.param(
            Floor(service="agent", pass_rate=0.9, capability="none"), VerdictState.CLIFF, id="capability never seen"
        ),
        pytest.param(
            Floor(service="agent", pass_rate=0.98, tier=TierGroup.ALL), VerdictState.REGRESSION, id="all pass 92.6 %"
        ),
        pytest.param(
            Floor(service="agent", pass_rate=0.95, tier=TierGroup.EASIER), VerdictState.CLIFF, id="easier pass 98 %"
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


@pytest.mark.parametrize("watched", [(), ("search",)], ids=["a rare class", "a class that the policy watches"])
def test_capability_that_got_worse_is_named(watched: tuple[str, ...]) -> None:
    """One class may regress in the hard tier while another improves as much: the average does not tell."""

    def arm(search: int, booking: int) -> Arm:
        easy = an_arm((120, 300, 0, 0), (6000, 3000, 0, 0)).strata
        hard = [
            structs.replace(an_arm((0, 0, failures, 0), (0, 0, 500, 0)).strata[0], capability=name)
            for name, failures in (("search", search), ("booking", booking))
        ]
        return Arm("version", [*easy, *hard])

    verdict = a_verdict(
        arm(380, 220), arm(300, 300), policy=Policy(watched_capabilities=watched, capability_min_share=0.5)
    )

    assert ["search"] == list(verdict.regressed_capabilities)
    assert ("capability:search",) * bool(watched) == verdict.scope
    assert any(reason.startswith("The class search fails more often") for reason in verdict.reasons)


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


NOT_SHOWN = (120, 300, 640, 0)  # hard tier 0.60 -> 0.64: too little for an alarm of its own


@pytest.mark.parametrize(
    ("shown", "later", "scope"),
    [
        pytest.param(CLIFF, (75, 208, 590, 0), "excess", id="cliff"),
        pytest.param(WORSE, NOT_SHOWN, "hard", id="regression"),
        pytest.param(BASELINE, (150, 345, 660, 0), "all", id="ok"),
    ],
)
def test_what_was_shown_stays_shown(shown: Counts, later: Counts, scope: str) -> None:
    """A look that alone decides otherwise keeps what an earlier one showed, and the bounds that showed it."""
    first, alone = a_verdict(an_arm(shown)), a_verdict(an_arm(later))

    again = a_verdict(an_arm(later), previous=first)

    assert alone.state is not first.state
    assert first.state is again.state
    kept = again.bounds[scope]
    assert max(first.bounds[scope].lower, alone.bounds[scope].lower) == kept.lower
    assert min(first.bounds[scope].upper, alone.bounds[scope].upper) == kept.upper
    assert kept.lower <= kept.estimate <= kept.upper


def test_a_restart_knows_what_was_shown() -> None:
    """A verdict that was stored and read back weighs as the one in memory."""
    stored = TypeAdapter(Verdict)
    first, later = a_verdict(an_arm(CLIFF)), an_arm((75, 208, 590, 0))

    restored = stored.validate_json(stored.dump_json(first))

    assert VerdictState.CLIFF is a_verdict(later, previous=restored).state
    assert a_verdict(later, previous=first) == a_verdict(later, previous=restored)


@pytest.mark.parametrize("policy", [Policy(floors=(Floor(service="agent", pass_rate=0.35),))], ids=["a floor"])
def test_a_broken_floor_stays_broken(policy: Policy) -> None:
    """The highest pass rate that is still believable does not rise again."""
    first = a_verdict(an_arm((120, 300, 720, 0)), policy=policy)

    again = a_verdict(an_arm((120, 300, 670, 0)), an_arm((120, 300, 720, 0)), policy=policy, previous=first)

    assert "floor:hard" in first.scope
    assert ("floor:hard",) == tuple(scope for scope in again.scope if scope.startswith("floor"))


def test_evidence_that_contradicts_starts_anew() -> None:
    """Bounds that exclude the earlier ones replace them: something other than chance has changed."""
    first = a_verdict(an_arm(WORSE))
    better = an_arm((120, 300, 520, 0))

    assert VerdictState.REGRESSION is first.state
    assert a_verdict(better).state is a_verdict(better, previous=first).state


def test_other_tiers_start_anew() -> None:
    """What was shown by some tiers says nothing of others."""
    first = a_verdict(an_arm(WORSE), policy=Policy())
    elsewhere = replace(first, calibration_id="of other tiers")

    assert VerdictState.REGRESSION is a_verdict(an_arm(NOT_SHOWN), previous=first).state
    assert VerdictState.WAITING is a_verdict(an_arm(NOT_SHOWN), previous=elsewhere).state


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        pytest.param(["ok", "cliff", "waiting"], VerdictState.WAITING, "`cliff` from 1970-01-01 00:01 UTC", id="taken"),
        pytest.param(["ok", "waiting"], VerdictState.WAITING, "`ok` from 1970-01-01 00:00 UTC", id="an ok too"),
        pytest.param(["ok", "cliff"], VerdictState.REGRESSION, "", id="a graver one needs no word"),
    ],
)
def test_a_verdict_that_no_longer_holds_is_said(said: list[str], state: VerdictState, words: str) -> None:
    """Whoever saw the graver verdict learns when it began and why it may have gone."""
    sentences = list(withdrawn([(60.0 * at, each) for at, each in enumerate(said)], state))

    assert bool(words) == len(sentences)
    assert all(words in sentence for sentence in sentences)


counts = st.tuples(*[st.integers(0, 400)] * 4)


@pytest.mark.slow
@given(counts, counts, counts, counts, st.sampled_from([None, known_tiers()]))
@example((0, 1, 1, 7), (0, 1, 0, 0), (0, 1, 2, 0), (0, 0, 2, 0), known_tiers())  # an excess beyond a whole share
def test_no_number_of_a_verdict_is_ever_missing_its_value(
    requests: Counts, failures: Counts, other_requests: Counts, other_failures: Counts, calibration: Calibration | None
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


def test_a_bound_beside_its_margin_is_reported_with_as_many_digits_as_tell_them_apart() -> None:
    """Rounded to a digit, `ok` would say that its bound is its margin."""
    upper = a_verdict(untagged(4_000, 400), untagged(4_000, 400)).could_still_be["all"]

    just_below, just_above = (
        a_verdict(untagged(4_000, 400), untagged(4_000, 400), policy=Policy(ok_margin=upper + by)).reasons[0]
        for by in (0.0002, -0.0002)
    )

    assert f"at most +{100 * upper:.2f} points more often (margin +{100 * upper:.1f} points)" in just_below
    assert f"up to +{100 * upper:.2f} points more often (ok needs less than +{100 * upper:.1f} points)" in just_above


def test_a_change_like_with_like_is_not_taken_for_the_difference_of_the_rates_beside_it() -> None:
    """A candidate that serves harder classes and is no worse in any."""
    arms = [
        Arm("v", [Stratum(Tier.UNTIERED, name, 0, False, n, n, n * part // 10, 0.0, 0.0) for name, n, part in classes])
        for classes in ([("faq", 900, 1), ("refund", 100, 5)], [("faq", 300, 1), ("refund", 700, 5)])
    ]

    reasons = judge(Cohort(arms[0], arms[1], "", TiersBy.NONE), None, Policy(), previous=None).reasons

    assert any("14.0 % → 38.0 % failures, like with like +0.0 points" in reason for reason in reasons)


def test_an_arm_without_hard_requests_has_no_share_of_hard_failures() -> None:
    """A canary for easy requests only: nothing says how often it would fail the hard ones."""
    arms = [
        Arm("v", [Stratum(tier, "any", 0, True, n, n, n // 10, 0.0, 0.0) for tier, n in tiers])
        for tiers in ([(Tier.EASY, 900), (Tier.HARD, 100)], [(Tier.EASY, 900)])
    ]

    verdict = judge(Cohort(arms[0], arms[1], "", TiersBy.DECLARED), None, Policy(), previous=None)

    assert verdict.share is None
    assert not any("of failures are hard" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("last_hour", "times"), [(29, 0), (20, 1)])
def test_a_verdict_says_which_hours_it_does_not_judge(last_hour: int, times: int) -> None:
    """What breaks once the candidate serves alone is beyond a comparison of the two."""
    arms = [
        Arm("v", [Stratum(Tier.UNTIERED, "any", 0, False, 500, 500, 50, 0.0, 0.0, hour) for hour in range(until + 1)])
        for until in (last_hour, 29)
    ]

    verdict = judge(Cohort(arms[0], arms[1], "", TiersBy.NONE), None, Policy(), previous=None)

    assert VerdictState.OK is verdict.state
    told = "The baseline has not served for 9 hours; candidate requests since then are not judged."
    assert times == verdict.reasons.count(told)


@pytest.mark.parametrize(
    ("hours", "times"),
    [
        pytest.param(range(20), 1, id="ceased"),
        pytest.param(range(24), 0, id="six hours ago"),
        pytest.param([0, 1, 2, 3, 17, 18, 19], 0, id="as long a pause before"),
    ],
)
def test_a_verdict_says_that_labels_ceased(hours: Sequence[int], times: int) -> None:
    """It rests on the earlier ones, and the requests that `waiting` asks for would never count."""
    strata = [Stratum(Tier.UNTIERED, "any", 0, False, 500, 500, 50, 0.0, 0.0, hour) for hour in hours]
    strata += [
        Stratum(Tier.UNTIERED, "any", 0, False, 500, 0, 0, 0.0, 0.0, hour) for hour in range(30) if hour not in hours
    ]

    verdict = judge(Cohort(Arm("v", strata), Arm("v", strata), "", TiersBy.NONE), None, Policy(), previous=None)

    assert VerdictState.OK is verdict.state
    assert times == sum("No request of the last 10 hours has a label" in each for each in verdict.reasons)


@pytest.mark.parametrize(("number", "is_obstacle"), [(100, False), (400, True)])
def test_a_class_that_the_candidate_alone_serves_is_named_however_small(number: int, *, is_obstacle: bool) -> None:
    """Below the margin it keeps no `ok` back, but nothing else would say that it fails."""
    both = Stratum(Tier.UNTIERED, "faq", 0, False, 6_000, 6_000, 600, 0.0, 0.0)
    new = Stratum(Tier.UNTIERED, "refunds", 0, False, number, number, number * 9 // 10, 0.0, 0.0)

    verdict = judge(Cohort(Arm("v", [both]), Arm("w", [both, new]), "", TiersBy.NONE), None, Policy(), previous=None)

    told = f"{number} of the candidate's labelled requests (90.0 % of them fail) are of kinds that the baseline does"
    assert 1 == sum(each.startswith(told) for each in verdict.reasons)
    assert is_obstacle == bool(verdict.obstacles)
    assert (VerdictState.WAITING if is_obstacle else VerdictState.OK) is verdict.state


def test_a_regression_says_once_that_the_baseline_serves_no_longer() -> None:
    """It was shown side by side, and rests on that."""
    arms = [
        Arm("v", [Stratum(Tier.UNTIERED, "any", 0, False, 500, 500, bad, 0.0, 0.0, hour) for hour in range(until + 1)])
        for until, bad in ((20, 50), (29, 150))
    ]

    verdict = judge(Cohort(arms[0], arms[1], "", TiersBy.NONE), None, Policy(), previous=None)

    assert VerdictState.REGRESSION is verdict.state
    assert 1 == sum("has not served for 9 hours" in each for each in verdict.reasons)
    assert not verdict.obstacles


@pytest.mark.parametrize(
    ("beside", "since", "state", "told"),
    [
        pytest.param(18, 18, VerdictState.REGRESSION, "All requests fail more often", id="worse throughout"),
        pytest.param(10, 18, VerdictState.WAITING, "so the time may be the cause", id="worse since it serves alone"),
        pytest.param(30, 10, VerdictState.WAITING, "no number of candidate requests", id="worse until it serves alone"),
        pytest.param(10, 10, VerdictState.OK, "All requests fail at most", id="as good"),
    ],
)
def test_a_rise_since_the_candidate_serves_alone_has_to_show_beside_the_baseline_too(
    beside: int, since: int, state: VerdictState, told: str
) -> None:
    """Four hours side by side, then the candidate alone for two days: compared with the days before."""

    def arm(failing: dict[int, int], n: int) -> Arm:
        return Arm(
            "v", [Stratum(Tier.UNTIERED, "any", 0, False, n, n, n * f // 100, 0, 0, h) for h, f in failing.items()]
        )

    before = arm(dict.fromkeys(range(52), 10), 100)
    after = arm({hour: beside if hour < 52 else since for hour in range(48, 100)}, 100)
    cohort = Cohort(before, after, "", TiersBy.NONE, comparison=Comparison.BEFORE_AFTER)

    verdict = judge(cohort, None, Policy(), previous=None)

    assert (state, Comparison.BEFORE_AFTER) == (verdict.state, verdict.comparison)
    assert told in verdict.reasons[0]
    assert (state is VerdictState.WAITING) is bool(verdict.obstacles)
    assert not verdict.requests_needed


def test_an_alarm_goes_if_later_hours_side_by_side_contradict_it() -> None:
    """The candidate took nearly all of the traffic on the day on which everybody got harder; a few stay behind."""

    def arm(n: int, hours: range, fails: int) -> Arm:
        return Arm("v", [Stratum(Tier.UNTIERED, "any", 0, False, n, n, n * fails // 100, 0, 0, h) for h in hours])

    days_before = arm(100, range(48), 10).strata
    verdict = None
    for until, state in ((56, VerdictState.REGRESSION), (140, VerdictState.WAITING)):
        baseline = Arm("v", [*days_before, *arm(5, range(48, until), 20).strata])
        cohort = Cohort(baseline, arm(100, range(48, until), 20), "", TiersBy.NONE, comparison=Comparison.BEFORE_AFTER)
        verdict = judge(cohort, None, Policy(), previous=verdict)

        assert state is verdict.state


@pytest.mark.parametrize("tiers_by", [TiersBy.DECLARED, TiersBy.LEARNT])
@pytest.mark.parametrize(("beside", "state"), [(3, VerdictState.CLIFF), (12, VerdictState.OK)])
def test_what_left_the_hard_tier_behind_has_to_show_side_by_side(
    beside: int, state: VerdictState, tiers_by: TiersBy
) -> None:
    """Easy requests fail less often since the candidate serves alone, with the model or with the time."""

    def arm(easy: dict[int, int], n: int) -> Arm:
        rows = [(Tier.HARD, 0.0, hour, 50) for hour in easy] + [(Tier.EASY, -4.0, hour, f) for hour, f in easy.items()]
        return Arm(
            "v", [Stratum(t, "any", 0, True, n, n, n * f // 100, n * at, n * 1e-6, hour) for t, at, hour, f in rows]
        )

    before = arm(dict.fromkeys(range(58), 12), 200)
    after = arm({hour: beside if hour < 58 else 3 for hour in range(48, 110)}, 200)
    cohort = Cohort(before, after, "known-tiers", tiers_by, comparison=Comparison.BEFORE_AFTER)

    assert state is judge(cohort, known_tiers(), Policy(), previous=None).state


def test_hours_side_by_side_with_too_few_easier_failures_show_no_cliff() -> None:
    """A hundred requests without an easier failure tell nothing, so what fell since then may come from the time."""

    def rows(hours: range, n: int, easy: int) -> list[Stratum]:
        rates = ((Tier.HARD, 50), (Tier.EASY, easy))
        return [Stratum(tier, "any", 0, True, n, n, n * f // 100, 0, 0, hour) for hour in hours for tier, f in rates]

    before = Arm("v", rows(range(58), 200, 12))
    after = Arm("v", [*rows(range(48, 58), 10, 0), *rows(range(58, 110), 200, 3)])
    cohort = Cohort(before, after, "", TiersBy.DECLARED, comparison=Comparison.BEFORE_AFTER)

    assert VerdictState.CLIFF is not judge(cohort, None, Policy(), previous=None).state
