from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import zstandard

from monitor.cli import run_command
from tests.evals.suites import reported, seed_rows, write_csv


@pytest.fixture
def seed_files(tmp_path: Path) -> tuple[str, str]:
    """The seed arithmetic: 1,000 cases 60/30/10 that pass 98/90/40 % and then 99/96/45 %."""
    before = write_csv(tmp_path / "before.csv", seed_rows(0, shuffled=1))
    after = write_csv(tmp_path / "after.csv", seed_rows(1, shuffled=1))
    return str(before), str(after)


def test_seed_arithmetic_as_json(seed_files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """89.8 -> 92.7 % in all, 102 -> 73 failures, and a hard share of 58.8 -> 75.3 %."""
    result = reported(capsys, *seed_files)
    aggregate, tiers = result["aggregate"], result["tiers"]

    assert (898, 927) == (aggregate["passed"]["baseline"], aggregate["passed"]["candidate"])
    assert (0.898, 0.927) == (
        aggregate["pass_rate"]["baseline"]["estimate"],
        aggregate["pass_rate"]["candidate"]["estimate"],
    )
    assert (102, 73) == (aggregate["failures"]["baseline"], aggregate["failures"]["candidate"])
    assert (0.588, 0.753) == (round(result["share"]["baseline"], 3), round(result["share"]["candidate"], 3))
    assert {"easy": (0.98, 0.99), "medium": (0.90, 0.96), "hard": (0.40, 0.45)} == {
        tier: tuple(stratum["pass_rate"][arm]["estimate"] for arm in ("baseline", "candidate"))
        for tier, stratum in tiers.items()
    }


def test_seed_arithmetic_in_the_terminal(seed_files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The same numbers stand in the table, whole even where the output is narrow."""
    assert 0 == run_command(["report", *seed_files])
    printed = capsys.readouterr().out

    for number in ("89.8 %", "92.7 %", "102 → 73", "60 → 55", "58.8 % → 75.3 %", "98.0 %", "99.0 %", "45.0 %"):
        assert number in printed
    table = printed[printed.index("pass rate") : printed.index("What this suite")]
    assert "…" not in table


def test_the_suite_of_the_seed_arithmetic_lacks_hard_cases(
    seed_files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """100 of 1,000 cases are hard; 286 more would make 386 of 1,286, which is 30 %."""
    spots = {spot["kind"]: spot for spot in reported(capsys, *seed_files)["blind_spots"]}

    assert 286 == spots["few_hard_cases"]["cases_to_add"]
    assert "no_frontier_cases" in spots
    assert "easy" == spots["saturated_tier"]["tier"]


@pytest.mark.slow
@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_compressed_files_read_the_same(
    compress: Any, seed_files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compression is told by the first bytes, not by the name."""
    packed = tmp_path / "packed"
    packed.write_bytes(compress(Path(seed_files[1]).read_bytes()))
    plain, squeezed = reported(capsys, *seed_files), reported(capsys, seed_files[0], str(packed))

    assert plain["aggregate"] == squeezed["aggregate"]


def test_json_lines_with_nested_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values within values are found by their dotted or their last name."""
    for name, passed in (("a", [1, 1, 0]), ("b", [1, 0, 0])):
        lines = [
            json.dumps({"meta": {"id": f"q{n}", "level": f"Level {n}"}, "result": {"ok": bool(p)}})
            for n, p in enumerate(passed)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    result = reported(
        capsys,
        str(tmp_path / "a.jsonl"),
        str(tmp_path / "b.jsonl"),
        *("--column", "passed=result.ok", "--tier", "easy=Level 0", "--tier", "hard=level 1,Level 2"),
    )

    assert {"easy": 1, "hard": 2} == {tier: stratum["cases"] for tier, stratum in result["tiers"].items()}
    assert ["q1"] == [case["case"] for case in result["regressed_hard_cases"]]


def test_unscored_and_unpaired_cases_are_named_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A case without a score is no success, and one without a counterpart compares with nothing."""
    before = write_csv(
        tmp_path / "before.csv",
        [{"id": n, "passed": p, "tier": "hard"} for n, p in (("a", "yes"), ("b", "no"), ("c", "yes"), ("gone", "yes"))],
    )
    after = write_csv(
        tmp_path / "after.csv",
        [{"id": n, "passed": p, "tier": "hard"} for n, p in (("a", "yes"), ("b", "no"), ("c", "error"), ("new", "no"))],
    )
    result = reported(capsys, str(before), str(after))

    assert 2 == result["aggregate"]["cases"]
    assert (["c"], ["gone"], ["new"]) == tuple(
        [key["case"] for key in result["unpaired"][why]] for why in ("unscored", "baseline_only", "candidate_only")
    )


def test_without_tiers_the_report_says_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An aggregate alone is shown as such."""
    for name in ("a", "b"):
        write_csv(tmp_path / f"{name}.csv", [{"id": n, "passed": n % 2} for n in range(3)])
    result = reported(capsys, str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))

    assert "waiting" == result["verdict"]
    assert "--tier-column" in result["reasons"][0]
    assert "--reference" in result["reasons"][0]
    assert "tiers_unknown" == result["blind_spots"][0]["kind"]


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        ("", (), "is empty"),
        ("id,passed\n", (), "holds no case; run the suite again"),
        ('{"model": "m", "results": []}', (), "holds no case; run the suite again"),
        ("[1, 2]", (), "holds no eval results that can be read; what is read: Inspect AI logs"),
        ("{\n\nnonsense", (), "line 1 cannot be parsed"),
        ("id,score\na,1\n", ("--column", "passed=won"), "has no column won for passed; it has id, score"),
        ("nom,score\na,1\n", (), "no column says which case it is; name it with --column case=NAME"),
        ("id,score\na,1\n", ("--column", "won=score"), "names no role; the roles are case, passed"),
        ("id,score\na,1\n", ("--tier", "worst=9"), "names no tier; tiers are easy, medium, hard, frontier"),
        ("id,score\na,1\n", ("--tier", "hard"), "is not of the form NAME=VALUE"),
        ("id,model,ok\na,x,1\na,y,0\n", ("--column", "passed=ok"), "choose one with --baseline-model: x, y"),
    ],
    ids=[
        "an empty file",
        "a header and nothing else",
        "an empty list",
        "no results",
        "broken JSON",
        "a column that is not there",
        "no column for the case",
        "no such role",
        "no such tier",
        "half an assignment",
        "several models",
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    content: str, arguments: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and one sentence that says what to do."""
    (tmp_path / "results").write_text(content)
    code = run_command(["report", str(tmp_path / "results"), str(tmp_path / "results"), *arguments])
    said = capsys.readouterr().err.strip()

    assert 2 == code
    assert sentence in said
    assert "\n" not in said


def test_a_missing_file_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as for every file that cannot be read: 1 is a closed gate."""
    assert 2 == run_command(["report", str(tmp_path / "nowhere"), str(tmp_path / "nowhere")])
    assert "check the name" in capsys.readouterr().err


def test_a_report_as_junit_is_xml_whatever_cases_are_called(tmp_path: Path) -> None:
    """A CI that cannot parse the report loses it whole: XML has no place for control characters, wherever they come."""
    odd = "\x1b[31m\x00 <b> & ]]> \ufffe"
    for side, passed in (("a", True), ("b", False)):
        rows = [{"id": f"{odd}{n}", "category": f"{odd}{n % 2}", "passed": passed, "failure": odd} for n in range(40)]
        rows += [{"id": f"{odd}-lost", "category": odd, "passed": passed or None, "failure": odd}]
        (tmp_path / side).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    written = tmp_path / "report.xml"

    assert 0 == run_command(["report", str(tmp_path / "a"), str(tmp_path / "b"), "--write", str(written)])
    names = {test.get("name", "") for test in ET.parse(written).iter("testcase")}

    assert "[31m <b> & ]]> 0" in names
