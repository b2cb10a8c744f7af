from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from tests.evals.real_tools import FILES
from tests.evals.suites import seed_rows, write_csv

CASES = FILES / "cases"


@pytest.fixture
def judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The report on cases given as tier, outcome before, outcome after (each a word for CSV), and how many."""

    def judge(cases: Iterable[tuple[str, str, str, int]], *, column: str = "difficulty") -> dict[str, Any]:
        rows = [
            {"id": f"{tier}-{group}-{number}", column: tier, "before": before, "after": after}
            for group, (tier, before, after, count) in enumerate(cases)
            for number in range(count)
        ]
        files = [
            write_csv(
                tmp_path / f"{arm}.csv",
                [{"id": row["id"], column: row[column], "passed": row[arm]} for row in rows if row[arm] != "gone"],
            )
            for arm in ("before", "after")
        ]
        assert 0 == run_command(["report", *map(str, files), "--output", "json"])
        document = json.loads(capsys.readouterr().out)
        assert isinstance(document, dict)
        return document

    return judge


GOOD = [("easy", "1", "1", 500), ("easy", "0", "0", 20), ("hard", "1", "1", 200), ("hard", "0", "0", 150)]


def test_no_change_is_ok_within_the_margins(judged: Any) -> None:
    """Both bounds are inside, and the sentence says which margins they are."""
    result = judged(GOOD)

    assert ("ok", [], "declared", 0) == tuple(result[key] for key in ("verdict", "scope", "tiers_by", "cases_needed"))
    assert (
        "Not worse: the whole suite at most 3 points worse and the hard tier at most 10 points worse."
        == result["headline"]
    )
    assert result["could_still_be"]["all"] <= 0.03
    assert result["could_still_be"]["hard"] <= 0.10


def test_bounds_beyond_0_that_the_exact_test_does_not_confirm_are_explained(judged: Any) -> None:
    """Beside bounds that show a change, "not shown to change" would read like a mistake."""
    won = [("hard", "0", "1", 5), ("hard", "0", "0", 55), ("hard", "1", "1", 40), ("easy", "1", "1", 500)]

    (hard,) = (reason for reason in judged(won)["reasons"] if reason.startswith("The hard tier passes"))
    (same,) = (reason for reason in judged(GOOD)["reasons"] if reason.startswith("The hard tier passes"))

    assert "(+0.3 to +9.6): not shown to change, since the exact test gives p = 0.188." in hard
    assert same.endswith(": not shown to change.")


def test_few_cases_wait_and_say_how_many_are_missing(judged: Any) -> None:
    """A small suite cannot claim much; that many more cases of the same kind do."""
    small = [(tier, before, after, count // 10) for tier, before, after, count in GOOD]
    result = judged(small)

    assert "waiting" == result["verdict"]
    assert result["could_still_be"]["all"] > 0.03
    times = 1 + result["cases_needed"] / result["aggregate"]["cases"]
    assert "ok" == judged([(t, b, a, round(n * times * 1.2)) for t, b, a, n in small])["verdict"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "scope"),
    [
        (("easy", "1", "0", 60), ["all", "easier"]),
        (("hard", "1", "0", 40), ["all", "hard"]),
        (("hard", "1", "0", 14), ["all", "hard"]),
    ],
    ids=["the easy tier collapses", "the hard tier collapses", "the hard tier gets worse"],
)
def test_a_regression_names_its_scope(change: tuple[str, str, str, int], scope: list[str], judged: Any) -> None:
    """Tiers add to the verdict on all cases and never take away from it."""
    result = judged([*GOOD, change])

    assert ("regression", scope) == (result["verdict"], result["scope"])
    assert result["headline"].startswith("Worse: the whole suite, ")


def test_a_collapse_is_a_regression_without_tiers(judged: Any) -> None:
    """Nothing but outcomes is needed."""
    result = judged([("", "1", "1", 400), ("", "1", "0", 30)], column="note")

    assert ("regression", ["all"], "none") == (result["verdict"], result["scope"], result["tiers_by"])


def test_one_class_that_collapses_is_a_regression_while_the_average_rises(judged: Any) -> None:
    """The class is named, and the others are not."""
    result = judged([("search", "0", "1", 80), ("search", "1", "1", 300), ("refunds", "1", "0", 25)], column="category")

    assert ("regression", ["capability:refunds"]) == (result["verdict"], result["scope"])
    assert "Worse: class refunds, 100.0 % → 0.0 % pass" in result["headline"]


def test_the_seed_arithmetic_is_a_cliff(capsys: pytest.CaptureFixture[str]) -> None:
    """102 -> 73 failures, hard share 58.8 -> 75.3 %."""
    files = [str(CASES / f"seed_{arm}.csv.gz") for arm in ("before", "after")]
    assert 0 == run_command(["report", *files, "--output", "json"])
    result = json.loads(capsys.readouterr().out)

    assert "cliff" == result["verdict"]
    assert {"baseline": 102, "candidate": 73} == result["aggregate"]["failures"]
    assert (0.588, 0.753) == (round(result["share"]["baseline"], 3), round(result["share"]["candidate"], 3))


@pytest.mark.parametrize(("failed", "verdict"), [(30, "cliff"), (29, "ok")])
def test_easier_cases_that_fail_no_more_leave_the_hard_tier_behind(failed: int, verdict: str, judged: Any) -> None:
    """A suite whose easier cases all pass now has no failures of them, which is what was gained."""
    easier = [("easy", "1", "1", 600), ("easy", "0", "1", failed)]

    assert verdict == judged([*easier, ("hard", "1", "1", 150), ("hard", "0", "0", 60)])["verdict"]


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["error", "timeout", "cancelled", "", "gone", "context limit"])
def test_what_has_no_score_is_never_ok(lost: str, judged: Any) -> None:
    """Errored, cancelled, limited, empty or missing: 60 hard cases that used to pass are unknown, and it waits."""
    result = judged([*GOOD[:2], ("hard", "1", "1", 140), ("hard", "1", lost, 60), ("hard", "0", "0", 150)])

    assert "waiting" == result["verdict"]
    assert 60 == len(result["unknown"])
    assert any("If the 60 cases without a score in the candidate failed" in each for each in result["reasons"])
    assert result["could_still_be"]["hard"] > 0.10


def test_a_few_errors_do_not_stop_an_ok(judged: Any) -> None:
    """What cannot turn the verdict does not; it is said."""
    result = judged([*GOOD, ("easy", "1", "error", 2)])

    assert "ok" == result["verdict"]
    assert (
        "Without a score in the candidate: 2 cases (2 error), left out of the comparison and failed for a gate."
        in (result["reasons"])
    )


def test_a_candidate_without_any_score_is_reported(judged: Any) -> None:
    """Everything crashed: no rate, no NaN, and what to do."""
    result = judged([("hard", "1", "crashed", 5)])

    assert ("waiting", None, None) == (result["verdict"], result["aggregate"], result["cases_needed"])
    assert "No case has a score in both runs; run the suite again." in result["obstacles"]


def test_what_neither_run_could_score_says_nothing_of_either(judged: Any) -> None:
    """The same sample fails to run in both."""
    assert "ok" == judged([*GOOD, ("hard", "error", "error", 80)])["verdict"]


def test_lost_won_and_flaky_cases_by_name(tmp_path: Path) -> None:
    """Without tiers too; a flaky case is marked, and pass^3 is the chance to pass three times."""
    outcomes: Mapping[str, tuple[str, str]] = {"a": ("111", "000"), "b": ("000", "111"), "c": ("111", "100")}
    files = [
        write_csv(
            tmp_path / f"{arm}.csv",
            [
                {"id": name, "epoch": number, "passed": passed}
                for name, arms in outcomes.items()
                for number, passed in enumerate(arms[arm])
            ],
        )
        for arm in (0, 1)
    ]
    names = [str(tmp_path / f"report.{ending}") for ending in ("json", "md", "html", "xml", "txt")]
    assert 0 == run_command(["report", *map(str, files), *(each for name in names for each in ("--write", name))])
    result = json.loads(Path(names[0]).read_text(encoding="utf-8"))

    assert {"lost": [("a", False), ("c", True)], "won": [("b", False)], "flaky": [("c", True)]} == {
        key: [(case["case"], case["flaky"]) for case in result[key]] for key in ("lost", "won", "flaky")
    }
    assert {"tries": 3, "baseline": 2 / 3, "candidate": 1 / 3} == result["aggregate"]["all_tries"]
    for name in names[1:]:
        text = Path(name).read_text(encoding="utf-8")
        assert all(word in text.casefold() for word in ("lost", "won", "flaky"))


@pytest.mark.slow
def test_how_many_hard_failures_a_cliff_needs_is_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The seed has 40 hard passes before and 55 hard failures after: too few are said to be."""
    files = [str(write_csv(tmp_path / f"{arm}.csv", seed_rows(arm))) for arm in (0, 1)]
    config, found = tmp_path / "cliffwatch.yaml", {}
    for fewest in (40, 41, 56):
        config.write_text(f"rollout: {{min_hard_failures: {fewest}, share_jump: 0.1}}", encoding="utf-8")
        assert 0 == run_command(["report", *files, "--config.file", str(config), "--output", "json"])
        document = json.loads(capsys.readouterr().out)
        spots = [spot["sentence"] for spot in document["blind_spots"] if spot["kind"] == "few_hard_failures"]
        found[fewest] = document["verdict"], [sentence.split(".")[0] for sentence in spots]

    assert ("cliff", []) == found[40]
    assert ("ok", []) == found[41]
    assert ["Too few hard cases fail to read a share of failures: 55 in the candidate, 56 needed"] == found[56][1]
