"""What people who checked the scores say of them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from monitor.cli import run_command
from monitor.evals.cases import Attempt, Pairing, pair_runs, runs_of
from monitor.evals.comparison import compare, measure_share
from monitor.evals.human import TierOf, corrected
from monitor.evals.tiering import tiers_by_label
from tests.evals.suites import an_attempt, write_csv

TIERS = {"easy": (0.97, 300), "hard": (0.45, 200)}
FALSE_FAILURE, FALSE_SUCCESS, AUDITED = 0.08, 0.15, 0.25


def judged(seed: int, *, gain: float = 0.0, audited: float = AUDITED) -> list[Attempt]:
    """A run whose judge errs, a part of it checked by people who do not."""
    rng = random.Random(f"{seed}-{gain}")
    attempts = []
    for tier, (rate, cases) in TIERS.items():
        for number in range(cases):
            good = rng.random() < rate + (gain if tier == "hard" else 0.0)
            said = rng.random() >= FALSE_FAILURE if good else rng.random() < FALSE_SUCCESS
            human = good if rng.random() < audited else None
            attempts.append(an_attempt(f"{tier}-{number}", passed=said, tier=tier, human=human))
    return attempts


def paired_of(before: Sequence[Attempt], after: Sequence[Attempt]) -> tuple[Pairing, TierOf]:
    pairing = pair_runs(runs_of(before)[""], runs_of(after)[""])
    tiering = tiers_by_label([pairing.baseline, pairing.candidate], None, {})
    assert tiering is not None
    return pairing, tiering.tier_of


def test_without_an_audit_everything_is_plain_counting() -> None:
    """The very same pairs come back."""
    pairing, tiering = paired_of(judged(1, audited=0.0), judged(2, audited=0.0))

    assert (pairing, None) == corrected(pairing, tiering, error_rate=0.05)


def test_too_few_audits_change_no_rate() -> None:
    """Each arm needs some of them before it is corrected."""
    pairing, tiering = paired_of(judged(1, audited=0.01), judged(2, audited=0.01))
    same, labelling = corrected(pairing, tiering, error_rate=0.05)

    assert labelling is not None
    assert "looks" == labelling.arms[0].count_by
    assert pairing.pairs == same.pairs


def test_with_all_cases_checked_the_rates_are_those_of_the_people() -> None:
    """Whatever the judge says."""
    before, after = judged(1, audited=1.0), judged(2, gain=0.1, audited=1.0)
    pairing, tiering = paired_of(before, after)
    found, _ = corrected(pairing, tiering, error_rate=0.05)
    comparison = compare(found.pairs, confidence=0.95)

    assert comparison.aggregate is not None
    for name, attempts in (("passed_before", before), ("passed_after", after)):
        assert math.isclose(sum(bool(each.human) for each in attempts), getattr(comparison.aggregate, name))


def test_a_case_that_a_person_checked_is_lost_or_won_by_their_word() -> None:
    """The score alone would have called the first one lost and the second one won."""
    before = [an_attempt("a", passed=True), an_attempt("b", passed=False)]
    after = [an_attempt("a", passed=False, human=True), an_attempt("b", passed=True, human=False)]
    first, second = pair_runs(runs_of(before)[""], runs_of(after)[""]).pairs

    assert not first.is_newly_failing
    assert not second.is_newly_passing


def test_attempts_without_a_score_count_as_failed_beside_corrected_ones() -> None:
    """A crash is worth nothing, whatever people say of the others."""
    found, _ = corrected(*paired_of(judged(1), judged(2)), error_rate=0.05)
    case = next(iter(found.candidate.cases.values()))
    broken = structs.replace(case, unscored=1)

    assert math.isclose(case.rate / 2.0, broken.settled(passed=False).rate)
    assert math.isclose((case.rate + 1.0) / 2.0, broken.settled(passed=True).rate)


def rows_of(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    words = {None: "", True: "yes", False: "no"}
    return [
        {
            "id": each.key.case_id,
            "tier": each.metadata["tier"],
            "score": int(bool(each.passed)),
            "ann": words[each.human],
        }
        for each in attempts
    ]


@pytest.mark.slow
def test_a_report_says_what_people_say_of_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In each form: how many they checked, what that changes, how the scorer errs in each arm, and how sure that is."""
    runs = {"baseline": judged(1), "candidate": judged(2, gain=0.1)}
    files = [str(write_csv(tmp_path / f"{name}.csv", rows_of(run))) for name, run in runs.items()]
    assert 0 == run_command(["report", *files, "--human", "ann", "--output", "json"])
    document = json.loads(capsys.readouterr().out)
    assert 0 == run_command(["report", *files, "--output", "json"])
    plain = json.loads(capsys.readouterr().out)

    labels = document["labels"]
    assert plain["labels"] is None
    audited = {arm: sum(each.human is not None for each in run) for arm, run in runs.items()}
    assert audited == {arm: labels[arm]["audited"] for arm in runs}
    assert "audits" == labels["baseline"]["count_by"]
    errors = labels["baseline"]["judge"]["all"]
    assert errors["false_failure"]["lower"] < FALSE_FAILURE < errors["false_failure"]["upper"]
    assert errors["false_success"]["lower"] < FALSE_SUCCESS < errors["false_success"]["upper"]
    assert plain["tiers"]["easy"]["pass_rate"]["baseline"]["estimate"] < 0.92
    assert document["tiers"]["easy"]["pass_rate"]["baseline"]["estimate"] > 0.95
    assert all({1.0, 0.0} == {case["before"], case["after"]} for case in document["lost"] + document["won"])
    for form in ("table", "markdown", "html"):
        run_command(["report", *files, "--human", "ann", "--output", form])
        text = " ".join(capsys.readouterr().out.split())
        assert "verdicts of the scorer. Without its errors, the baseline" in text
        assert "On the baseline the scorer fails" in text


