"""What the labels of a rollout are worth."""

from __future__ import annotations

from dataclasses import asdict, replace
from random import Random
from typing import Any

import pytest
from msgspec import structs

from monitor.difficulty.tiers import Tier
from monitor.labels.source_verdicts import PatternCount
from monitor.rollout.cohort import Arm, ArmName, Cohort, Comparison, Stratum, TierGroup, TiersBy
from monitor.rollout.judging import judge
from monitor.rollout.labelling import FAILURE, SUCCESS, weigh_labels
from monitor.rollout.measurement import Measurement
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import CountBy, Verdict, VerdictState

POLICY = Policy(min_labelled_requests=100)


def a_stratum(tier: Tier = Tier.EASY, **said: int) -> Stratum:
    """Requests by what was said of them; `_` stands for nobody's word, as in `p_f_`."""
    counts = []
    for name, requests in said.items():
        words = "" if name == "silent" else name.replace("_", "-")
        spoken = words.replace("-", "")
        looked, audited = requests * bool(words[1:].strip("-")), requests * (words[3:] not in {"", "-"})
        failures = requests * (spoken[-1:] == "f")
        counts.append(
            PatternCount(words, requests, requests * bool(spoken), failures, looked, looked, audited, audited)
        )
    requests, labelled, failures = (int(sum(each[place] for each in counts)) for place in (1, 2, 3))
    return Stratum(tier, "any", 0, True, requests, labelled, failures, 0.0, 0.0, by_pattern=counts)


def in_hour(hour: int, each: Stratum) -> Stratum:
    return structs.replace(each, block=hour)


def a_cohort(baseline: list[Stratum], candidate: list[Stratum]) -> Cohort:
    return Cohort(Arm("old", baseline), Arm("new", candidate), "", TiersBy.NONE)


def judged(baseline: list[Stratum], candidate: list[Stratum]) -> Verdict:
    cohort = a_cohort(baseline, candidate)
    return judge(cohort, None, POLICY, previous=None)


def test_checks_alone_are_counted_as_they_are() -> None:
    """Where nobody but checks speaks, what passes them passed."""
    cohort = a_cohort([a_stratum(p___=950, f___=50)], [a_stratum(p___=900, f___=100)])

    assert cohort is weigh_labels(cohort, error_rate=0.05).cohort


def test_a_judge_on_twice_as_much_of_one_arm_makes_no_regression() -> None:
    """5 and 10 % of the arms are judged, a fifth of them fails; nobody errs. Counted plainly, failures double."""
    verdict = judged(
        [a_stratum(p___=19_000, p_f_=200, p_p_=800)],
        [a_stratum(p___=18_000, p_f_=400, p_p_=1_600)],
    )

    assert VerdictState.REGRESSION is not verdict.state
    baseline, candidate = verdict.aggregate.baseline, verdict.aggregate.candidate
    assert (1_000, 2_000) == (baseline.requests, candidate.requests)
    assert baseline.rate is not None
    assert 0.2 == pytest.approx(baseline.rate.estimate)
    assert 0.05 == pytest.approx(verdict.coverage_gap[TierGroup.ALL])
    assert "lag behind" in verdict.obstacles[0]


BY_PEOPLE, BY_JUDGE = a_stratum(p__p=950, p__f=50), a_stratum(p_p_=855, p_f_=145)
"""The same arm, once as people label it, and once as a judge does that fails a tenth of the good answers."""


