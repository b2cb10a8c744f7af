"""Families of the monitor itself: model versions seen, the policy and the calibration in force, lag, health."""

from __future__ import annotations

from monitor import __version__
from monitor.difficulty.trust import LiveTrust
from monitor.metrics.family import Labels, Rows
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.cohort import TierGroup
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT

_DAY = 86_400.0


def collect_model_versions(snapshot: Snapshot) -> Rows:
    """Each model version with its role, and when it last passed a frontier probe before all others."""
    for version in snapshot.model_versions:
        seen = version.activity
        role, floating = version.role.value, str(version.is_floating).lower()
        yield "model_version_info", 1, (seen.service, seen.environment, seen.model_version, role, floating)
    for (service, model_version, capability), at in snapshot.frontier_solved.items():
        named = service, PROBES_ENVIRONMENT, model_version, capability
        yield "frontier_probe_solved_timestamp_seconds", at, named


def collect_policy(snapshot: Snapshot) -> Rows:
    """Thresholds and floors that the rules compare with, for each service and environment."""
    policy = snapshot.policy
    for where in sorted(_environments(snapshot)):
        yield "policy_share_jump_ratio", policy.share_jump, where
        yield "policy_error_ratio", policy.error_rate, where
        yield "policy_min_labelled_requests", policy.min_labelled_requests, where
        yield "policy_min_hard_failures", policy.min_hard_failures, where
        yield "policy_ok_margin_ratio", policy.ok_margin, where
        yield "policy_ok_margin_hard_ratio", policy.ok_margin_hard, where
        yield "policy_capability_min_share_ratio", policy.capability_min_share, where
        yield "policy_baseline_seconds", policy.baseline_days * _DAY, where
        yield "policy_maturity_seconds", policy.judged_after(), where
        yield "policy_ramp_seconds", policy.ramp_seconds, where
        yield "policy_rollback_seconds", policy.rollback_seconds, where
        yield "policy_candidate_min_share_ratio", policy.candidate_min_share, where
        yield "policy_candidate_min_requests", policy.candidate_min_requests, where
        for tier in ("easy", "medium", "hard"):
            yield "policy_objective_pass_ratio", getattr(policy, f"{tier}_objective") or None, (*where, tier)
        for each in policy.class_runbooks:
            yield "policy_class_runbook_info", 1, (*where, each.capability, each.runbook_url)
    for floor in policy.floors:
        if floor.tier is TierGroup.HARD:
            where = floor.service, floor.environment
            yield "policy_floor_pass_ratio", floor.pass_rate, (*where, floor.capability or "")


def _environments(snapshot: Snapshot) -> set[tuple[str, str]]:
    """Every (service, environment) that may have a rollout."""
    seen = {(version.activity.service, version.activity.environment) for version in snapshot.model_versions}
    watched = {(record.rollout.service, record.rollout.environment) for record in snapshot.rollouts}
    agreed = {(floor.service, floor.environment) for floor in snapshot.policy.floors}
    return {pair for pair in seen | watched | agreed if pair[1] != REFERENCE_ENVIRONMENT}


def collect_calibration(snapshot: Snapshot) -> Rows:
    """The calibration in force, and whether to trust it."""
    calibration = snapshot.calibration
    if calibration is None:
        return
    trust, named = calibration.trust, (calibration.calibration_id,)
    yield "calibration_info", 1, named
    yield "calibration_auc", trust.auc, named
    yield "calibration_error", trust.calibration_error, named
    yield "calibration_age_seconds", max(0.0, snapshot.now - calibration.frozen_at), named
    yield "calibration_trusted", trust.is_trusted, named
    yield "calibration_versions", trust.versions, named
    yield "calibration_known_ratio", trust.known_share, named
    for reason in (*trust.reasons, *trust.hard_rate_reasons, *calibration.live_reasons):
        yield "calibration_missing_info", 1, (*named, reason)
    if calibration.live is not None:
        yield from _live_trust(calibration.live, (calibration.live.calibration_id,))


def _live_trust(live: LiveTrust, named: Labels) -> Rows:
    trust, drift = live.trust, live.drift
    yield "calibration_live_trusted", live.is_trusted, named
    yield "calibration_live_versions", live.versions, named
    if trust is not None:
        yield "calibration_live_auc", trust.auc, named
        yield "calibration_live_error", trust.calibration_error, named
        yield "calibration_live_known_ratio", trust.known_share, named
    yield "calibration_drifting", drift.is_drifting, named
    yield "calibration_live_residual", drift.residual_mean, named
    yield "calibration_anchors_moved_ratio", drift.anchors_moved_ratio, named


def collect_health(snapshot: Snapshot) -> Rows:
    """Lag, the last commit, readiness and checks of this replica, its release, and how it fared since its start."""
    loop = snapshot.loop
    for (topic, partition), records in loop.lag.items():
        yield "consumer_lag_records", records, (topic, str(partition))
    yield "last_commit_timestamp_seconds", loop.last_commit_at, ()
    yield "spans_waiting", snapshot.pending_spans, ()
    yield "ready", snapshot.is_ready, ()
    for fact in snapshot.health:
        yield "health", fact.is_ok, (fact.name,)
    yield "build_info", 1, (__version__,)
    yield "last_turn_timestamp_seconds", loop.turned_at, ()
    yield "batches_fenced_total", loop.batches_fenced, ()
    yield "pauses_total", loop.pauses, ()
    for job, seconds in loop.job_seconds.items():
        yield "job_duration_seconds", seconds, (job,)
