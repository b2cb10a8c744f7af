from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import required_program
from tests.rules.spec import Values, seconds

_BLOCK_SECONDS, _TRIES = 24 * 3600, 3
"""
promtool compacts a test's samples by the day behind its back and now and then misses some meanwhile, so that a test of
weeks fails once in some hundred times (prometheus/prometheus#10863). A wrong rule fails every time.
"""
_ONE_THREAD_AND_LITTLE_COLLECTING = {"GOMAXPROCS": "1", "GOGC": "400"}
"""It runs for a second and needs little memory, and other tests run beside it: a sixth less work."""
RULES = Path(__file__).resolve().parents[2] / "rules" / "cliffwatch.rules.yml"


@cache
def rule_groups() -> Sequence[Mapping[str, Any]]:
    """The groups of the shipped rules, in their order."""
    groups: Sequence[Mapping[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return groups


@cache
def groups_behind(alert: str) -> Sequence[Mapping[str, Any]]:
    """Of the shipped rules, *alert* with every recording that it or its words read, in their groups and order."""
    rules = [rule for group in rule_groups() for rule in group["rules"]]
    recordings = [rule for rule in rules if "record" in rule]
    behind: list[Any] = [rule for rule in rules if rule.get("alert") == alert]
    for reader in behind:  # grows meanwhile
        behind += [rule for rule in recordings if rule not in behind and rule["record"] in _words(reader)]
    chosen = ({**group, "rules": [rule for rule in group["rules"] if rule in behind]} for group in rule_groups())
    return [group for group in chosen if group["rules"]]


def _words(rule: Mapping[str, Any]) -> str:
    return " ".join([rule["expr"], *rule.get("annotations", {}).values()])


@pytest.fixture
def promtool(tmp_path: Path) -> Callable[..., None]:
    """Runs one promtool unit test on the shipped rules; fails with promtool's own words."""
    program = required_program("promtool")

    def check(
        series: Values,
        *,
        interval: str,
        until: str,
        alerts: Sequence[Any] = (),
        queries: Sequence[Any] = (),
        groups: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        samples = seconds(until) // seconds(interval) + 1
        given = {name: values for name, values in series.items() if values is not None}
        test: Mapping[str, Any] = {
            "interval": interval,
            "input_series": [{"series": name, "values": _lasting(values, samples)} for name, values in given.items()],
            "alert_rule_test": list(alerts),
            "promql_expr_test": list(queries),
        }
        file, rules = tmp_path / "test.yml", RULES
        if groups is not None:
            rules = tmp_path / "rules.yml"
            rules.write_text(json.dumps({"groups": groups}))
        document = {
            "rule_files": [str(rules)],
            "evaluation_interval": interval,
            "group_eval_order": [group["name"] for group in groups or rule_groups()],
            "tests": [test],
        }
        file.write_text(json.dumps(document))
        for _ in range(_TRIES if seconds(until) > _BLOCK_SECONDS else 1):
            done = subprocess.run(
                [program, "test", "rules", file],
                env=os.environ | _ONE_THREAD_AND_LITTLE_COLLECTING,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                return
        pytest.fail(done.stdout + done.stderr)

    return check


def _lasting(values: str, samples: int) -> str:
    """A single value stands for a constant series."""
    is_single = " " not in values and "x" not in values
    return " ".join([values] * samples) if is_single else values
