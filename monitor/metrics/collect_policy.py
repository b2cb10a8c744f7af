"""Families of the policy in force: the thresholds that the rules compare with, for each service and environment."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.metrics import names
from monitor.metrics.family import Family, family_of
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.cohort import TierGroup
from monitor.rollout.policy import Policy
from monitor.trace.model import REFERENCE_ENVIRONMENT

_DAY = 86_400.0


def collect_policy(snapshot: Snapshot) -> Iterator[Family]:
    """Thresholds and floors."""
    policy, environments = snapshot.policy, sorted(_environments(snapshot))
    for metric, value in _thresholds(policy):
        yield from family_of(metric, ((value, *where) for where in environments))
    floors = (
        (floor.pass_rate, floor.service, floor.environment, floor.capability or "")
        for floor in policy.floors
        if floor.tier is TierGroup.HARD
    )
    yield from family_of(names.POLICY_FLOOR, floors)


def _thresholds(policy: Policy) -> Iterator[tuple[names.Metric, float]]:
    yield names.POLICY_SHARE_JUMP, policy.share_jump
    yield names.POLICY_ERROR, policy.error_rate
    yield names.POLICY_MIN_LABELLED, policy.min_labelled_requests
    yield names.POLICY_MIN_HARD_FAILURES, policy.min_hard_failures
    yield names.POLICY_OK_MARGIN, policy.ok_margin
    yield names.POLICY_OK_MARGIN_HARD, policy.ok_margin_hard
    yield names.POLICY_CAPABILITY_MIN_SHARE, policy.capability_min_share
    yield names.POLICY_BASELINE, policy.baseline_days * _DAY
    yield names.POLICY_MATURITY, policy.maturity_seconds
    yield names.POLICY_RAMP, policy.ramp_seconds
    yield names.POLICY_ROLLBACK, policy.rollback_seconds
    yield names.POLICY_CANDIDATE_MIN_SHARE, policy.candidate_min_share
    yield names.POLICY_CANDIDATE_MIN_REQUESTS, policy.candidate_min_requests
    yield names.POLICY_MAX_COVERAGE_GAP, policy.max_coverage_gap


def _environments(snapshot: Snapshot) -> set[tuple[str, str]]:
    """Every (service, environment) that may have a rollout."""
    seen = {(version.activity.service, version.activity.environment) for version in snapshot.model_versions}
    watched = {(record.rollout.service, record.rollout.environment) for record in snapshot.rollouts}
    agreed = {(floor.service, floor.environment) for floor in snapshot.policy.floors}
    return {pair for pair in seen | watched | agreed if pair[1] != REFERENCE_ENVIRONMENT}