@pytest.mark.parametrize(
    ("baseline", "candidate", "gap"),
    [
        ([BY_PEOPLE], [BY_JUDGE], 0.2),
        ([BY_JUDGE], [BY_PEOPLE], -0.2),
        ([BY_JUDGE, BY_PEOPLE], [BY_JUDGE], 0.1),
        ([BY_JUDGE, BY_PEOPLE], [BY_JUDGE, BY_PEOPLE], 0.0),
        ([BY_JUDGE], [BY_JUDGE], 0.0),
        ([BY_PEOPLE], [BY_PEOPLE], 0.0),
        ([BY_JUDGE, a_stratum(p__p=60)], [BY_JUDGE, a_stratum(p__p=70)], 0.0),  # chance
        ([BY_JUDGE, a_stratum(f___=100)], [BY_JUDGE, a_stratum(f___=400)], 0.0),  # checks err in neither arm
        ([a_stratum(p_pp=900, p_fp=50, p_ff=50)], [a_stratum(p_pp=200, p_fp=20, p_ff=20, p_p_=900)], 0.0),
    ],
)
def test_a_judge_that_labels_one_arm_more_than_people_do_may_err_there(
    baseline: list[Stratum], candidate: list[Stratum], gap: float
) -> None:
    """If an unchecked judge is wrong in a fifth of its verdicts, the model has not changed for that."""
    measurement = Measurement(a_cohort(baseline, candidate), None, POLICY)

    assert gap == pytest.approx(measurement.judge_gaps[TierGroup.ALL])
    assert VerdictState.OK is not judged([BY_PEOPLE], [BY_JUDGE]).state


@pytest.mark.parametrize("candidate", [BY_JUDGE, a_stratum(p_p_=810, p_f_=190)], ids=["the judge errs", "some fail"])
def test_the_errors_of_a_judge_of_one_arm_are_no_regression(candidate: Stratum) -> None:
    """People label the baseline alone, and the judge the candidate alone; both serve just as well, or nearly."""
    verdict = judged([BY_PEOPLE] * 10, [candidate] * 10)

    assert VerdictState.WAITING is verdict.state
    assert "people label a smaller part of the candidate" in verdict.obstacles[0]
    assert 0 == verdict.requests_needed
    assert VerdictState.REGRESSION is judged([BY_PEOPLE] * 10, [a_stratum(p_p_=600, p_f_=400)] * 10).state


def test_who_labels_is_compared_within_the_same_hours() -> None:
    """People labelled all until the judge came; the candidate came with it."""
    earlier, later = in_hour(1, BY_PEOPLE), in_hour(2, BY_JUDGE)

    assert 0.0 == Measurement(a_cohort([earlier, later], [later]), None, POLICY).judge_gaps[TierGroup.ALL]


def test_arms_of_which_one_has_no_label_still_served_side_by_side() -> None:
    """A judge that is down for the candidate makes no cutover."""
    verdict = judged([a_stratum(p_p_=900, p_f_=100)], [a_stratum(p___=1_000)])

    assert Comparison.CONCURRENT is verdict.comparison
    assert "The candidate's labels lag behind" in verdict.reasons[0]
    assert not any("side by side" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("words", "what"), [("--f-", "labels"), ("--ff", "verdicts of people")])
def test_a_label_that_stands_for_a_million_is_named(words: str, what: str) -> None:
    """A chance of 0.000001 among a thousand certain ones is a slip, and no number of requests would make up for it."""
    audited = words[3:] == "f"
    typo = PatternCount(words, 1, 1, 1, *(1, 1, 1e6, 1e12) if audited else (1e6, 1e12, 0, 0))
    arm = a_judged_arm(100, 900, missed=0.0, false=0.0, audited=0.5)
    poisoned = structs.replace(arm[0], requests=arm[0].requests + 1, by_pattern=[*arm[0].by_pattern, typo])

    verdict = judged(arm, [poisoned])

    assert VerdictState.WAITING is verdict.state
    assert 0 == verdict.requests_needed
    (sentence,) = verdict.obstacles
    assert f" {what} tell no more than 1 would: a few have a `sampling_probability`" in sentence


