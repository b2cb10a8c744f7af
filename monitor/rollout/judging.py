"""How a cohort becomes a verdict: measured, checked against the policy, put into words."""

from __future__ import annotations

from monitor.rollout.cohort import Cohort
from monitor.rollout.floors import check_floors, floors_of
from monitor.rollout.measurement import Yardstick, measure
from monitor.rollout.needed import requests_to_cliff, requests_to_ok
from monitor.rollout.policy import Policy
from monitor.rollout.reasons import explain
from monitor.rollout.state import find
from monitor.rollout.verdict import Verdict, VerdictState


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
    checks = check_floors(floors, measurement.hard_tier, measurement.capabilities)
    findings = find(measurement, calibration, checks, policy)
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