def report_on(tmp_path: Path, before: Sequence[Attempt], after: Sequence[Attempt], *options: str) -> list[str]:
    """Writes both runs; the command that compares them."""
    files = [str(write_csv(tmp_path / f"{at}.csv", rows_of(run))) for at, run in enumerate((before, after))]
    return ["report", *files, *options, "--output", "json"]


def test_checked_throughout_a_report_is_that_of_the_column_of_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rates, bounds, tests and cases: nothing of the judge is left, and no more checks are asked for."""
    runs = judged(1, audited=1.0), judged(2, gain=-0.3, audited=1.0)
    told = []
    for options in (["--human", "ann"], ["--column", "passed=ann"]):
        run_command(report_on(tmp_path, *runs, *options))
        told.append(json.loads(capsys.readouterr().out))

    assert "regression" == told[0]["verdict"]
    for part in ("verdict", "scope", "headline", "aggregate", "tiers", "lost", "won"):
        assert told[1][part] == told[0][part]
    assert 0 == told[0]["labels"]["audits_needed"]


def test_words_of_people_that_say_neither_yes_nor_no_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are no audits, whatever they mean; who asked for a correction hears that there is none."""
    path = tmp_path / "run.csv"
    write_csv(path, [row | {"ann": "agree"} for row in rows_of(judged(1))])
    assert 0 == run_command(["report", str(path), str(path), "--human", "ann", "--output", "json"])
    document = json.loads(capsys.readouterr().out)

    assert "500 verdicts of people say neither yes nor no and count as not given." in document["baseline"]["notes"]
    assert document["reasons"][0].startswith("No person has checked the scorer.")
    assert 0 == document["labels"]["baseline"]["audited"]


def test_checks_that_are_nothing_but_an_x_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reviewer may tick what is right; beside an `ok`, an x is a no."""
    path, told = tmp_path / "run.csv", tmp_path / "told.csv"
    write_csv(path, [{"id": n, "score": n % 2, "ann": "x" if n % 2 else ""} for n in range(40)])
    write_csv(told, [{"id": n, "score": n % 2, "ann": "x" if n % 2 else "ok"} for n in range(40)])

    assert 2 == run_command(["report", str(path), str(path), "--human", "ann"])
    assert 'people wrote nothing but "x" in their column; write yes and no' in capsys.readouterr().err
    assert 0 == run_command(["report", str(told), str(told), "--human", "ann"])


@pytest.mark.parametrize("column", ["human", "Human Label", "expert_verdict"])
def test_a_column_of_people_is_found_by_its_name(
    column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the documentation says, without --human."""
    path = tmp_path / "run.csv"
    write_csv(path, [{"id": n, "score": n % 2, column: "yes" if n % 3 else "no"} for n in range(60)])
    assert 0 == run_command(["report", str(path), str(path), "--output", "json"])

    assert 60 == json.loads(capsys.readouterr().out)["labels"]["baseline"]["audited"]


