"""Families of the monitor itself: model versions seen, calibration in force, lag, health."""

from __future__ import annotations

from collections.abc import Iterator

from monitor import __version__
from monitor.difficulty.trust import LiveTrust
from monitor.metrics.family import Family, family_of
from monitor.metrics.snapshot import Snapshot


def collect_model_versions(snapshot: Snapshot) -> Iterator[Family]:
    """Each model version with its role."""
    rows = (
        (
            1,
            version.activity.service,
            version.activity.environment,
            version.activity.model_version,
            version.role.value,
            str(version.is_floating).lower(),
        )
        for version in snapshot.model_versions
    )
    yield from family_of("model_version_info", rows)


def collect_calibration(snapshot: Snapshot) -> Iterator[Family]:
    """The calibration in force, and whether to trust it."""
    calibration = snapshot.calibration
    if calibration is None:
        return
    trust = calibration.trust
    for name, value in (
        ("calibration_info", 1.0),
        ("calibration_auc", trust.auc),
        ("calibration_error", trust.calibration_error),
        ("calibration_age_seconds", max(0.0, snapshot.now - calibration.frozen_at)),
        ("calibration_trusted", float(trust.is_trusted)),
        ("calibration_versions", float(trust.versions)),
        ("calibration_known_ratio", trust.known_share),
    ):
        yield from family_of(name, [(value, calibration.calibration_id)])
    reasons = (*trust.reasons, *trust.hard_rate_reasons, *calibration.live_reasons)
    yield from family_of("calibration_missing_info", [(1, calibration.calibration_id, reason) for reason in reasons])
    if calibration.live is not None:
        yield from _collect_live_trust(calibration.live)


def _collect_live_trust(live: LiveTrust) -> Iterator[Family]:
    trust, drift = live.trust, live.drift
    for name, value in (
        ("calibration_live_trusted", _flag(is_set=live.is_trusted)),
        ("calibration_live_versions", float(live.versions)),
        ("calibration_live_auc", None if trust is None else trust.auc),
        ("calibration_live_error", None if trust is None else trust.calibration_error),
        ("calibration_live_known_ratio", None if trust is None else trust.known_share),
        ("calibration_drifting", _flag(is_set=drift.is_drifting)),
        ("calibration_live_residual", drift.residual_mean),
        ("calibration_anchors_moved_ratio", drift.anchors_moved_ratio),
    ):
        yield from family_of(name, [(value, live.calibration_id)])


def _flag(*, is_set: bool | None) -> float | None:
    return None if is_set is None else float(is_set)


def collect_health(snapshot: Snapshot) -> Iterator[Family]:
    """Lag, the last commit, readiness and checks of this replica, and its release."""
    lag = [(each.records, each.topic, str(each.partition)) for each in snapshot.loop.lag]
    yield from family_of("consumer_lag_records", lag)
    yield from family_of("last_commit_timestamp_seconds", [(snapshot.loop.last_commit_at,)])
    yield from family_of("spans_waiting", [(snapshot.pending_spans,)])
    yield from family_of("ready", [(snapshot.is_ready,)])
    yield from family_of("health", [(fact.is_ok, fact.name) for fact in snapshot.health])
    yield from family_of("build_info", [(1, __version__)])


def collect_loop(snapshot: Snapshot) -> Iterator[Family]:
    """How this replica has fared since it started."""
    loop = snapshot.loop
    yield from family_of("last_turn_timestamp_seconds", [(loop.turned_at,)])
    yield from family_of("batches_fenced_total", [(loop.batches_fenced,)])
    yield from family_of("pauses_total", [(loop.pauses,)])
    yield from family_of("job_duration_seconds", [(seconds, job) for job, seconds in loop.job_seconds.items()])
