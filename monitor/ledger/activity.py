"""What is known of each model version without looking at its requests one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.schema import model_version, traffic
from monitor.ledger.stored import readable, real, text, whole
from monitor.rollout.deployment import Traffic
from monitor.rollout.tracker import VersionActivity
from monitor.trace.model import REFERENCE_ENVIRONMENT, UNRESOLVED

_RECENT_HOURS = 90 * 24  # twice the ramp of a rollout; what was before is one piece


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
        return list(readable("model_version", rows.all(), lambda row: self._version(connection, row)))

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


def _traffic_of(hour: sa.Row[Any]) -> tuple[int, Traffic]:
    spell = Traffic(real(hour.first_started_at), real(hour.last_started_at), whole(hour.requests))
    return whole(hour.hour), spell


def _select_hours(connection: sa.Connection, version_id: int, since: int) -> dict[int, Traffic]:
    of_version = sa.select(traffic).where(traffic.c.model_version_id == version_id, traffic.c.hour >= since)
    return dict(readable("traffic", connection.execute(of_version), _traffic_of))