def test_a_column_that_only_sounds_like_people_is_not_taken_for_their_verdicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers that people wrote under `human` are no verdicts."""
    path = tmp_path / "run.csv"
    write_csv(path, [{"id": str(n), "score": n % 2, "human": f"answer {n}"} for n in range(40)])
    assert 0 == run_command(["report", str(path), str(path), "--output", "json"])

    assert json.loads(capsys.readouterr().out)["labels"] is None


def test_reference_runs_need_no_verdicts_of_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They teach tiers, and their scores are taken as they are."""
    command = report_on(tmp_path, judged(1), judged(2), "--human", "ann")
    for seed in range(3, 7):
        rows = [{name: value for name, value in row.items() if name != "ann"} for row in rows_of(judged(seed))]
        command += ["--reference", str(write_csv(tmp_path / f"other-{seed}.csv", rows))]

    assert 0 == run_command(command)
    assert "audits" == json.loads(capsys.readouterr().out)["labels"]["baseline"]["count_by"]


def test_too_few_audits_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And how many would do."""
    files = [
        str(write_csv(tmp_path / f"{name}.csv", rows_of(judged(seed, audited=0.015))))
        for name, seed in (("before", 1), ("after", 2))
    ]
    assert 0 == run_command(["report", *files, "--human", "ann", "--output", "markdown"])

    assert "too few to correct its errors; about" in capsys.readouterr().out


def test_a_share_has_bounds_where_the_checks_leave_room_for_no_failure_at_all() -> None:
    """Half of the scores are checked and all of these pass, so perhaps nothing fails: then there is no share."""
    runs = [
        [
            an_attempt(f"c{n}", passed=n < passing, tier=("easy", "hard")[n % 2], human=True if n < 10 else None)
            for n in range(20)
        ]
        for passing in (18, 16)
    ]
    pairing, _ = paired_of(*runs)
    tiering = tiers_by_label([pairing.baseline, pairing.candidate], None, {})
    assert tiering is not None
    found, labelling = corrected(pairing, tiering.tier_of, error_rate=0.05)
    share = measure_share(tiering.tiered(found.pairs), confidence=0.95)

    assert labelling is not None
    assert "audits" == labelling.arms[0].count_by
    assert share is not None
    for each in (share.baseline, share.candidate, share.change, share.excess):
        assert -1.0 <= each.lower <= each.estimate <= each.upper <= 1.0


@pytest.mark.parametrize("command", [["calibrate"], ["probes", "select"]])
def test_only_a_report_takes_the_column_of_people(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Other commands that read results correct no rate, and refuse what they would not use."""
    assert 2 == run_command([*command, "run.csv", "--human", "ann"])

    assert "No such option: --human" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_corrected_rates_are_unbiased_and_their_bounds_hold_the_truth() -> None:
    """
    The checked are a random part, so the mean over many suites is the truth but for chance.

    Of the 200 hard cases, 50.4 % are judged failures, of which 92.9 % fail, and of the passes 16.6 %; 50 are checked.
    So a rate errs by sqrt(.250 * .763^2 / 200 + .504^2 * .066 / 25 + .496^2 * .138 / 25) = .053 (1 standard error), and
    the mean of 200 by .0037; the tolerance is four times that, times the square root of 2 for a change. Bounds of 95 %
    that are right miss the truth in 10 of 200 suites, and in more than 22 with a chance of 1 in 5,000 (binomial).
    """
    suites, tolerance = 200, 4.0 * 0.053 / math.sqrt(200)
    rates, changes, plain_rates, misses = [], [], [], 0
    for seed in range(suites):
        pairing, tiering = paired_of(judged(seed), judged(seed + 1_000, gain=0.1))
        found, _ = corrected(pairing, tiering, error_rate=0.05)
        hard, plain = (
            compare([pair for pair in each.pairs if pair.key.case_id.startswith("hard")], confidence=0.95).aggregate
            for each in (found, pairing)
        )
        assert hard is not None
        assert plain is not None
        rates.append(hard.before.estimate)
        changes.append(hard.change.estimate)
        plain_rates.append(plain.before.estimate)
        misses += not hard.change.lower <= 0.1 <= hard.change.upper

    assert abs(sum(rates) / suites - 0.45) < tolerance
    assert abs(sum(changes) / suites - 0.1) < tolerance * math.sqrt(2)
    assert abs(sum(plain_rates) / suites - 0.45) > tolerance
    assert misses <= 22
