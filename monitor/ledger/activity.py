"""What is known of each model version without looking at its requests one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.schema import model_version, request, traffic
from monitor.ledger.stored import readable, real, whole
from monitor.rollout.tracker import VersionActivity
from monitor.trace.model import REFERENCE_ENVIRONMENT

_LATER_VERSIONS_WATCHED = 5

_Version = Any  # a row of `model_version`


class _RestOfHour(NamedTuple):
    """
    Requests of one version between the appearance of another and the end of that hour.

    Attributes:
        since: Appearance of the other, Unix seconds.
        tally: Requests of the whole hour when they were counted.
        requests: How many there were.
    """

    since: float
    tally: int
    requests: int


class ActivityReader:
    """
    Reads what is known of each version, every second if need be.

    Whole hours are added up from a tally, and only the rest of the hour in which a later version appeared is counted by
    its rows. That count is remembered until the tally of that hour moves, so it does not grow with the ledger.
    """

    def __init__(self) -> None:
        self._rests: dict[tuple[int, int], _RestOfHour] = {}

    def read(self, connection: sa.Connection) -> Sequence[VersionActivity]:
        """What is known of each model version of each service and environment, oldest first."""
        rows = connection.execute(
            sa.select(model_version).order_by(model_version.c.first_started_at, model_version.c.id)
        )
        versions = list(readable("model_version", rows, _checked))
        since = dict(self._requests_since(connection, versions))
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
        self, connection: sa.Connection, versions: Sequence[_Version]
    ) -> Iterator[tuple[int, Sequence[tuple[str, int]]]]:
        groups: dict[tuple[str, str], list[_Version]] = defaultdict(list)
        for row in versions:
            if row.environment != REFERENCE_ENVIRONMENT:  # it never has a rollout
                groups[row.service, row.environment].append(row)
        for members in groups.values():
            if len(members) > 1:
                yield from self._requests_within(connection, members)

    def _requests_within(
        self, connection: sa.Connection, members: Sequence[_Version]
    ) -> Iterator[tuple[int, Sequence[tuple[str, int]]]]:
        """Of the versions of one service and environment in order of appearance."""
        watched = members[-_LATER_VERSIONS_WATCHED:]
        tallies = _tallies(connection, members, watched)
        for place, later in enumerate(watched):
            earlier = [member.id for member in members if member.first_started_at < later.first_started_at]
            self._count_rests(connection, later, {each: tallies[each][2 * place] for each in earlier})
        for member in members:
            yield (
                member.id,
                [
                    (later.model_version, tallies[member.id][2 * place + 1] + self._rests[member.id, later.id].requests)
                    for place, later in enumerate(watched)
                    if later.first_started_at > member.first_started_at
                ],
            )

    def _count_rests(self, connection: sa.Connection, later: _Version, tallies: Mapping[int, int]) -> None:
        """Count anew what moved since it was counted last; *tallies* are of the hour in which *later* appeared."""
        since = later.first_started_at
        until = (since // HOUR_SECONDS + 1) * HOUR_SECONDS
        moved = [
            version_id
            for version_id, tally in tallies.items()
            if (known := self._rests.get((version_id, later.id))) is None or known[:2] != (since, tally)
        ]
        found: dict[int, int] = {}
        if busy := [version_id for version_id in moved if tallies[version_id]]:
            rows = connection.execute(
                sa.select(request.c.model_version_id, sa.func.count())
                .where(request.c.model_version_id.in_(busy))
                .where(request.c.started_at >= since)
                .where(request.c.started_at < until)
                .group_by(request.c.model_version_id)
            )
            found = dict(tuple(row) for row in rows)
        for version_id in moved:
            self._rests[version_id, later.id] = _RestOfHour(since, tallies[version_id], found.get(version_id, 0))


def _checked(row: _Version) -> _Version:
    real(row.first_started_at)
    real(row.last_started_at)
    whole(row.requests)
    return row


def _tallies(
    connection: sa.Connection, members: Sequence[_Version], watched: Sequence[_Version]
) -> Mapping[int, Sequence[int]]:
    """For each of *members* and each of *watched*: requests of the hour in which that appeared, and after that hour."""
    columns = traffic.c
    hours = [int(later.first_started_at // HOUR_SECONDS) for later in watched]
    rows = connection.execute(
        sa.select(
            columns.model_version_id,
            *(_sum(where) for hour in hours for where in (columns.hour == hour, columns.hour > hour)),
        )
        .where(columns.model_version_id.in_([member.id for member in members]))
        .where(columns.hour >= hours[0])
        .group_by(columns.model_version_id)
    ).all()
    none: Sequence[int] = (0,) * (2 * len(watched))
    found = {row[0]: [int(number) for number in row[1:]] for row in rows}
    return {member.id: found.get(member.id, none) for member in members}


def _sum(where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((where, traffic.c.requests))), 0)
