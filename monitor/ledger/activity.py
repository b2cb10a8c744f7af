"""What is known of each model version without looking at its requests one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from monitor.ledger.schema import model_version, request
from monitor.rollout.tracker import VersionActivity
from monitor.trace.model import REFERENCE_ENVIRONMENT

_LATER_VERSIONS_WATCHED = 5


def select_activity(connection: sa.Connection) -> Sequence[VersionActivity]:
    """What is known of each model version of each service and environment, oldest first."""
    versions = connection.execute(
        sa.select(model_version).order_by(model_version.c.first_started_at, model_version.c.id)
    ).all()
    return [
        VersionActivity(
            service=row.service,
            environment=row.environment,
            model_version=row.model_version,
            first_started_at=row.first_started_at,
            last_started_at=row.last_started_at,
            requests=row.requests,
            requests_since=_requests_since(connection, row, versions),
        )
        for row in versions
    ]


def _requests_since(
    connection: sa.Connection, row: sa.Row[Any], versions: Sequence[sa.Row[Any]]
) -> Sequence[tuple[str, int]]:
    """Requests of *row*'s version since each of the latest later versions of its service and environment appeared."""
    if row.environment == REFERENCE_ENVIRONMENT:
        return []  # it never has a rollout
    later = [
        other
        for other in versions
        if (other.service, other.environment) == (row.service, row.environment)
        and other.first_started_at > row.first_started_at
    ]
    return [
        (
            other.model_version,
            connection.scalar(
                sa.select(sa.func.count())
                .select_from(request)
                .where(request.c.model_version_id == row.id)
                .where(request.c.started_at >= other.first_started_at)
            )
            or 0,
        )
        for other in later[-_LATER_VERSIONS_WATCHED:]
    ]
