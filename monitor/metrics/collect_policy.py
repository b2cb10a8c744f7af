"""Families of the policy in force: the thresholds that the rules compare with, for each service and environment."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.metrics.family import Family, family_of
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.cohort import TierGroup
from monitor.rollout.policy import Policy
from monitor.trace.model import REFERENCE_ENVIRONMENT

_DAY = 86_400.0


def collect_policy(snapshot: Snapshot) -> Iterator[Family]:
    """Thresholds and floors."""
    policy, environments = snapshot.policy, sorted(_environments(snapshot))
    for name, value in _thresholds(policy):
        yield from family_of(name, ((value, *where) for where in environments))
    floors = (
        (floor.pass_rate, floor.service, floor.environment, floor.capability or "")
        for floor in policy.floors
        if floor.tier is TierGroup.HARD
    )
    yield from family_of("policy_floor_pass_ratio", floors)
    objectives = {"easy": policy.easy_objective, "medium": policy.medium_objective, "hard": policy.hard_objective}
    agreed = [(value, tier) for tier, value in objectives.items() if value]
    yield from family_of(
        "policy_objective_pass_ratio", ((value, *where, tier) for value, tier in agreed for where in environments)
    )


def _thresholds(policy: Policy) -> Iterator[tuple[str, float]]:
    yield "policy_share_jump_ratio", policy.share_jump
    yield "policy_error_ratio", policy.error_rate
    yield "policy_min_labelled_requests", policy.min_labelled_requests
    yield "policy_min_hard_failures", policy.min_hard_failures
    yield "policy_ok_margin_ratio", policy.ok_margin
    yield "policy_ok_margin_hard_ratio", policy.ok_margin_hard
    yield "policy_capability_min_share_ratio", policy.capability_min_share
    yield "policy_baseline_seconds", policy.baseline_days * _DAY
    yield "policy_maturity_seconds", policy.maturity_seconds
    yield "policy_ramp_seconds", policy.ramp_seconds
    yield "policy_rollback_seconds", policy.rollback_seconds
    yield "policy_candidate_min_share_ratio", policy.candidate_min_share
    yield "policy_candidate_min_requests", policy.candidate_min_requests


def _environments(snapshot: Snapshot) -> set[tuple[str, str]]:
    """Every (service, environment) that may have a rollout."""
    seen = {(version.activity.service, version.activity.environment) for version in snapshot.model_versions}
    watched = {(record.rollout.service, record.rollout.environment) for record in snapshot.rollouts}
    agreed = {(floor.service, floor.environment) for floor in snapshot.policy.floors}
    return {pair for pair in seen | watched | agreed if pair[1] != REFERENCE_ENVIRONMENT}
