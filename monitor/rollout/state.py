"""Which of the four states of a rollout the evidence supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.rollout.comparison import FailureRate
from monitor.rollout.floors import FloorCheck
from monitor.rollout.measurement import Measurement, Yardstick
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import VerdictState


@dataclass(frozen=True, slots=True)
class Findings:
    """
    What the evidence supports, before it is put into words.

    Attributes:
        obstacles: Sentences saying why tiers cannot be judged at all; empty where they can.
        has_enough: Both arms hold the policy's minimum counts.
        has_hard_rate: The hard tier's failure rate may be believed.
        has_hard_rate_risen: Shown to have risen.
        broken_floors: Floors that the candidate's hard tier is shown to be below.
        has_share_jumped: The hard tier's share of failures rose by the policy's jump, and is shown to have risen.
        is_left_behind: The rise is shown to exceed the one that a uniform gain would give.
        has_aggregate_held: The aggregate did not get worse at the baseline's traffic mix.
    """

    obstacles: Sequence[str]
    has_enough: bool
    has_hard_rate: bool
    has_hard_rate_risen: bool
    broken_floors: Sequence[FloorCheck]
    has_share_jumped: bool
    is_left_behind: bool
    has_aggregate_held: bool

    @property
    def state(self) -> VerdictState:
        """The state, worst first."""
        if self.obstacles:
            return VerdictState.WAITING
        if self.has_hard_rate_risen or self.broken_floors:
            return VerdictState.REGRESSION
        if not self.has_enough:
            return VerdictState.WAITING
        if self.has_share_jumped and self.is_left_behind and self.has_aggregate_held:
            return VerdictState.CLIFF
        return VerdictState.OK


def find(
    measurement: Measurement, calibration: Yardstick | None, floors: Sequence[FloorCheck], policy: Policy
) -> Findings:
    """What *measurement* supports under *policy*."""
    share, hard = measurement.share, measurement.hard_tier
    has_hard_rate = calibration is not None and calibration.trust.is_trusted_for_hard_rate
    has_failures = _has_hard_failures(measurement, policy)
    change = measurement.standardised_change
    return Findings(
        obstacles=_obstacles(measurement, calibration, policy),
        has_enough=share is not None and has_failures and _has_labels(measurement, policy),
        has_hard_rate=has_hard_rate,
        has_hard_rate_risen=has_hard_rate and has_failures and hard.change is not None and hard.change.lower > 0,
        broken_floors=[check for check in floors if has_hard_rate and check.is_broken],
        has_share_jumped=share is not None and share.change.estimate >= policy.share_jump and share.change.lower > 0,
        is_left_behind=share is not None and share.excess.lower > 0,
        has_aggregate_held=change is not None and change <= 0,
    )


def _has_labels(measurement: Measurement, policy: Policy) -> bool:
    arms = (measurement.aggregate.baseline, measurement.aggregate.candidate)
    return all(arm.requests >= policy.min_labelled_requests for arm in arms)


def _has_hard_failures(measurement: Measurement, policy: Policy) -> bool:
    """Standard errors can be believed from here on: failures by tag, and failures that the correction stands on."""
    arms = (measurement.hard_tier.baseline, measurement.hard_tier.candidate)
    enough_known = measurement.known_failures >= policy.min_hard_failures
    return enough_known and all(arm.failures >= policy.min_hard_failures for arm in arms)


def _obstacles(measurement: Measurement, calibration: Yardstick | None, policy: Policy) -> Sequence[str]:
    if calibration is None:
        return ["No calibration is in force, so requests have no tiers: load reference runs or wait for history."]
    if not calibration.trust.is_trusted:
        return ["Tiers are not trusted yet.", *calibration.trust.reasons]
    gaps = (
        ("labels", measurement.aggregate.baseline, measurement.aggregate.candidate),
        ("hard-tier labels", measurement.hard_tier.baseline, measurement.hard_tier.candidate),
    )
    return [sentence for what, *arms in gaps if (sentence := _coverage_gap(what, arms[0], arms[1], policy))]


def _coverage_gap(what: str, baseline: FailureRate, candidate: FailureRate, policy: Policy) -> str:
    if baseline.coverage is None or candidate.coverage is None:
        return ""
    gap = baseline.coverage - candidate.coverage
    if abs(gap) <= policy.max_coverage_gap:
        return ""
    behind, lower, upper = (
        ("candidate", candidate.coverage, baseline.coverage)
        if gap > 0
        else ("baseline", baseline.coverage, candidate.coverage)
    )
    return (
        f"The {behind}'s {what} lag behind: {lower:.0%} of its matured requests are labelled, {upper:.0%} of the other "
        "arm's, so the arms cannot be compared."
    )
