"""Families of the monitor itself: model versions seen, calibration in force, lag, health."""

from __future__ import annotations

from collections.abc import Iterator

from monitor import __version__
from monitor.difficulty.live_trust import LiveTrust
from monitor.metrics import names
from monitor.metrics.family import Family, Series
from monitor.metrics.snapshot import Snapshot


def collect_model_versions(snapshot: Snapshot) -> Iterator[Family]:
    """Each model version with its role."""
    info = Series(names.MODEL_VERSION_INFO)
    for version in snapshot.model_versions:
        seen = version.activity
        floating = "true" if version.is_floating else "false"
        info.set(1, seen.service, seen.environment, seen.model_version, version.role.value, floating)
    yield from info.families()


def collect_calibration(snapshot: Snapshot) -> Iterator[Family]:
    """The calibration in force, and whether to trust it."""
    calibration = snapshot.calibration
    if calibration is None:
        return
    trust = calibration.trust
    for metric, value in (
        (names.CALIBRATION_INFO, 1.0),
        (names.CALIBRATION_AUC, trust.auc),
        (names.CALIBRATION_ERROR, trust.calibration_error),
        (names.CALIBRATION_AGE, max(0.0, snapshot.now - calibration.frozen_at)),
        (names.CALIBRATION_TRUSTED, float(trust.is_trusted)),
        (names.CALIBRATION_VERSIONS, float(trust.versions)),
        (names.CALIBRATION_KNOWN, trust.known_share),
    ):
        series = Series(metric)
        series.set(value, calibration.calibration_id)
        yield from series.families()
    missing = Series(names.CALIBRATION_MISSING)
    for reason in (*trust.reasons, *trust.hard_rate_reasons, *calibration.live_reasons):
        missing.set(1, calibration.calibration_id, reason)
    yield from missing.families()
    if calibration.live is not None:
        yield from _collect_live_trust(calibration.live)


def _collect_live_trust(live: LiveTrust) -> Iterator[Family]:
    trust, drift = live.trust, live.drift
    for metric, value in (
        (names.CALIBRATION_LIVE_TRUSTED, _flag(is_set=live.is_trusted)),
        (names.CALIBRATION_LIVE_VERSIONS, float(live.versions)),
        (names.CALIBRATION_LIVE_AUC, None if trust is None else trust.auc),
        (names.CALIBRATION_LIVE_ERROR, None if trust is None else trust.calibration_error),
        (names.CALIBRATION_LIVE_KNOWN, None if trust is None else trust.known_share),
        (names.CALIBRATION_DRIFTING, _flag(is_set=drift.is_drifting)),
        (names.CALIBRATION_LIVE_RESIDUAL, drift.residual_mean),
        (names.CALIBRATION_ANCHORS_MOVED, drift.anchors_moved_ratio),
    ):
        series = Series(metric)
        series.set(value, live.calibration_id)
        yield from series.families()


def _flag(*, is_set: bool | None) -> float | None:
    return None if is_set is None else float(is_set)


def collect_health(snapshot: Snapshot) -> Iterator[Family]:
    """Lag, the last commit, readiness and checks of this replica, and its release."""
    lag, last_commit = Series(names.CONSUMER_LAG), Series(names.LAST_COMMIT)
    ready, health, build = Series(names.READY), Series(names.HEALTH), Series(names.BUILD_INFO)
    for partition in snapshot.loop.lag:
        lag.set(partition.records, partition.topic, str(partition.partition))
    last_commit.set(snapshot.loop.last_commit_at)
    ready.set(snapshot.is_ready)
    for fact in snapshot.health:
        health.set(fact.is_ok, fact.name)
    build.set(1, __version__)
    pending = Series(names.SPANS_WAITING)
    pending.set(snapshot.pending_spans)
    for series in (lag, last_commit, pending, ready, health, build):
        yield from series.families()


def collect_loop(snapshot: Snapshot) -> Iterator[Family]:
    """How this replica has fared since it started."""
    loop = snapshot.loop
    turned, fenced, pauses = Series(names.LAST_TURN), Series(names.BATCHES_FENCED), Series(names.PAUSES)
    jobs = Series(names.JOB_DURATION)
    turned.set(loop.turned_at)
    fenced.set(loop.batches_fenced)
    pauses.set(loop.pauses)
    for job, seconds in loop.job_seconds.items():
        jobs.set(seconds, job)
    for series in (turned, fenced, pauses, jobs):
        yield from series.families()
