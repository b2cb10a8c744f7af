from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitor.cli import run_command
from tests.evals.suites import seed_rows, write_csv

PAGE = Path(__file__).resolve().parents[2] / "docs" / "report.md"


def test_the_page_shows_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example in docs/report.md is the seed arithmetic, to the letter."""
    for arm, name in enumerate(("before.csv", "after.csv")):
        write_csv(tmp_path / name, seed_rows(arm))
    assert 0 == run_command(["report", str(tmp_path / "before.csv"), str(tmp_path / "after.csv")])
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = re.search(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    lines = shown[1].splitlines()

    assert printed[: len(lines)] == lines
