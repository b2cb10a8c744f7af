"""Frozen calibrations that the ledger keeps, and which of them is in force."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.calibration import Calibration
from monitor.ledger.labels import DialectInsert
from monitor.ledger.ledger import CalibrationRecord
from monitor.ledger.schema import calibration as table
from monitor.ledger.stored import readable, real, whole


def select_calibrations(connection: sa.Connection) -> Sequence[CalibrationRecord]:
    """Every calibration: those never in force first, then in the order in which they came into force."""
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


def select_calibration(connection: sa.Connection, calibration_id: str) -> str | None:
    """The calibration of that id as it was written, or None."""
    return connection.scalar(sa.select(table.c.body).where(table.c.id == calibration_id))


def keep(connection: sa.Connection, insert: DialectInsert, calibration: Calibration, *, history_labels: int) -> None:
    """Keep *calibration* without putting it in force; one that is there already is left as it is."""
    connection.execute(
        insert(table).on_conflict_do_nothing(), _row(calibration, promoted_at=None, history_labels=history_labels)
    )


def promote(
    connection: sa.Connection, insert: DialectInsert, calibration: Calibration, *, at: float, history_labels: int
) -> None:
    """Keep *calibration* and put it in force from *at* (Unix seconds), or right after the last one."""
    last = max((each.promoted_at or -math.inf for each in select_calibrations(connection)), default=-math.inf)
    promoted_at = at if at > last else math.nextafter(last, math.inf)
    connection.execute(
        insert(table).on_conflict_do_update(
            index_elements=["id"], set_={"promoted_at": promoted_at, "history_labels": history_labels}
        ),
        _row(calibration, promoted_at=promoted_at, history_labels=history_labels),
    )


def _row(calibration: Calibration, *, promoted_at: float | None, history_labels: int) -> dict[str, object]:
    return {
        "id": calibration.calibration_id,
        "frozen_at": calibration.frozen_at,
        "promoted_at": promoted_at,
        "history_labels": history_labels,
        "body": calibration.to_json(),
    }
