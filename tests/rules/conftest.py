from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import required_program
from tests.rules.spec import Values, seconds

RULES = Path(__file__).resolve().parents[2] / "rules" / "cliffwatch.rules.yml"


@pytest.fixture
def promtool(tmp_path: Path) -> Callable[..., None]:
    """Runs one promtool unit test on the shipped rules; fails with promtool's own words."""
    program = required_program("promtool")
    rule_groups = [group["name"] for group in yaml.safe_load(RULES.read_text())["groups"]]

    def check(
        series: Values, *, interval: str, until: str, alerts: Sequence[Any] = (), queries: Sequence[Any] = ()
    ) -> None:
        samples = seconds(until) // seconds(interval) + 1
        given = {name: values for name, values in series.items() if values is not None}
        test: Mapping[str, Any] = {
            "interval": interval,
            "input_series": [{"series": name, "values": _lasting(values, samples)} for name, values in given.items()],
            "alert_rule_test": list(alerts),
            "promql_expr_test": list(queries),
        }
        file = tmp_path / "test.yml"
        document = {
            "rule_files": [str(RULES)],
            "evaluation_interval": interval,
            "group_eval_order": rule_groups,
            "tests": [test],
        }
        file.write_text(json.dumps(document))
        done = subprocess.run([program, "test", "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return check


def _lasting(values: str, samples: int) -> str:
    """A single value stands for a constant series."""
    is_single = " " not in values and "x" not in values
    return " ".join([values] * samples) if is_single else values