@pytest.mark.parametrize("silent", [0, 50])
def test_reports_of_the_hours_before_the_judge_came_count(silent: int) -> None:
    """Beside a judge a reported pass says nothing, but until it comes there is nothing else; some runs have neither."""
    verdict = judged(
        [in_hour(1, a_stratum(_p__=900, _f__=100, silent=silent)), in_hour(2, a_stratum(____=900, __p_=90, __f_=10))],
        [in_hour(1, a_stratum(_p__=800, _f__=200, silent=silent)), in_hour(2, a_stratum(____=900, __p_=80, __f_=20))],
    )

    assert VerdictState.REGRESSION is verdict.state
    assert () == verdict.obstacles
    rates = [each.rate for each in (verdict.aggregate.baseline, verdict.aggregate.candidate)]
    assert [0.1, 0.2] == [pytest.approx(rate.estimate) for rate in rates if rate is not None]


REPORTED = [in_hour(1, a_stratum(_p__=900, _f__=100)), in_hour(2, a_stratum(__p_=900, __f_=100))]
COMPLAINED = [in_hour(1, a_stratum(____=990, _f__=10)), in_hour(2, a_stratum(__p_=900, __f_=100))]


def test_of_two_versions_one_after_the_other_reports_do_not_stand_in_for_the_judge() -> None:
    """Otherwise reports of the old one would be compared with verdicts on the new one."""
    cohort = replace(a_cohort(REPORTED, REPORTED), comparison=Comparison.BEFORE_AFTER)

    assert 0 < weigh_labels(cohort, error_rate=0.05).cohort.baseline.strata[0].unlabelled


SELDOM = [in_hour(1, a_stratum(_p__=900, _f__=100)), in_hour(2, a_stratum(_p__=99_600, _pp_=360, _pf_=40))]


@pytest.mark.parametrize(
    ("baseline", "candidate"),
    [
        pytest.param(REPORTED, COMPLAINED, id="of few runs"),
        pytest.param(REPORTED, REPORTED[1:], id="of one arm"),
        pytest.param(SELDOM, SELDOM, id="of so few runs that the judge met none"),
    ],
)
def test_other_reports_do_not_stand_in_for_the_judge(baseline: list[Stratum], candidate: list[Stratum]) -> None:
    cohort = a_cohort(baseline, candidate)

    expected = weigh_labels(replace(cohort, comparison=Comparison.BEFORE_AFTER), error_rate=0.05).cohort
    assert expected.arms == weigh_labels(cohort, error_rate=0.05).cohort.arms


def test_a_judge_by_design_leaves_no_gap() -> None:
    """With inclusion probabilities, those that were looked at stand for the rest, and no label is missing."""
    arms = []
    for chance, runs in ((0.05, 1_000), (0.10, 2_000)):
        counts = [PatternCount("p---", 20_000 - runs, 20_000 - runs, 0, 0, 0, 0, 0)]
        for words, part in (("p-f-", 0.2), ("p-p-", 0.8)):
            n = round(runs * part)
            counts.append(PatternCount(words, n, n, n * (words == "p-f-"), n / chance, n / chance**2, 0, 0))
        arms.append([Stratum(Tier.EASY, "any", 0, True, 20_000, 20_000, 0, 0.0, 0.0, by_pattern=counts)])

    verdict = judged(*arms)

    assert 0.0 == pytest.approx(verdict.coverage_gap[TierGroup.ALL])
    assert () == verdict.obstacles
    assert 1.0 == pytest.approx(verdict.labels[ArmName.BASELINE].coverage)


def test_a_judge_by_design_leaves_no_gap_in_any_hour() -> None:
    """In an hour of hundred runs five are looked at or one; together they stand for all, whatever each hour does."""
    dice = Random(7)

    def an_hour(hour: int, chance: float) -> Stratum:
        looked = sum(dice.random() < chance for _ in range(100))
        silent = PatternCount("p---", 100 - looked, 100 - looked, 0, 0, 0, 0, 0)
        judge = PatternCount("p-p-", looked, looked, 0, looked / chance, looked / chance**2, 0, 0)
        return Stratum(Tier.EASY, "any", hour, True, 100, 100, 0, 0.0, 0.0, by_pattern=[silent, judge])

    verdict = judged([an_hour(hour, 0.05) for hour in range(200)], [an_hour(hour, 0.05) for hour in range(200)])

    assert 0.0 == verdict.coverage_gap.get(TierGroup.ALL, 0.0)


