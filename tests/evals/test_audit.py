from __future__ import annotations

from collections.abc import Iterable

import pytest

from monitor.difficulty.tiers import Tier
from monitor.evals.audit import Audit, GapKind, audit, power_to_see
from monitor.evals.cases import Attempt, CaseKey, Run, pair_runs, runs_of
from monitor.evals.comparison import compare
from monitor.evals.tiering import tiers_by_label, without_tiers
from tests.evals.suites import an_attempt


def a_run(outcomes: Iterable[tuple[str, int, int]]) -> Run:
    """Cases per tier, and how many of them pass."""
    return runs_of(
        an_attempt(f"{tier}-{number}", passed=number < passed, tier=tier)
        for tier, cases, passed in outcomes
        for number in range(cases)
    )[""]


def audited(baseline: Run, candidate: Run) -> Audit:
    pairing = pair_runs(baseline, candidate)
    tiering = tiers_by_label([baseline, candidate], None, {}) or without_tiers()
    return audit(pairing, compare(tiering.tiered(pairing.pairs), confidence=0.95), min_hard_failures=30)


def spots(found: Audit) -> dict[GapKind, int | None]:
    return {spot.kind: spot.cases_to_add for spot in found.blind_spots}


def test_a_good_suite_has_no_blind_spot() -> None:
    """A third is hard, each tier has cases enough to show a drop of 20 points, and frontier probes are there."""
    suite = [("easy", 300, 280), ("medium", 300, 240), ("hard", 200, 100), ("frontier", 100, 5)]

    assert {} == spots(audited(a_run(suite), a_run(suite)))


@pytest.mark.parametrize(
    ("hard", "cases", "missing"),
    [(100, 1_000, 286), (0, 70, 30), (29, 100, 2)],
    ids=["a tenth is hard", "nothing is hard", "nearly enough are hard"],
)
def test_hard_cases_to_add_make_thirty_percent(hard: int, cases: int, missing: int) -> None:
    """So many more make 30 %, and one fewer does not."""
    suite = [("easy", cases - hard, cases - hard - 1), *([("hard", hard, hard // 2)] if hard else [])]
    kind = GapKind.FEW_HARD_CASES if hard else GapKind.NO_HARD_CASES

    assert missing == spots(audited(a_run(suite), a_run(suite)))[kind]
    assert (hard + missing) / (cases + missing) >= 0.3 > (hard + missing - 1) / (cases + missing - 1)


def test_too_few_hard_failures_say_how_many_cases_give_enough() -> None:
    """Ten of forty hard cases fail; at that rate eighty more give the twenty failures that are missing."""
    suite = [("easy", 60, 50), ("hard", 40, 30)]

    assert 80 == spots(audited(a_run(suite), a_run(suite)))[GapKind.FEW_HARD_FAILURES]


def test_a_saturated_tier_says_which_drop_it_hides() -> None:
    """Both versions pass nearly everything; the drop that is said to show does show, and a smaller one does not."""
    before, after = a_run([("easy", 400, 396), ("hard", 200, 90)]), a_run([("easy", 400, 398), ("hard", 200, 95)])
    found = audited(before, after)
    (spot,) = [spot for spot in found.blind_spots if spot.kind is GapKind.SATURATED_TIER]
    drop = found.sight[Tier.EASY].smallest_visible_drop
    assert drop is not None

    assert Tier.EASY is spot.tier
    assert f"{100 * drop:.1f} points" in spot.sentence
    assert power_to_see(drop, cases=400, churn=0.0, level=0.025) >= 0.8
    assert power_to_see(drop - 0.001, cases=400, churn=0.0, level=0.025) < 0.8


def test_ids_that_stand_for_several_questions_are_distinguished_from_repeats() -> None:
    """One name with two questions is a mistake; the same question twice is a repeat."""
    twice = [
        Attempt(CaseKey("", "a"), passed=True, input_digest="1"),
        Attempt(CaseKey("", "a"), passed=True, input_digest="2"),
        Attempt(CaseKey("", "b"), passed=True, input_digest="3"),
        Attempt(CaseKey("", "b"), passed=False, input_digest="3"),
    ]
    run = runs_of(twice)[""]
    said = [spot.sentence for spot in audited(run, run).blind_spots if spot.kind is GapKind.DUPLICATE_IDS]

    assert any("stand for several questions: 1 (a)" in sentence for sentence in said)
    assert any("count as repeats of one case: 1." in sentence for sentence in said)


def test_without_tiers_the_suite_is_blind() -> None:
    """Nothing is said of hard cases that nobody knows."""
    run = runs_of([an_attempt("a"), an_attempt("b", passed=False)])[""]

    assert {GapKind.TIERS_UNKNOWN: None} == spots(audited(run, run))
