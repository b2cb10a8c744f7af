"""What a gate says of a verdict."""

from __future__ import annotations

import dataclasses

import pytest

from monitor.rollout.gate import GateRules, ask_gate
from monitor.rollout.verdict import VerdictState
from tests.metrics.snapshots import a_verdict

STRICT = GateRules(strict=True)
VERDICT = GateRules(require_verdict=True)
TIERS = GateRules(require_tiers=True)


@pytest.mark.parametrize(
    ("state", "still", "rules", "passes"),
    [
        pytest.param(VerdictState.REGRESSION, {"all": 0.1}, GateRules(), False, id="a regression always stops"),
        pytest.param(VerdictState.CLIFF, {"all": 0.0}, GateRules(), True, id="a cliff passes"),
        pytest.param(VerdictState.CLIFF, {"all": 0.0}, STRICT, False, id="a cliff stops a strict gate"),
        pytest.param(VerdictState.WAITING, {"all": 0.1}, STRICT, True, id="waiting passes"),
        pytest.param(VerdictState.WAITING, {"all": 0.1}, VERDICT, False, id="waiting stops where one is required"),
        pytest.param(VerdictState.OK, {"all": 0.01}, STRICT, True, id="ok without tiers passes"),
        pytest.param(VerdictState.OK, {"all": 0.01}, TIERS, False, id="ok without tiers stops where they are required"),
        pytest.param(VerdictState.OK, {"all": 0.01, "hard": 0.05}, TIERS, True, id="ok with tiers passes"),
    ],
)
def test_rules_decide(state: VerdictState, still: dict[str, float], rules: GateRules, *, passes: bool) -> None:
    """A waiting verdict is worth asking again; the others stand until something changes."""
    verdict = dataclasses.replace(a_verdict(), state=state, could_still_be=still, regressed_capabilities=())
    answer = ask_gate(verdict, rules)

    assert passes == answer.is_pass
    assert (state is VerdictState.WAITING) == (answer.wait_seconds > 0)
    assert answer.reason


def test_a_rollout_that_was_not_looked_at_is_waiting() -> None:
    """It passes unless a verdict is required."""
    assert ask_gate(None, GateRules()).is_pass
    assert not ask_gate(None, VERDICT).is_pass


@pytest.mark.parametrize("state", [VerdictState.OK, VerdictState.WAITING])
def test_a_worse_class_stops_a_strict_gate(state: VerdictState) -> None:
    """It raises an alert, so a pipeline that asks strictly hears of it too, at once."""
    verdict = dataclasses.replace(a_verdict(), state=state, regressed_capabilities=("refunds", "orders"))

    answer = ask_gate(verdict, STRICT)

    assert ask_gate(verdict, GateRules()).is_pass
    assert (False, 0.0) == (answer.is_pass, answer.wait_seconds)
    assert "These capability classes fail more often: refunds, orders." == answer.reason


def test_a_cliff_with_a_worse_class_is_stopped_for_both() -> None:
    """Whoever reads the answer learns of each."""
    verdict = dataclasses.replace(a_verdict(), state=VerdictState.CLIFF, regressed_capabilities=("refunds",))

    answer = ask_gate(verdict, STRICT)

    assert f"{verdict.reasons[0]} These capability classes fail more often: refunds." == answer.reason
