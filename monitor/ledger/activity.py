"""What is known of each model version without a look at every request: when it served, how soon it was labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from monitor.labels.delay import TimedLabel
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.schema import model_version, request, traffic
from monitor.ledger.stored import moment, readable, real, text, whole
from monitor.rollout.deployment import Traffic
from monitor.rollout.tracker import VersionActivity
from monitor.trace.model import REFERENCE_ENVIRONMENT, UNRESOLVED

_RECENT_HOURS = 90 * 24  # twice the ramp of a rollout; what was before is one piece
_BEHIND_SECONDS = 3_600.0, 3 * 86_400.0  # what is behind the leading version by less is not late, by more is gone
_LATE_AT_HOURS = range(0, 25, 3)  # before its last request: what is sent once a day has one that waited for most of it

_Seen = tuple[int, VersionActivity]
"""What is known of a version, after its id."""


class ActivityReader:
    """
    Reads what is known of each version, every second if need be.

    Hours are read once and remembered; of a version with new requests, only the latest hour and those after it are
    read again, unless the sum says that a request was late.
    """

    def __init__(self) -> None:
        self._hours: dict[int, dict[int, Traffic]] = {}
        self._before: dict[int, int] = {}

    def read(self, connection: sa.Connection) -> Sequence[VersionActivity]:
        """What is known of each model version of each service and environment, oldest first."""
        rows = connection.execute(
            sa.select(model_version)
            .where(model_version.c.model_version != UNRESOLVED)  # a place for requests, and never an arm
            .where(model_version.c.requests > 0)  # else its name has expired
            .order_by(model_version.c.first_started_at, model_version.c.id)
        )
        versions = list(readable("model_version", rows.all(), lambda row: (row.id, self._version(connection, row))))
        latest_last = sorted(versions, key=lambda version: version[1].last_started_at)
        leading = {(seen.service, seen.environment): (version_id, seen) for version_id, seen in latest_last}
        late = [_late_seconds(connection, each, leading[each[1].service, each[1].environment]) for each in versions]
        return [replace(seen, late_seconds=seconds) for (_, seen), seconds in zip(versions, late, strict=True)]

    def _version(self, connection: sa.Connection, row: sa.Row[Any]) -> VersionActivity:
        return VersionActivity(
            service=text(row.service),
            environment=text(row.environment),
            model_version=text(row.model_version),
            first_started_at=real(row.first_started_at),
            last_started_at=real(row.last_started_at),
            requests=whole(row.requests),
            # Reference runs never have a rollout.
            traffic=() if row.environment == REFERENCE_ENVIRONMENT else self._traffic(connection, row),
        )

    def _traffic(self, connection: sa.Connection, version: sa.Row[Any]) -> Sequence[Traffic]:
        hours = self._hours.setdefault(version.id, {})
        if hours and self._missing(version):
            hours |= _select_hours(connection, version.id, max(hours))
        if not hours or self._missing(version):
            hours.clear()
            hours |= _select_hours(connection, version.id, int(version.last_started_at // HOUR_SECONDS) - _RECENT_HOURS)
            self._before[version.id] = 0
            self._before[version.id] = max(self._missing(version), 0)
        spells = [hours[hour] for hour in sorted(hours)]
        if spells and (before := self._before[version.id]):
            spells.insert(0, Traffic(version.first_started_at, spells[0].first_started_at, before))
        return spells

    def _missing(self, version: sa.Row[Any]) -> int:
        known = self._before[version.id] + sum(spell.requests for spell in self._hours[version.id].values())
        return int(version.requests - known)


def _late_seconds(connection: sa.Connection, own: _Seen, leading: _Seen) -> float:
    """How much later its requests arrived than the leading version's, at most in the last day that it served."""
    (version_id, seen), (leader_id, leader), (least, most) = own, leading, _BEHIND_SECONDS
    if not seen.traffic or not least <= leader.last_started_at - seen.last_started_at <= most:
        return 0.0
    late = [0.0]
    for hours in _LATE_AT_HOURS:
        mine = _first_since(connection, version_id, seen.last_started_at - hours * HOUR_SECONDS)
        if mine and (other := _first_since(connection, leader_id, mine[0])):
            late.append(mine[1] - other[1])
    return max(late)


def _first_since(connection: sa.Connection, version_id: int, since: float) -> tuple[float, float] | None:
    """Start and arrival of a version's first request from *since* on, Unix seconds; None where there is no such row."""
    of_version = request.c.model_version_id == version_id, request.c.started_at >= since
    first = sa.select(request.c.started_at, request.c.received_at).where(*of_version).order_by(request.c.started_at)
    rows = connection.execute(first.limit(1)).all()
    return next(readable("request", rows, lambda row: (moment(row.started_at), moment(row.received_at))), None)


def _traffic_of(hour: sa.Row[Any]) -> tuple[int, Traffic]:
    return whole(hour.hour), Traffic(real(hour.first_started_at), real(hour.last_started_at), whole(hour.requests))


def _select_hours(connection: sa.Connection, version_id: int, since: int) -> dict[int, Traffic]:
    of_version = sa.select(traffic).where(traffic.c.model_version_id == version_id, traffic.c.hour >= since)
    return dict(readable("traffic", connection.execute(of_version), _traffic_of))


_WATCHED_SECONDS = 30 * 86_400.0
_VERSIONS = 2  # a baseline and its candidate: how an older one was labelled says little of them
_SPELLS = 24  # the time of a version is cut in so many pieces
_REQUESTS_OF_SPELL = 200  # the first of each piece: old ones and young ones alike, whatever the traffic

_SOME = (
    sa.select(request.c.outcome_source, request.c.success, request.c.started_at, request.c.labelled_at)
    .where(request.c.model_version_id == sa.bindparam("version"))
    .where(request.c.started_at > sa.bindparam("after"), request.c.started_at <= sa.bindparam("until"))
    .order_by(request.c.started_at)
    .limit(_REQUESTS_OF_SPELL)
    .subquery()
)
_LABELS = sa.select(_SOME).where(_SOME.c.success.is_not(None), _SOME.c.labelled_at.is_not(None))


def timed_labels(connection: sa.Connection, service: str, environment: str, *, now: float) -> Iterator[TimedLabel]:
    """The label that counts, of some requests of the versions of a service that served last; *now* in Unix seconds."""
    columns, since = model_version.c, now - _WATCHED_SECONDS
    versions = (
        sa.select(columns.id, columns.first_started_at, columns.last_started_at)
        .where(columns.service == service, columns.environment == environment, columns.last_started_at >= since)
        .order_by(columns.last_started_at.desc())
        .limit(_VERSIONS)
    )
    found = readable("model_version", connection.execute(versions).all(), lambda row: (row[0], *map(real, row[1:])))
    for version, first, last in found:
        start = max(first, since) - 1.0
        for after, until in pairwise([*(start + (last - start) * part / _SPELLS for part in range(_SPELLS)), last]):
            some = connection.execute(_LABELS, {"version": version, "after": after, "until": until}).all()
            timed = readable("request", some, lambda row: (*row[:2], *map(real, row[2:])))
            for source, success, started, labelled in timed:
                yield source or "unknown", success, labelled - started, now - started
