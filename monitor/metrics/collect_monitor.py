"""Families of the monitor itself: model versions seen, calibration in force, lag, health."""

from __future__ import annotations

from collections.abc import Iterator

from monitor import __version__
from monitor.difficulty.live_trust import LiveTrust
from monitor.metrics import names
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
    yield from family_of(names.MODEL_VERSION_INFO, rows)


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
        yield from family_of(metric, [(value, calibration.calibration_id)])
    reasons = (*trust.reasons, *trust.hard_rate_reasons, *calibration.live_reasons)
    yield from family_of(names.CALIBRATION_MISSING, [(1, calibration.calibration_id, reason) for reason in reasons])
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
        yield from family_of(metric, [(value, live.calibration_id)])


def _flag(*, is_set: bool | None) -> float | None:
    return None if is_set is None else float(is_set)


def collect_health(snapshot: Snapshot) -> Iterator[Family]:
    """Lag, the last commit, readiness and checks of this replica, and its release."""
    lag = [(each.records, each.topic, str(each.partition)) for each in snapshot.loop.lag]
    yield from family_of(names.CONSUMER_LAG, lag)
    yield from family_of(names.LAST_COMMIT, [(snapshot.loop.last_commit_at,)])
    yield from family_of(names.SPANS_WAITING, [(snapshot.pending_spans,)])
    yield from family_of(names.READY, [(snapshot.is_ready,)])
    yield from family_of(names.HEALTH, [(fact.is_ok, fact.name) for fact in snapshot.health])
    yield from family_of(names.BUILD_INFO, [(1, __version__)])


def collect_loop(snapshot: Snapshot) -> Iterator[Family]:
    """How this replica has fared since it started."""
    loop = snapshot.loop
    yield from family_of(names.LAST_TURN, [(loop.turned_at,)])
    yield from family_of(names.BATCHES_FENCED, [(loop.batches_fenced,)])
    yield from family_of(names.PAUSES, [(loop.pauses,)])
    yield from family_of(names.JOB_DURATION, [(seconds, job) for job, seconds in loop.job_seconds.items()])
