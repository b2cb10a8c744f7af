"""What is known of each model version without looking at its requests one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
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
    since = dict(_requests_since(connection, versions))
    return [
        VersionActivity(
            service=row.service,
            environment=row.environment,
            model_version=row.model_version,
            first_started_at=row.first_started_at,
            last_started_at=row.last_started_at,
            requests=row.requests,
            requests_since=since.get(row.id, ()),
        )
        for row in versions
    ]


def _requests_since(
    connection: sa.Connection, versions: Sequence[sa.Row[Any]]
) -> Iterator[tuple[int, Sequence[tuple[str, int]]]]:
    groups: dict[tuple[str, str], list[sa.Row[Any]]] = defaultdict(list)
    for row in versions:
        if row.environment != REFERENCE_ENVIRONMENT:  # it never has a rollout
            groups[row.service, row.environment].append(row)
    for members in groups.values():
        if len(members) > 1:
            yield from _requests_within(connection, members)


def _requests_within(
    connection: sa.Connection, members: Sequence[sa.Row[Any]]
) -> Iterator[tuple[int, Sequence[tuple[str, int]]]]:
    """Of the versions of one service and environment in order of appearance, in one look at their requests."""
    watched = members[-_LATER_VERSIONS_WATCHED:]
    columns = request.c
    rows = connection.execute(
        sa.select(
            columns.model_version_id,
            *(sa.func.count(sa.case((columns.started_at >= later.first_started_at, 1))) for later in watched),
        )
        .where(columns.model_version_id.in_([member.id for member in members]))
        .where(columns.started_at >= watched[0].first_started_at)
        .group_by(columns.model_version_id)
    ).all()
    counted = {row[0]: row[1:] for row in rows}
    for member in members:
        counts = counted.get(member.id, (0,) * len(watched))
        yield (
            member.id,
            [
                (later.model_version, count)
                for later, count in zip(watched, counts, strict=True)
                if later.first_started_at > member.first_started_at
            ],
        )
