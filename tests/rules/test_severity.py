"""What wakes people and what stops a pipeline are the same: every alert over every verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from monitor.metrics.collect import families_of
from monitor.rollout.gate import GateRules, ask_gate
from monitor.rollout.verdict import VerdictState
from tests.metrics.snapshots import a_comparison, a_rate, a_record, a_snapshot, a_verdict
from tests.rules.conftest import rule_groups

pytestmark = pytest.mark.stack

_STATES = [
    *((state, (), classes) for state in VerdictState if state != "regression" for classes in ((), ("search",))),
    *(
        (VerdictState.REGRESSION, scope, ())
        for scope in (("all",), ("hard",), ("easier",), ("floor:all",), ("floor:hard",), ("floor:easier",))
    ),
    (VerdictState.REGRESSION, ("capability:search",), ("search",)),
]
_PAGES = [
    rule["alert"]
    for group in rule_groups()
    for rule in group["rules"]
    if rule.get("labels", {}).get("severity") == "critical" and not rule["labels"]["signature"].startswith("monitor-")
]


@pytest.mark.parametrize(
    ("state", "scope", "classes"), _STATES, ids=[f"{state} {scope} {classes}" for state, scope, classes in _STATES]
)
def test_what_pages_closes_the_strict_gate(
    state: VerdictState, scope: tuple[str, ...], classes: Sequence[str], promtool: Callable[..., None]
) -> None:
    """A page, or the ticket of a worse class, comes exactly where `--gate strict` stops."""
    below = {"hard_tier": a_comparison(a_rate(100, 60), a_rate(100, 80))} if "floor:hard" in scope else {}
    verdict = a_verdict(state=state, scope=scope, regressed_capabilities=classes, **below)
    snapshot = a_snapshot(rollouts=(a_record(verdict),))
    series = {row.shape.text(row.labels): f"{row.value:g}" for family in families_of(snapshot) for row in family.rows}
    stops = not ask_gate(verdict, GateRules(strict=True)).is_pass
    alerts = "|".join([*_PAGES, "CapabilityClassRegression"])

    promtool(
        series,
        interval="15s",
        until="1m",
        queries=[
            {
                "expr": f'count(ALERTS{{alertname=~"{alerts}", alertstate="firing"}} > 0) > bool 0 or vector(0)',
                "eval_time": "1m",
                "exp_samples": [{"labels": "{}", "value": int(stops)}],
            }
        ],
    )
