from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.evals.golden import GOLDEN, report_document

_FIGURES = 1e-9  # libraries of other versions sum in another order


def differing(golden: Any, printed: Any, path: str = "") -> list[str]:
    """Where *printed* lacks something of *golden*, or says something else."""
    if isinstance(golden, dict) and isinstance(printed, dict):
        return [each for key in golden for each in differing(golden[key], printed.get(key), f"{path}.{key}")]
    if isinstance(golden, list) and isinstance(printed, list) and len(golden) == len(printed):
        pairs = enumerate(zip(golden, printed, strict=True))
        return [each for number, pair in pairs for each in differing(*pair, f"{path}[{number}]")]
    if isinstance(golden, float) and isinstance(printed, float) and math.isclose(golden, printed, abs_tol=_FIGURES):
        return []
    return [] if golden == printed else [f"{path}: {golden} is {printed} now"]


def test_what_people_parse_keeps_its_shape_and_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key may come; none may go or change what it holds."""
    printed = report_document(tmp_path)
    capsys.readouterr()

    assert [] == differing(json.loads(GOLDEN.read_text(encoding="utf-8")), printed)