@pytest.mark.parametrize(
    ("said", "one_sided"),
    [
        pytest.param({"p___": 990, "pf__": 10}, FAILURE, id="thumbs down on one in a hundred"),
        pytest.param({"silent": 900, "_p__": 100}, SUCCESS, id="thumbs up"),
        pytest.param({"p___": 900, "pf__": 50, "pp__": 50}, "", id="both"),
        pytest.param({"_p__": 1_000}, "", id="every run succeeded"),
        pytest.param({"_f__": 1_000}, FAILURE, id="every run failed"),
        pytest.param({"p___": 990, "f___": 10}, "", id="checks"),
    ],
)
def test_one_sided_labels_are_an_obstacle(said: dict[str, int], one_sided: str) -> None:
    """Who only ever says one thing tells no rate; the verdict waits and says so."""
    verdict = judged([a_stratum(**said)], [a_stratum(**said)])

    assert one_sided == verdict.one_sided
    assert bool(one_sided) == any("only ever say" in sentence for sentence in verdict.obstacles)
    is_all = any("of nearly every request" in sentence for sentence in verdict.obstacles)
    assert is_all is (said == {"_f__": 1_000})
    assert not one_sided or VerdictState.WAITING is verdict.state


def a_judged_arm(bad: int, good: int, *, missed: float, false: float, audited: float) -> list[Stratum]:
    """Runs that a judge saw, which passes *missed* of the bad and fails *false* of the good; a part is audited."""
    said = {}
    for person, runs, wrong in (("f", bad, missed), ("p", good, false)):
        for judge_says, number in ((person, runs * (1 - wrong)), ("p" if person == "f" else "f", runs * wrong)):
            said[f"p_{judge_says}{person}"] = round(number * audited)
            said[f"p_{judge_says}_"] = said.get(f"p_{judge_says}_", 0) + round(number * (1 - audited))
    return [a_stratum(**said)]


def test_a_lenient_judge_is_named_before_the_model() -> None:
    """It passes a third of the baseline's failures and none of the candidate's; the rates are the same."""
    baseline = a_judged_arm(2_000, 8_000, missed=0.3, false=0.01, audited=0.2)
    candidate = a_judged_arm(2_000, 8_000, missed=0.0, false=0.01, audited=0.2)

    verdict = judged(baseline, candidate)

    assert VerdictState.REGRESSION is not verdict.state
    assert TierGroup.ALL in verdict.judge_moved
    assert "The judge errs differently in the two arms" in verdict.reasons[0]
    labels = verdict.labels[ArmName.BASELINE]
    assert CountBy.AUDITS is labels.count_by
    assert 0.3 * 0.2 - 0.01 * 0.8 == pytest.approx(labels.correction, abs=1e-3)
    error = labels.judge[TierGroup.ALL].false_success
    assert error is not None
    assert error.lower < 0.3 < error.upper


def test_a_judge_that_people_have_hardly_checked_in_one_arm_is_not_said_to_err_there() -> None:
    """It passes three of four bad answers of both; of the baseline people read ten that it failed, and no other."""
    baseline = [a_stratum(p_fp=5, p_ff=5, p_f_=190, p_p_=1_800)]
    candidate = [a_stratum(p_fp=50, p_ff=50, p_f_=100, p_pf=150, p_pp=750, p_p_=900)]

    verdict = judged(baseline, candidate)

    assert () == verdict.judge_moved
    assert not any("passes 0.0 % of bad answers" in reason for reason in verdict.reasons)


def hours_of(*parts: tuple[int, list[Stratum]]) -> list[Stratum]:
    """Each part's strata as often as it lasts hours, one hour after the other."""
    alike = [strata for hours, strata in parts for _ in range(hours)]
    return [structs.replace(stratum, block=hour) for hour, strata in enumerate(alike) for stratum in strata]


