"""Both arms of a rollout as the statistics take them, read under one calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tiers import Tier
from monitor.ledger.ledger import FailureCounts
from monitor.ledger.request_rows import FEATURE_COLUMNS, features_of, tag_columns
from monitor.ledger.schema import model_version, request
from monitor.rollout.cohort import Arm, Cohort, Stratum
from monitor.rollout.oncall import Signature
from monitor.rollout.tracker import Rollout

_MOST_SIGNATURES = 1_000


def select_cohort(connection: sa.Connection, rollout: Rollout, *, matured_before: float) -> Cohort:
    """Both arms of *rollout*: requests that started before *matured_before* (Unix seconds), by stratum."""
    return Cohort(
        baseline=_arm(connection, rollout, rollout.baseline, matured_before),
        candidate=_arm(connection, rollout, rollout.candidate, matured_before),
        calibration_id=rollout.calibration_id,
    )


def select_failure_classes(
    connection: sa.Connection, rollout: Rollout, *, matured_before: float
) -> tuple[FailureCounts, FailureCounts]:
    """Failures of baseline and candidate by whole signature, the most frequent ones."""
    return (
        _failure_classes(connection, rollout, rollout.baseline, matured_before),
        _failure_classes(connection, rollout, rollout.candidate, matured_before),
    )


def tagged_otherwise(connection: sa.Connection, rollout: Rollout, calibration: Calibration) -> Sequence[Any]:
    """Requests of both arms that another calibration tagged, with what tags them."""
    return connection.execute(
        sa.select(request.c.trace_id, *FEATURE_COLUMNS)
        .join(model_version)
        .where(*_of_service(rollout))
        .where(model_version.c.model_version.in_((rollout.baseline, rollout.candidate)))
        .where(request.c.calibration_id != calibration.calibration_id)
        .order_by(request.c.trace_id)
    ).all()


def retag(connection: sa.Connection, rows: Sequence[Any], calibration: Calibration) -> None:
    """Tag *rows* of `tagged_otherwise` anew."""
    connection.execute(
        sa.update(request).where(request.c.trace_id == sa.bindparam("_trace_id")),
        [tag_columns(calibration.tag(features_of(row))) | {"_trace_id": row.trace_id} for row in rows],
    )


def _of_service(rollout: Rollout) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return (model_version.c.service == rollout.service, model_version.c.environment == rollout.environment)


def _arm(connection: sa.Connection, rollout: Rollout, version: str, matured_before: float) -> Arm:
    columns = request.c
    rows = connection.execute(
        sa.select(
            columns.tier,
            columns.capability,
            columns.bin,
            columns.is_known,
            sa.func.count(),
            sa.func.count(columns.success),
            sa.func.count(sa.case((columns.success.is_(False), 1))),
            sa.func.sum(columns.difficulty_logit),
            sa.func.sum(columns.difficulty_variance),
        )
        .join(model_version)
        .where(*_of_service(rollout))
        .where(model_version.c.model_version == version)
        .where(columns.started_at < matured_before)
        .where(columns.calibration_id == rollout.calibration_id)
        .group_by(columns.tier, columns.capability, columns.bin, columns.is_known)
        .order_by(columns.tier, columns.capability, columns.bin, columns.is_known)
    )
    return Arm(version, [Stratum(Tier(tier), capability, *rest) for tier, capability, *rest in rows])


def _failure_classes(connection: sa.Connection, rollout: Rollout, version: str, matured_before: float) -> FailureCounts:
    columns = request.c
    failures = sa.func.count()
    rows = connection.execute(
        sa.select(columns.tier, columns.capability, columns.failure_class, failures)
        .join(model_version)
        .where(*_of_service(rollout))
        .where(model_version.c.model_version == version)
        .where(columns.started_at < matured_before)
        .where(columns.calibration_id == rollout.calibration_id)
        .where(columns.success.is_(False))
        .group_by(columns.tier, columns.capability, columns.failure_class)
        .order_by(failures.desc(), columns.tier, columns.capability, columns.failure_class)
        .limit(_MOST_SIGNATURES)
    )
    return {Signature(Tier(tier), capability, name or ""): count for tier, capability, name, count in rows}
