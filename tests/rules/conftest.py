from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.programs import required_program

RULES = Path(__file__).resolve().parents[2] / "rules" / "cliffwatch.rules.yml"

_MINUTES = 240
"""How long a constant series lasts."""


@pytest.fixture
def promtool(tmp_path: Path) -> Callable[..., None]:
    """Runs one promtool unit test on the shipped rules; fails with promtool's own words."""
    program = required_program("promtool")

    def check(series: Mapping[str, str], *, alerts: Sequence[Any] = (), queries: Sequence[Any] = ()) -> None:
        test = {
            "interval": "15s",
            "input_series": [{"series": name, "values": _lasting(values)} for name, values in series.items()],
            "alert_rule_test": list(alerts),
            "promql_expr_test": list(queries),
        }
        file = tmp_path / "test.yml"
        file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [test]}))
        done = subprocess.run([program, "test", "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return check


def _lasting(values: str) -> str:
    """A single value stands for a constant series."""
    is_single = " " not in values and "x" not in values
    return " ".join([values] * _MINUTES * 4) if is_single else values
