from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.cli import run_command
from monitor.evals.cases import CaseKey, pair_runs, runs_of
from tests.evals.suites import an_attempt, write_csv


def test_every_case_of_both_runs_is_in_one_place() -> None:
    """Paired, or left out for one reason."""
    before = runs_of(
        [
            an_attempt("both", input_digest="1"),
            an_attempt("gone"),
            an_attempt("lost"),
            an_attempt("new", input_digest="1"),
        ]
    )[""]
    after = runs_of(
        [
            an_attempt("both", input_digest="1", passed=False),
            an_attempt("lost", passed=None, unscored_because="error"),
            an_attempt("new", input_digest="2"),
            an_attempt("came"),
        ]
    )[""]
    pairing = pair_runs(before, after)
    unpaired = pairing.unpaired

    assert ["both"] == [pair.key.case_id for pair in pairing.pairs]
    assert (["gone"], ["came"], ["lost"], ["new"]) == tuple(
        [key.case_id for key in keys]
        for keys in (unpaired.baseline_only, unpaired.candidate_only, unpaired.unscored, unpaired.changed)
    )


def test_the_same_name_in_two_tasks_is_two_cases() -> None:
    """A case is named by its task as well."""
    run = runs_of([an_attempt("1", task="sums"), an_attempt("1", task="roots")])[""]

    assert [CaseKey("roots", "1"), CaseKey("sums", "1")] == sorted(run.cases)


def test_an_attempt_that_is_written_twice_counts_once() -> None:
    """A file and its copy give one attempt."""
    run = runs_of([an_attempt("a", attempt_id="x"), an_attempt("a", attempt_id="x"), an_attempt("a", attempt_id="y")])[
        ""
    ]

    assert 2 == sum(case.scored for case in run.cases.values())


def test_sides_change_by_the_majority_of_attempts() -> None:
    """Two of three passed and one of three passes: the case is newly failing; a tie is no pass."""
    before = runs_of(an_attempt(case, passed=p, repeat=str(n)) for case in "ab" for n, p in enumerate((1, 1, 0)))[""]
    after = runs_of(
        an_attempt(case, passed=bool(p), repeat=str(n))
        for case, passes in (("a", (1, 0, 0)), ("b", (1, 0)))
        for n, p in enumerate(passes)
    )[""]

    assert [True, True] == [pair.is_newly_failing for pair in pair_runs(before, after).pairs]


def test_repeats_keep_the_case_as_the_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four epochs of two cases are two cases: counts are sums of pass rates, and flaky ones are counted."""
    for name, passes in (("a", (4, 2)), ("b", (3, 2))):
        rows = [
            {"id": case, "epoch": epoch, "passed": int(epoch < passed), "tier": "hard"}
            for case, passed in zip("xy", passes, strict=True)
            for epoch in range(4)
        ]
        write_csv(tmp_path / f"{name}.csv", rows)
    assert 0 == run_command(["report", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--output", "json"])
    aggregate = json.loads(capsys.readouterr().out)["aggregate"]

    assert 2 == aggregate["cases"]
    assert {"baseline": 1.5, "candidate": 1.25} == aggregate["passed"]
    assert 2 == aggregate["flaky"]
    assert (0, 0) == (aggregate["newly_failing"], aggregate["newly_passing"])


def test_runs_with_nothing_in_common_say_what_they_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence shows names of both sides, so that the mistake is seen."""
    one = write_csv(tmp_path / "a.csv", [{"id": "q1", "passed": 1}])
    other = write_csv(tmp_path / "b.csv", [{"id": "question-1", "passed": 1}])

    assert 2 == run_command(["report", str(one), str(other)])
    assert "the baseline has q1, the candidate question-1; name the column" in capsys.readouterr().err