def test_a_judge_that_changed_is_named_before_the_model() -> None:
    """It passes 5 % of the bad answers of both arms, and from the 65th hour on 40 %; 40 of 200 answers are bad."""
    hours = hours_of(
        (64, a_judged_arm(40, 160, missed=0.05, false=0.05, audited=0.5)),
        (64, a_judged_arm(40, 160, missed=0.4, false=0.05, audited=0.5)),
    )

    verdict = judged(hours, hours)
    drift = verdict.judge_drift

    assert () == verdict.judge_moved
    assert drift is not None
    assert (ArmName.BASELINE, TierGroup.EASIER, 64 * 3_600.0) == (drift.arm, drift.group, drift.at)
    assert drift.before.false_success is not None
    assert drift.after.false_success is not None
    assert 0.05 == pytest.approx(drift.before.false_success.estimate)
    assert 0.4 == pytest.approx(drift.after.false_success.estimate)
    assert (
        "The judge errs differently over time: on the easier tiers of the baseline it fails 5.0 % of good answers and "
        "passes 5.0 % of bad answers before 1970-01-03 16:00 UTC, and fails 5.0 % of good answers and passes 40.0 % of "
        "bad answers since. The rates are corrected for its errors on average."
    ) == verdict.reasons[0]


@pytest.mark.parametrize(
    "hours",
    [
        pytest.param(
            hours_of((128, a_judged_arm(40, 160, missed=0.2, false=0.05, audited=0.5))),
            id="the same judge all the time",
        ),
        pytest.param(
            hours_of(
                (64, a_judged_arm(40, 160, missed=0.2, false=0.05, audited=0.5)),
                (64, a_judged_arm(120, 80, missed=0.2, false=0.05, audited=0.5)),
            ),
            id="a model that got worse",
        ),
        pytest.param(
            hours_of(
                (64, a_judged_arm(40, 160, missed=0.05, false=0.05, audited=0.5)),
                (64, a_judged_arm(40, 160, missed=0.4, false=0.05, audited=0.0)),
            ),
            id="people who stopped before the judge changed",
        ),
        pytest.param([*a_judged_arm(400, 1_600, missed=0.2, false=0.05, audited=0.5)], id="a single hour"),
    ],
)
def test_a_judge_is_not_said_to_have_changed_without_evidence(hours: list[Stratum]) -> None:
    """Its errors are those among good and among bad answers, however many of either come."""
    assert judged(hours, hours).judge_drift is None


def test_what_people_begin_to_check_does_not_make_another_judge() -> None:
    """It passes nine of ten bad answers at all hours, and people read at first only what it failed."""
    only_failed = [a_stratum(p_f_=10, p_fp=5, p_ff=5, p_p_=180)]
    both = [a_stratum(p_f_=10, p_fp=5, p_ff=5, p_p_=90, p_pf=45, p_pp=45)]
    hours = hours_of((64, only_failed), (64, both))

    assert judged(hours, hours).judge_drift is None


