from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from monitor.cli import run_command
from tests.evals.real_tools import FILES
from tests.evals.suites import seed_rows, write_csv


@pytest.fixture
def seed_files(tmp_path: Path) -> tuple[str, str]:
    """The seed arithmetic, the same cases passing in both, with the text of one failure."""
    rows = [
        row | {"failure": "said 41\x07 instead of 42 <b>" if row["id"] == "hard-99" else ""} for row in seed_rows(1)
    ]
    before = write_csv(tmp_path / "before.csv", seed_rows(0))
    return str(before), str(write_csv(tmp_path / "after.csv", rows))


def gated(files: tuple[str, str], rules: str, tmp_path: Path, *arguments: str) -> int:
    (tmp_path / "floors.yaml").write_text(rules, encoding="utf-8")
    return run_command(["report", *files, "--gate", str(tmp_path / "floors.yaml"), *arguments])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (
            "floors: [{tier: hard, pass_rate: 0.5, agreed_by: payments, agreed_on: 2026-11-01}]",
            "Tier hard passes 45.0 % of 100 cases, below the floor of 50.0 %, agreed by payments on 2026-11-01.",
        ),
        (
            "floors: [{tier: hard, pass_rate: 0.4, by: lower_bound}]",
            "Tier hard passes 45.0 % of 100 cases, at least 35.6 %, below the floor of 40.0 %.",
        ),
        ("floors: [{pass_rate: 0.93}]", "The whole suite passes 92.7 % of 1,000 cases, below the floor of 93.0 %."),
        (
            "limits: {hard_share_of_failures: 0.7}",
            "The hard tier has 75.3 % of the failures; the limit is 70.0 %.",
        ),
        ("limits: {excess_over_uniform_gain: 0.05}", "beyond a uniform gain; the limit is +5.0 points."),
        ("must_pass: [hard-99]", "hard-99 must pass but fails (said 41"),
        ("must_pass: [nowhere]", "nowhere must pass but is not in the candidate's results."),
        ("floors: [{capability: refunds, pass_rate: 0.9}]", "No case of class refunds is in the candidate."),
        ("limits: {drop: {frontier: 0.1}}", "No case of tier frontier ran on both."),
        ("limits: {drop: {refunds: 0.1}}", "No case of class refunds ran on both."),
        ("verdict: [ok]", "The verdict is cliff; the gate opens on ok."),
    ],
    ids=[
        "a floor by the estimate",
        "a floor by the lower bound",
        "a floor of everything",
        "a share",
        "an excess",
        "a case that has to pass",
        "a case that is not there",
        "a capability that is not there",
        "a tier that is not there",
        "a class that is not there",
        "a verdict",
    ],
)
def test_a_broken_rule_closes_the_gate_with_one_sentence(
    rules: str, sentence: str, seed_files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, and what is broken on standard error; what cannot be decided is broken."""
    assert 1 == gated(seed_files, rules, tmp_path)
    said = capsys.readouterr().err.strip()
    assert sentence in said
    assert "\n" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "rules",
    [
        "floors: [{tier: hard, pass_rate: 0.45}, {tier: hard_tier, pass_rate: 0.35, by: lower_bound}]",
        "limits: {hard_share_of_failures: 0.8, excess_over_uniform_gain: 0.11, newly_failing: {hard: 0}}",
        "limits: {drop: {easy: 0, all: 0}, newly_failing: {all: 0}}",
        "verdict: [ok, cliff]",
        "must_pass: [hard-0]",
        "must_pass: [nowhere]\nundecided: passes",
    ],
    ids=[
        "floors that are met",
        "limits that are kept",
        "no drop",
        "a verdict",
        "a case that passes",
        "told to let it pass",
    ],
)
def test_kept_rules_leave_the_gate_open(
    rules: str, seed_files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0, and nothing on standard error."""
    assert 0 == gated(seed_files, rules, tmp_path)
    assert "" == capsys.readouterr().err


def test_names_are_those_of_the_results_however_they_are_written(tmp_path: Path) -> None:
    """A Mac writes an é as e and an accent, and an editor leaves a space behind a name."""
    path = str(write_csv(tmp_path / "run.csv", [{"id": "caf\u00e9", "passed": 1, "category": "th\u00e9"}]))
    rules = """
        must_pass: ["cafe\u0301", "caf\u00e9 "]
        floors: [{capability: "the\u0301", pass_rate: 1}]
        limits: {drop: {"capability:the\u0301": 0}}
    """

    assert 0 == gated((path, path), rules, tmp_path)


@pytest.mark.parametrize("undecided", ["passes", "fails"])
def test_thousands_of_cases_may_have_to_pass(
    undecided: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every case that passes today, as a team may put down; what is undecided is not said to be kept."""
    rows = [{"id": f"c{number}", "passed": 1} for number in range(3_000)]
    path = str(write_csv(tmp_path / "run.csv", rows))
    names = ", ".join(f"c{number}" for number in range(3_001))

    is_open = undecided == "passes"
    rules = f"undecided: {undecided}\nmust_pass: [{names}]"
    assert (not is_open) == gated((path, path), rules, tmp_path, "--write", str(tmp_path / "junit.xml"))
    assert ("open, 3,001 of 3,002 rules kept" if is_open else "closed by 1 of 3,002 rules") in capsys.readouterr().out
    suite = ET.parse(tmp_path / "junit.xml").find("testsuite[@name='gate']")
    assert suite is not None
    assert (("0", "1") if is_open else ("1", "0")) == (suite.get("failures"), suite.get("skipped"))


def test_no_hard_case_that_passed_may_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A case that passed before and fails, or has no score now, closes the gate; the average does not open it."""
    rules = "limits: {newly_failing: {hard_tier: 0}}"
    passed = [{"id": name, "ok": 1, "tier": "hard"} for name in ("a", "b")]
    before = str(write_csv(tmp_path / "before.csv", passed))
    failing = str(write_csv(tmp_path / "failing.csv", [passed[0] | {"ok": 0}, passed[1]]))
    unscored = str(write_csv(tmp_path / "unscored.csv", [passed[0] | {"ok": "error"}, passed[1]]))

    arguments = ("--column", "passed=ok")
    assert 1 == gated((before, failing), rules, tmp_path, *arguments)
    assert "Passed and fail now in the hard tier: 1 case (a); the limit is 0." in capsys.readouterr().err
    assert 1 == gated((before, unscored), rules, tmp_path, *arguments)
    assert "No score in the candidate for cases that the baseline passes in the hard tier: a; run them." in (
        capsys.readouterr().err
    )


def test_a_case_without_a_score_counts_against_a_floor(tmp_path: Path) -> None:
    """Unknown is not success, unless the team agreed to leave it out."""
    rows = [{"id": str(number), "passed": 1, "tier": "hard"} for number in range(9)]
    files = (
        str(write_csv(tmp_path / "before.csv", rows)),
        str(write_csv(tmp_path / "after.csv", [*rows[:8], rows[8] | {"passed": "timeout"}])),
    )

    assert 1 == gated(files, "floors: [{tier: hard, pass_rate: 0.9}]", tmp_path)
    assert 0 == gated(files, "floors: [{tier: hard, pass_rate: 0.9}]\nunscored: left_out", tmp_path)


def test_attempts_that_both_runs_lost_close_no_gate(tmp_path: Path) -> None:
    """A log with the errors before a retry is the same in both; what only the candidate lost stays unknown."""
    rows = [{"id": f"c{number}", "passed": int(number % 5 > 0)} for number in range(60)]
    retried = write_csv(tmp_path / "retried.csv", [*({**row, "passed": "error"} for row in rows[:20]), *rows])
    plain = str(write_csv(tmp_path / "plain.csv", rows))

    assert 0 == gated((str(retried), str(retried)), "floors: [{pass_rate: 0.5}]", tmp_path)
    assert 1 == gated((plain, str(retried)), "floors: [{pass_rate: 0.5}]", tmp_path)


def test_verdicts_that_are_named_are_a_rule_even_if_they_are_those_that_pass_anyway(
    seed_files: tuple[str, str], tmp_path: Path
) -> None:
    """What a team agreed on may be what holds without it."""
    assert 0 == gated(seed_files, "verdict: [ok, cliff, waiting]", tmp_path)


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ("floors:\n  - {teir: hard, pass_rate: 0.5}", "floors.yaml:2: floors.0.teir: unknown key (did you mean tier?"),
        ("floor: []", "floors.yaml:1: floor: unknown key (did you mean floors?"),
        ("floors:\n  - tier: hard", "floors.yaml:2: floors.0.pass_rate: is missing (a number"),
        (
            "floors:\n  - tier: hard\n    pass_rate: 45",
            "floors.yaml:3: floors.0.pass_rate: 45 is not allowed (a number",
        ),
        ("floors:\n  - pass_rate: no", "floors.yaml:2: floors.0.pass_rate: false is not allowed (a number"),
        ("limits: {drop: {all: yes}}", "floors.yaml:1: limits.drop.all: true is not allowed (a number"),
        ("limits:\n  hard_share_of_failures: on", "hard_share_of_failures: true is not allowed (a number"),
        ("limits:\n  excess_over_uniform_gain: 2", "gain: 2 is not allowed (a number of at least -1 and of at most 1"),
        ("floors: 3", "floors.yaml:1: floors: 3 is not allowed (a list, each"),
        ("verdict: [ok, regression]", "floors.yaml:1: verdict.1: `regression` is not allowed (ok, cliff or waiting)"),
        ("undecided: fails", "floors.yaml:1: holds no rule, so nothing would be checked"),
        ("floors: [", "floors.yaml:1: is not valid YAML"),
    ],
    ids=[
        "an unknown key",
        "an unknown section",
        "a missing key",
        "a wrong value",
        "a word that would be a floor of 0",
        "a word that would allow any drop",
        "a word that would allow any share",
        "an excess beyond its bounds",
        "no list",
        "no verdict that passes",
        "no rule",
        "no YAML",
    ],
)
def test_what_is_wrong_with_the_floors_is_said_by_line(
    rules: str, sentence: str, seed_files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 before anything is read: 1 is a gate that closes."""
    assert 2 == gated(seed_files, rules, tmp_path)
    assert sentence in capsys.readouterr().err


def test_junit_has_the_verdict_the_rules_and_the_cases(seed_files: tuple[str, str], tmp_path: Path) -> None:
    """Each rule and each case is a test; counts agree with them, and no letter is one that XML lacks."""
    target = tmp_path / "junit.xml"
    gated(seed_files, "must_pass: [hard-0, hard-99]", tmp_path, "--write", str(target))
    root = ET.parse(target).getroot()
    verdict, gate, cases = root.findall("testsuite")

    assert ("1", "1") == (verdict.get("tests"), verdict.get("failures"))
    assert ("3", "1") == (gate.get("tests"), gate.get("failures"))
    assert ("1000", "0", "73") == (cases.get("tests"), cases.get("failures"), cases.get("skipped"))
    assert ("1004", "2", "73") == (root.get("tests"), root.get("failures"), root.get("skipped"))
    won = [test.get("name") for test in cases if "won" in (test.findtext("system-out") or "")]
    assert (29, "easy-588") == (len(won), min(won))
    failure = gate.find("testcase/failure")
    assert failure is not None
    assert "said 41 instead of 42 <b>" in (failure.get("message") or "").replace("  ", " ")


def test_markdown_is_fit_for_a_comment(tmp_path: Path) -> None:
    """Names and failures are text, whatever they hold; the table holds the numbers."""
    rows = [
        {"id": "<img src=x> @team #7", "ok": 1, "tier": "hard", "why": ""},
        {"id": "b", "ok": 1, "tier": "easy", "why": ""},
    ]
    failed = [rows[0] | {"ok": 0, "why": "**bold** | </details>\n# title"}, rows[1]]
    target = tmp_path / "report.md"
    files = (str(write_csv(tmp_path / "a.csv", rows)), str(write_csv(tmp_path / "b.csv", failed)))
    columns = ("--column", "passed=ok", "--column", "failure=why")
    assert 0 == run_command(["report", *files, *columns, "--write", str(target)])
    text = target.read_text(encoding="utf-8")

    assert "| hard | 1 | 100.0 % | 0.0 % | -100.0 |" in text
    assert "<img" not in text
    assert "@team" not in text
    assert text.count("</details>") == text.count("<details>")
    assert r"\*\*bold\*\* \| &lt;/details&gt; \# title" in text


def test_every_format_is_written_in_one_run(seed_files: tuple[str, str], tmp_path: Path) -> None:
    """--write may be given several times; the ending says how."""
    names = [str(tmp_path / f"report.{ending}") for ending in ("md", "json", "xml", "txt")]
    written = [argument for name in names for argument in ("--write", name)]
    assert 0 == run_command(["report", *seed_files, *written, "--out", str(tmp_path / "printed")])

    assert all("92.7" in Path(name).read_text(encoding="utf-8") for name in (names[0], names[3]))
    assert Path(names[3]).read_text(encoding="utf-8") == (tmp_path / "printed").read_text(encoding="utf-8")


def test_a_format_nobody_knows_is_a_usage_error(
    seed_files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before anything is read."""
    assert 2 == run_command(["report", *seed_files, "--write", "report.pdf"])
    assert "does not say its format by its ending" in capsys.readouterr().err


CASES = FILES / "cases"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "rules", "code", "sentence"),
    [
        (("03_base", "03_crash"), "floors: [{tier: hard, pass_rate: 0.05}, {pass_rate: 0.85}]", 1, "40.0 % → 5.0 %"),
        (("03_base", "04_cancelled"), "floors: [{tier: hard, pass_rate: 0.07}]", 1, "5.0 % if the 35 missing cases"),
        (("03_base", "06_easy_collapse"), "floors: [{pass_rate: 0.7}]", 1, "The verdict is regression"),
        (("05_a", "05_b"), "floors: [{pass_rate: 0.95}]\nunscored: left_out", 1, "100.0 % → 20.0 %"),
        (("05_a", "05_b"), "must_pass: [c0]", 1, "c0 must pass but has no score"),
        (("23_a", "23_b"), "must_pass: [c0]\nlimits: {newly_failing: {hard_tier: 0}}", 1, "The verdict is regression"),
        (("03_base", "03_base"), "verdict: [ok]", 0, ""),
        (("03_base", "03_crash"), "verdict: [ok, waiting]\nundecided: passes\nunscored: left_out", 1, "40.0 % → 5.0 %"),
    ],
    ids=[
        "a crash is not a pass",
        "missing cases do not pass a floor",
        "a collapse of the easy tier",
        "repeats that timed out are not left over",
        "a case with one of five attempts scored",
        "flaky everywhere",
        "the same run",
        "a crash does not pass by any setting",
    ],
)
def test_gates_that_were_wrong(
    files: tuple[str, str],
    rules: str,
    code: int,
    sentence: str,
    *,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run that broke off, a collapse and a regression close the gate, whatever the floors say."""
    before, after = (str(next(CASES.glob(f"{name}.*"))) for name in files)

    assert code == gated((before, after), rules, tmp_path)
    assert sentence in capsys.readouterr().err


def test_a_class_is_held_to_its_own_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name, or as the scope of a regression writes it."""
    rows = [{"id": f"{name}{n}", "category": name, "passed": 1} for name in ("refunds", "search") for n in range(9)]
    after = [row | {"passed": int(row["category"] != "refunds" or row["id"] > "refunds0")} for row in rows]
    files = (str(write_csv(tmp_path / "a.csv", rows)), str(write_csv(tmp_path / "b.csv", after)))

    assert 1 == gated(files, "limits: {drop: {refunds: 0.1, search: 0}}", tmp_path)
    assert "Class refunds passes 100.0 % → 88.9 %, -11.1 points; the limit is -10.0 points." in capsys.readouterr().err
    assert 1 == gated(files, "limits: {newly_failing: {'capability:refunds': 0}}", tmp_path)
    assert "Passed and fail now in class refunds: 1 case (refunds0); the limit is 0." in capsys.readouterr().err


def test_why_there_are_no_tiers_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the first rule that needs tiers; a rule of a class has nothing to do with them."""
    rows = [{"id": str(number), "passed": number % 2} for number in range(20)]
    files = (str(write_csv(tmp_path / "a.csv", rows)), str(write_csv(tmp_path / "b.csv", rows)))
    rules = "floors: [{capability: refunds, pass_rate: 0.5}, {tier: hard, pass_rate: 0.5}]\n"
    limits = "limits: {newly_failing: {hard_tier: 0}, drop: {hard: 0.1}, hard_share_of_failures: 0.8}"

    assert 1 == gated(files, rules + limits, tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert 5 == len(said)
    assert "No case of tier hard is in the candidate. Tiers are not known" in said[1]
    assert 1 == sum("Tiers are not known" in line for line in said)


def _answered(number: int) -> dict[str, Any]:
    return {"id": f"c{number}", "passed": number % 5 > 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "crash",
    [
        *({"status": "error", "passed": None}, {"error": {"code": 500, "message": "boom"}}, {"exception": "Traceback"}),
        *({"passed": False, "error": "HTTP 503"}, {"passed": False, "timed_out": True}, {"passed": "crash"}),
        *({"run": {"status": "crashed"}}, {"passed": True, "skipped": True}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("rules", ["floors: [{pass_rate: 0.3}]", "undecided: passes\nlimits: {drop: {all: 0.2}}"])
def test_a_crashed_candidate_never_passes(
    crash: dict[str, Any] | None, rules: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it says so, or does not; and compared with itself it is no regression."""
    names = list((crash or {}).keys() - {"id", "passed"})
    rows = [_answered(number) for number in range(60)]
    crashed = [row if number < 6 else None if crash is None else row | crash for number, row in enumerate(rows)]
    before, after = tmp_path / "before.jsonl", tmp_path / "after.jsonl"
    before.write_text("".join(f"{json.dumps(row | dict.fromkeys(names))}\n" for row in rows), encoding="utf-8")
    after.write_text("".join(f"{json.dumps(row)}\n" for row in crashed if row), encoding="utf-8")

    assert 1 == gated((str(before), str(after)), rules, tmp_path)
    assert 0 == gated((str(after), str(after)), "verdict: [ok, waiting]\nunscored: left_out", tmp_path)
    assert 0 == gated((str(before), str(before)), rules, tmp_path)
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["table", "markdown", "html"])
def test_a_crash_is_named_where_the_lost_cases_are(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that broke off lost nothing, so far as is known, and a stranger must not take that for good news."""
    before, after = (str(next(CASES.glob(f"{name}.*"))) for name in ("03_base", "03_crash"))
    run_command(["report", before, after, "--output", form])

    assert "0 lost, 0 won, 35 without a score" in capsys.readouterr().out
