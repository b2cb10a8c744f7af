"""The verdict on a rollout: what it says, in which words, with which bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Cohort
from monitor.rollout.comparison import Decomposition, FailureRate, Interval, ShareComparison, TierComparison
from monitor.rollout.floors import check_floors, floors_of
from monitor.rollout.measurement import Yardstick, measure
from monitor.rollout.needed import requests_to_cliff, requests_to_ok
from monitor.rollout.oncall import OnCallLoad
from monitor.rollout.policy import Policy
from monitor.rollout.reasons import explain
from monitor.rollout.state import VerdictState, find

__all__ = [
    "Decomposition",
    "FailureRate",
    "Interval",
    "ShareComparison",
    "TierComparison",
    "Verdict",
    "VerdictState",
    "judge",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What is said of a rollout, and everything that it rests on.

    Attributes:
        reasons: Sentences with numbers, most telling first.
        requests_needed: Labelled candidate requests still needed for the next state; 0 where none are.
        requests_to_verdict: Labelled candidate requests when this state was first reached; 0 while waiting.
        share: None while it cannot be told.
        decomposition: None while it cannot be told.
        tiers: One entry per tier of `TIERS`.
        calibration_id: The calibration that both arms were read under; empty where there was none.
        hard_tier: Hard and frontier together, at the baseline's mix of the two; what regressions and floors are
            judged by.
        capabilities: The hard tier of each capability class, counted by tag.
        regressed_capabilities: Capability classes whose hard tier is shown to fail more often, several looked at
            together allowed for.
        on_call: What each arm brings the people on call, or None while it cannot be told.
    """

    state: VerdictState
    reasons: Sequence[str]
    requests_needed: int
    requests_to_verdict: int
    share: ShareComparison | None
    decomposition: Decomposition | None
    aggregate: TierComparison
    tiers: Mapping[Tier, TierComparison]
    calibration_id: str
    hard_tier: TierComparison | None = None
    capabilities: Mapping[str, TierComparison] = field(default_factory=dict)
    regressed_capabilities: Sequence[str] = ()
    on_call: OnCallLoad | None = None


def judge(
    cohort: Cohort,
    calibration: Yardstick | None,
    policy: Policy,
    *,
    service: str,
    environment: str,
    previous: Verdict | None,
    probes: Cohort | None = None,
) -> Verdict:
    """
    The verdict on the rollout that *cohort* was read for.

    It may be asked for as often as one likes: over all looks, a rollout that changed nothing leaves `ok` and
    `waiting` with a chance of at most the policy's error rate.

    Args:
        cohort: Matured requests of both arms, read under one calibration.
        calibration: That calibration, or None where there is none.
        policy: What the team agreed on before the rollout.
        service: Service of the rollout; chooses its floors.
        environment: Environment of the rollout; chooses its floors.
        previous: The last verdict on this rollout, or None.
        probes: The probe panel replayed on both versions under the same calibration, or None: evidence beside *cohort*.
    """
    floors = floors_of(policy, service=service, environment=environment)
    measurement = measure(cohort, calibration, policy, floors=len(floors), probes=probes)
    findings = find(measurement, calibration, check_floors(floors, measurement), policy)
    state = findings.state
    needed = 0
    if state is VerdictState.WAITING:
        needed = requests_to_ok(measurement, policy)
    elif state is VerdictState.OK:
        needed = requests_to_cliff(measurement, policy)
    return Verdict(
        state=state,
        reasons=tuple(explain(findings, measurement, calibration, policy, needed=needed)),
        requests_needed=needed,
        requests_to_verdict=_requests_to_verdict(state, cohort.candidate.labelled, previous),
        share=measurement.share,
        decomposition=measurement.decomposition,
        aggregate=measurement.aggregate,
        tiers=measurement.tiers,
        calibration_id="" if calibration is None else calibration.calibration_id,
        hard_tier=measurement.hard_tier,
        capabilities=measurement.capabilities,
        regressed_capabilities=measurement.regressed_capabilities,
    )


def _requests_to_verdict(state: VerdictState, labelled: int, previous: Verdict | None) -> int:
    if state is VerdictState.WAITING:
        return 0
    return previous.requests_to_verdict if previous is not None and previous.state is state else labelled