@pytest.mark.parametrize("easy_and_hard", [((320, 40), (80, 200)), ((320, 0), (0, 200))], ids=["both", "one by one"])
def test_more_hard_requests_do_not_make_another_judge(easy_and_hard: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """It passes a tenth of the bad answers to easy requests and half of those to hard ones, at all hours."""

    def an_hour(easy: int, hard: int) -> list[Stratum]:
        (of_easy,) = a_judged_arm(easy, easy, missed=0.1, false=0.1, audited=0.5)
        (of_hard,) = a_judged_arm(hard, hard, missed=0.5, false=0.1, audited=0.5)
        return [each for each in (of_easy, structs.replace(of_hard, tier=Tier.HARD)) if each.requests]

    hours = hours_of(*((64, an_hour(*numbers)) for numbers in easy_and_hard))

    assert judged(hours, hours).judge_drift is None


def test_rates_are_corrected_only_where_people_checked_both_arms() -> None:
    """A judge that changed in the candidate is named, though the rates of both arms stay as it says."""
    changed = hours_of(*((64, a_judged_arm(40, 160, missed=missed, false=0.05, audited=0.5)) for missed in (0.05, 0.4)))
    unchecked = hours_of((128, a_judged_arm(40, 160, missed=0.05, false=0.05, audited=0.0)))

    verdict = judged(unchecked, changed)

    assert "of the candidate it fails 5.0 % of good answers" in verdict.reasons[0]
    assert verdict.reasons[0].endswith(" since. The rates are not corrected for its errors.")
    assert any("too few to correct its errors" in reason for reason in verdict.reasons)


def test_what_the_judge_had_shown_is_open_again_once_people_check_it() -> None:
    """A regression that rested on a judge's mistakes does not outlive them."""
    uncorrected = judged(
        a_judged_arm(2_000, 8_000, missed=0.3, false=0.01, audited=0.0),
        a_judged_arm(2_000, 8_000, missed=0.0, false=0.01, audited=0.0),
    )
    cohort = a_cohort(
        a_judged_arm(2_000, 8_000, missed=0.3, false=0.01, audited=0.2),
        a_judged_arm(2_000, 8_000, missed=0.0, false=0.01, audited=0.2),
    )

    corrected = judge(cohort, None, POLICY, previous=uncorrected)

    assert VerdictState.REGRESSION is uncorrected.state
    assert VerdictState.REGRESSION is not corrected.state


def test_too_few_audits_are_said_with_how_many_would_do() -> None:
    """Ten of ten thousand correct nothing; the sentence says what would."""
    arm = a_judged_arm(1_000, 9_000, missed=0.1, false=0.01, audited=0.001)

    verdict = judged(arm, arm)

    assert CountBy.LOOKS is verdict.labels[ArmName.CANDIDATE].count_by
    sentence = next(each for each in verdict.reasons if "too few to correct" in each)
    assert f"about {verdict.audits_needed} more in each arm would be enough" in sentence
    assert 100 < verdict.audits_needed < 2_000


def test_tiers_without_enough_audits_share_those_of_their_group() -> None:
    """Easy and medium runs are corrected together; hard ones by their own people."""
    hard = a_judged_arm(300, 200, missed=0.1, false=0.1, audited=0.5)[0]
    easy = a_judged_arm(100, 900, missed=0.0, false=0.02, audited=0.5)[0]
    medium = a_stratum(Tier.MEDIUM, p_f_=118, p_p_=882)
    strata = [
        easy,
        medium,
        a_stratum(Tier.HARD, **{c.pattern.replace("-", "_"): int(c.requests) for c in hard.by_pattern}),
    ]

    cohort = weigh_labels(a_cohort(strata, strata), error_rate=0.05).cohort

    rates = {each.tier: each.evidence[1] / each.evidence[0] for each in cohort.baseline.strata}
    assert 0.1 == pytest.approx(rates[Tier.EASY], abs=0.002)
    assert 118 / 1_000 * 50 / 59 == pytest.approx(rates[Tier.MEDIUM], abs=0.002)
    assert 0.6 == pytest.approx(rates[Tier.HARD], abs=0.002)


def test_the_order_of_verdicts_changes_nothing() -> None:
    """Strata and what was said in them come in any order."""
    strata = [
        *a_judged_arm(200, 800, missed=0.1, false=0.05, audited=0.2),
        a_stratum(Tier.HARD, p_ff=40, p_fp=10, p_p_=60, f___=7, silent=3),
    ]
    shuffled = [
        Stratum(
            s.tier,
            "any",
            0,
            True,
            s.requests,
            s.labelled,
            s.failures,
            0.0,
            0.0,
            by_pattern=tuple(reversed(s.by_pattern)),
        )
        for s in Random(16).sample(strata, len(strata))
    ]

    one, other = judged(strata, strata), judged(shuffled, shuffled)

    assert rounded(asdict(one)) == rounded(asdict(other))


def test_all_requests_weigh_tiers_by_their_requests() -> None:
    """The hard tier is labelled whole and the easy one by a twentieth, but nine of ten requests are easy."""
    baseline = [a_stratum(Tier.EASY, p___=17_100, p_f_=18, p_p_=882), a_stratum(Tier.HARD, p_f_=1_000, p_p_=1_000)]
    candidate = [a_stratum(Tier.EASY, p___=17_100, p_f_=90, p_p_=810), a_stratum(Tier.HARD, p_f_=1_000, p_p_=1_000)]

    verdict = judged(baseline, candidate)

    assert verdict.aggregate.baseline.rate is not None
    assert verdict.aggregate.candidate.rate is not None
    assert verdict.aggregate.change is not None
    assert 0.9 * 0.02 + 0.1 * 0.5 == pytest.approx(verdict.aggregate.baseline.rate.estimate, abs=1e-6)
    assert 0.9 * 0.10 + 0.1 * 0.5 == pytest.approx(verdict.aggregate.candidate.rate.estimate, abs=1e-6)
    assert 0.9 * 0.08 == pytest.approx(verdict.aggregate.change.estimate, abs=1e-6)


def test_where_people_read_only_what_the_judge_failed_its_passes_count_as_passes() -> None:
    """A third of what it failed was checked, and one in ten of that was good; the bounds stay useful, and say so."""
    arm = [a_stratum(p_p_=9_000, p_f_=670, p_ff=297, p_fp=33)]

    verdict = judged(arm, arm)

    labels = verdict.labels[ArmName.BASELINE]
    errors = labels.judge[TierGroup.ALL]
    assert verdict.aggregate.change is not None
    assert verdict.aggregate.baseline.rate is not None
    assert 0.09 == pytest.approx(verdict.aggregate.baseline.rate.estimate, abs=0.0002)
    assert 0.03 > verdict.aggregate.change.upper
    assert 0 == verdict.audits_needed
    assert ("passed",) == labels.unchecked[TierGroup.ALL]
    assert errors.false_failure is not None
    assert 0.011 == pytest.approx(errors.false_failure.estimate, abs=0.0002)
    assert errors.false_success is None
    assert any("almost nothing that the judge passed" in reason for reason in verdict.reasons)


def test_where_people_read_only_the_hard_tier_the_judge_is_believed_on_the_easier_one() -> None:
    """Failures double everywhere; people check a third of the hard requests and none of the easy ones."""
    hard = [
        a_stratum(Tier.HARD, p_f_=134, p_p_=535, p_ff=66, p_pp=265),
        a_stratum(Tier.HARD, p_f_=268, p_p_=400, p_ff=132, p_pp=200),
    ]
    easy = [a_stratum(Tier.EASY, p_f_=450, p_p_=8_550), a_stratum(Tier.EASY, p_f_=900, p_p_=8_100)]
    cohort = Cohort(Arm("old", [hard[0], easy[0]]), Arm("new", [hard[1], easy[1]]), "", TiersBy.DECLARED)

    verdict = judge(cohort, None, POLICY, previous=None)

    assert {"all", "easier", "hard"} == set(verdict.scope)
    unchecked = verdict.labels[ArmName.BASELINE].unchecked
    assert {TierGroup.ALL: ("failed", "passed"), TierGroup.EASIER: ("failed", "passed")} == unchecked


def test_a_judge_that_fails_more_good_answers_of_one_arm_is_seen_by_those_who_read_its_failures() -> None:
    before = [a_stratum(p_p_=9_000, p_f_=700, p_ff=290, p_fp=10)]
    after = [a_stratum(p_p_=8_300, p_f_=1_190, p_ff=290, p_fp=220)]

    assert (TierGroup.ALL,) == judged(before, after).judge_moved[:1]


def rounded(value: Any) -> Any:
    """*value* with its numbers to nine digits: sums of fractions differ by their order in the last ones."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [rounded(each) for each in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value
