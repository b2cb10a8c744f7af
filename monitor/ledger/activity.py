"""Traffic of each model version and the delay of its labels, without reading every request."""

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

_RECENT_HOURS = 90 * 24  # twice the ramp of a rollout; earlier traffic is summed up
_BEHIND_SECONDS = 3_600.0, 3 * 86_400.0  # a version less far behind the leading one is not late, one further is gone
_LATE_AT_HOURS = range(0, 25, 3)  # hours before its last request; of a daily upload, some of them waited long

_Identified = tuple[int, VersionActivity]
"""The ID of a version, and its activity."""


class ActivityReader:
    """
    Reads the activity of each version; fast enough to be called every second.

    Caches the hours of each version. If it has new requests, only the latest hour and later ones are read again, unless
    the total shows that a request fell into an earlier hour.
    """

    def __init__(self) -> None:
        self._hours: dict[int, dict[int, Traffic]] = {}
        self._before: dict[int, int] = {}

    def read(self, connection: sa.Connection) -> Sequence[VersionActivity]:
        """Activity of each model version of each service and environment, oldest first."""
        rows = connection.execute(
            sa.select(model_version)
            .where(model_version.c.model_version != UNRESOLVED)  # requests of unknown versions are never an arm
            .where(model_version.c.requests > 0)  # otherwise its name has expired
            .order_by(model_version.c.first_started_at, model_version.c.id)
        )
        versions = list(readable("model_version", rows.all(), lambda row: (row.id, self._version(connection, row))))
        by_last_request = sorted(versions, key=lambda version: version[1].last_started_at)
        leading = {(v.service, v.environment): (version_id, v) for version_id, v in by_last_request}
        leaders = [leading[version.service, version.environment] for _, version in versions]
        late = [_late_seconds(connection, *pair) for pair in zip(versions, leaders, strict=True)]
        return [replace(version, late_seconds=seconds) for (_, version), seconds in zip(versions, late, strict=True)]

    def _version(self, connection: sa.Connection, row: sa.Row[Any]) -> VersionActivity:
        return VersionActivity(
            service=text(row.service),
            environment=text(row.environment),
            model_version=text(row.model_version),
            first_started_at=real(row.first_started_at),
            last_started_at=real(row.last_started_at),
            requests=whole(row.requests),
            # Reference history is never in a rollout.
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
        cached = self._before[version.id] + sum(hour.requests for hour in self._hours[version.id].values())
        return int(version.requests - cached)


def _late_seconds(connection: sa.Connection, identified: _Identified, leading: _Identified) -> float:
    """How much later a version's requests arrived than the leading version's; the maximum over its last day."""
    (version_id, version), (leader_id, leader), (least, most) = identified, leading, _BEHIND_SECONDS
    if not version.traffic or not least <= leader.last_started_at - version.last_started_at <= most:
        return 0.0
    delays = [0.0]
    for hours in _LATE_AT_HOURS:
        first = _first_since(connection, version_id, version.last_started_at - hours * HOUR_SECONDS)
        if first and (of_leader := _first_since(connection, leader_id, first[0])):
            delays.append(first[1] - of_leader[1])
    return max(delays)


def _first_since(connection: sa.Connection, version_id: int, since: float) -> tuple[float, float] | None:
    """Start and arrival of a version's first request from *since* on, Unix seconds; None if it has none."""
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
_VERSIONS = 2  # baseline and candidate; the delay of labels of older versions may differ
_PERIODS = 24  # equal periods into which a version's time is divided
_REQUESTS_OF_PERIOD = 200  # first requests read of each period, so that old and young requests are sampled alike

_SAMPLE = (
    sa.select(request.c.outcome_source, request.c.success, request.c.started_at, request.c.labelled_at)
    .where(request.c.model_version_id == sa.bindparam("version"))
    .where(request.c.started_at > sa.bindparam("after"), request.c.started_at <= sa.bindparam("until"))
    .order_by(request.c.started_at)
    .limit(_REQUESTS_OF_PERIOD)
    .subquery()
)
_LABELS = sa.select(_SAMPLE).where(_SAMPLE.c.success.is_not(None), _SAMPLE.c.labelled_at.is_not(None))


def timed_labels(connection: sa.Connection, service: str, environment: str, *, now: float) -> Iterator[TimedLabel]:
    """Labels of a sample of requests of a service's latest versions, with their delay; *now* in Unix seconds."""
    columns, since = model_version.c, now - _WATCHED_SECONDS
    versions = (
        sa.select(columns.id, columns.first_started_at, columns.last_started_at)
        .where(columns.service == service, columns.environment == environment, columns.last_started_at >= since)
        .order_by(columns.last_started_at.desc())
        .limit(_VERSIONS)
    )
    rows = readable("model_version", connection.execute(versions).all(), lambda row: (row[0], *map(real, row[1:])))
    for version, first, last in rows:
        start = max(first, since) - 1.0
        for after, until in pairwise([*(start + (last - start) * part / _PERIODS for part in range(_PERIODS)), last]):
            sample = connection.execute(_LABELS, {"version": version, "after": after, "until": until}).all()
            labels = readable("request", sample, lambda row: (*row[:2], *map(real, row[2:])))
            for source, success, started, labelled in labels:
                yield source or "unknown", success, labelled - started, now - started
