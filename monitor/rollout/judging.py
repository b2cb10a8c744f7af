"""Judges a cohort: estimates, checks against the policy, and writes the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from monitor.difficulty.calibration import Calibration
from monitor.rollout.cohort import ArmName, Cohort, TierGroup
from monitor.rollout.floors import FloorCheck, pass_rate_of
from monitor.rollout.measurement import Measurement
from monitor.rollout.needed import margins, requests_needed
from monitor.rollout.policy import Floor, Policy
from monitor.rollout.reasons import explain
from monitor.rollout.state import find
from monitor.rollout.verdict import Verdict, VerdictState
from monitor.rollout.wording import minute

_AS_MEASURED = (
    *("share", "decomposition", "aggregate", "tiers", "hard_tier", "easier_tiers", "tiers_by", "comparison"),
    *("capabilities", "hard_capabilities", "regressed_capabilities"),
)
_GRAVITY = (VerdictState.WAITING, VerdictState.OK, VerdictState.CLIFF, VerdictState.REGRESSION)


def judge(
    cohort: Cohort,
    calibration: Calibration | None,
    policy: Policy,
    *,
    floors: Sequence[Floor] = (),
    previous: Verdict | None,
    probes: Cohort | None = None,
) -> Verdict:
    """
    The verdict on the rollout that *cohort* was read for.

    You can call it as often as you like: over all looks together, a rollout without a change gets a verdict other than
    `ok` and `waiting` with a chance of at most the policy's error rate.

    Args:
        cohort: Matured requests of both arms, tagged by one calibration.
        calibration: That calibration, or None without one.
        policy: Thresholds that the team agreed on before the rollout.
        floors: Floors that hold for the rollout; `policy.floors` has those of every service.
        previous: The last verdict on this rollout, or None.
        probes: The probe panel replayed on both versions under the same calibration, as further evidence; or None.
    """
    measurement = Measurement(cohort, calibration, policy, floors=len(floors), probes=probes, previous=previous)
    measured = Verdict(
        state=VerdictState.WAITING,
        reasons=(),
        requests_needed=0,
        requests_to_verdict=0,
        **{name: getattr(measurement, name) for name in _AS_MEASURED},
        calibration_id="" if calibration is None else calibration.calibration_id,
        could_still_be={
            group: 1.0 if (change := measurement.changes[group]) is None else change.upper
            for group, _ in margins(measurement, policy)
        },
        design_effect=dict(zip(ArmName, measurement.design[TierGroup.ALL], strict=True)),
        unresolved=cohort.unresolved,
        labels=dict(zip(ArmName, measurement.labels.arms, strict=True)),
        coverage_gap=measurement.coverage_gaps,
        one_sided=measurement.labels.one_sided,
        judge_moved=measurement.labels.moved,
        judge_drift=measurement.labels.drift,
        audits_needed=measurement.labels.audits_needed(policy.ok_margin),
    )
    checks = [FloorCheck(floor, pass_rate_of(floor, measured)) for floor in floors]
    checks = [replace(c, pass_rate=measurement.over_all_looks(c.scope, c.pass_rate)) for c in checks]
    findings = find(measurement, checks, policy)
    state = findings.state
    is_waiting = state is VerdictState.WAITING and not findings.obstacles
    verdict = replace(
        measured,
        state=state,
        requests_needed=requests_needed(measurement, policy) if is_waiting else 0,
        requests_to_verdict=_requests_to_verdict(state, measurement.labelled[1], previous),
        scope=findings.scope if state is VerdictState.REGRESSION else (),
        obstacles=tuple(findings.obstacles),
        bounds=measurement.bounds | {c.scope: c.pass_rate for c in checks if c.pass_rate is not None},
    )
    return replace(verdict, reasons=tuple(explain(verdict, findings, measurement, calibration, policy)))


def withdrawn(changes: Sequence[tuple[float, str]], state: VerdictState) -> Iterator[str]:
    """
    A sentence if an earlier verdict was graver than *state*.

    Args:
        changes: When the verdict changed (Unix seconds) and to which state, oldest first.
        state: The state now.
    """
    last_at = {earlier: at for at, earlier in changes}
    graver = _GRAVITY[_GRAVITY.index(state) + 1 :]
    for earlier in [each for each in reversed(graver) if each in last_at][:1]:
        yield (
            f"The verdict was `{earlier}` from {minute(last_at[earlier])} on. That no longer holds: later requests "
            "contradict it, or it rested on other tiers, hours, labels or floors."
        )


def _requests_to_verdict(state: VerdictState, labelled: int, previous: Verdict | None) -> int:
    if state is VerdictState.WAITING:
        return 0
    return previous.requests_to_verdict if previous is not None and previous.state is state else labelled
