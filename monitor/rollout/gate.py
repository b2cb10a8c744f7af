"""Decides whether a pipeline or a progressive delivery may continue a rollout."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.rollout.cohort import TierGroup
from monitor.rollout.verdict import Verdict, VerdictState

_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """
    What stops a rollout in addition to a regression.

    Attributes:
        strict: A cliff, or any capability class that fails more often: everything that raises an alert.
        require_verdict: `waiting`, or no rollout.
        require_tiers: An `ok` without tiers, since nothing is then known about the hard tier.
    """

    strict: bool = False
    require_verdict: bool = False
    require_tiers: bool = False


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """
    Attributes:
        reason: One sentence.
        wait_seconds: When to ask again, in seconds; 0 if the answer holds until the verdict changes.
    """

    is_pass: bool
    verdict: VerdictState
    reason: str
    wait_seconds: float


def ask_gate(verdict: Verdict | None, rules: GateRules) -> GateAnswer:
    """Whether *rules* let a rollout with *verdict* pass; None is a rollout without a verdict yet."""
    state = VerdictState.WAITING if verdict is None else verdict.state
    reason = "not looked at yet" if verdict is None else next(iter(verdict.reasons), "")
    if rules.strict and verdict is not None and state is not VerdictState.REGRESSION and verdict.regressed_capabilities:
        worse = f"These capability classes fail more often: {', '.join(verdict.regressed_capabilities)}."
        return GateAnswer(False, state, f"{reason} {worse}" if state is VerdictState.CLIFF else worse, 0.0)
    if verdict is None or state is VerdictState.WAITING:
        return GateAnswer(not rules.require_verdict, state, reason, _RETRY_SECONDS)
    if rules.require_tiers and state is VerdictState.OK and TierGroup.HARD not in verdict.could_still_be:
        return GateAnswer(False, state, "The verdict is ok without tiers: nothing is known about the hard tier.", 0.0)
    stops = state is VerdictState.REGRESSION or (rules.strict and state is VerdictState.CLIFF)
    return GateAnswer(not stops, state, reason, 0.0)
