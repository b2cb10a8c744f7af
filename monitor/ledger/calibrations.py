"""Frozen calibrations that the ledger keeps, and which of them is in force."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.calibration import Calibration
from monitor.ledger.ledger import CalibrationRecord
from monitor.ledger.schema import calibration as table
from monitor.ledger.stored import readable, real, whole
from monitor.ledger.transactions import Transactions


class CalibrationStore(Transactions):
    """Keeps calibrations."""

    def calibrations(self) -> Sequence[CalibrationRecord]:
        """
        Every calibration: those never in force first, then in the order in which they came into force.

        The last one is in force, where it was promoted at all.
        """
        with self._reading() as connection:
            return _records(connection)

    def calibration(self, calibration_id: str) -> Calibration | None:
        """
        The calibration of that id, or None.

        Raises:
            CalibrationInvalid: what is stored cannot be trusted.
        """
        with self._reading() as connection:
            body = connection.scalar(sa.select(table.c.body).where(table.c.id == calibration_id))
        return None if body is None else Calibration.from_json(body)

    def keep(self, calibration: Calibration, *, history_labels: int) -> None:
        """Keep *calibration* without putting it in force; one that is there already is left as it is."""
        row = {**_row(calibration), "history_labels": history_labels}
        with self._writing() as connection:
            connection.execute(self._insert(table).on_conflict_do_nothing(), row)

    def promote(self, calibration: Calibration, *, at: float, history_labels: int) -> None:
        """
        Keep *calibration* and put it in force.

        From *at* (Unix seconds), or right after the last one where that came into force later: a replay lives in the
        past of the service that it shares a ledger with.
        """
        with self._writing() as connection:
            last = max((each.promoted_at or -math.inf for each in _records(connection)), default=-math.inf)
            now = {"promoted_at": at if at > last else math.nextafter(last, math.inf), "history_labels": history_labels}
            upsert = self._insert(table).on_conflict_do_update(index_elements=["id"], set_=now)
            connection.execute(upsert, {**_row(calibration), **now})


def _records(connection: sa.Connection) -> Sequence[CalibrationRecord]:
    columns = table.c
    rows = connection.execute(
        sa.select(columns.id, columns.frozen_at, columns.promoted_at, columns.history_labels).order_by(
            columns.promoted_at.nulls_first(), columns.frozen_at, columns.id
        )
    )
    return list(readable("calibration", rows, _record))


def _record(row: sa.Row[Any]) -> CalibrationRecord:
    promoted_at = None if row.promoted_at is None else real(row.promoted_at)
    return CalibrationRecord(row.id, real(row.frozen_at), promoted_at, whole(row.history_labels))


def _row(calibration: Calibration) -> dict[str, object]:
    return {"id": calibration.calibration_id, "frozen_at": calibration.frozen_at, "body": calibration.to_json()}
