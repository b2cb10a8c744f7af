"""Stores frozen calibrations and which one is in force, and tags requests again under another one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec.structs import asdict

from monitor.difficulty.calibration import Calibration
from monitor.ledger.cells import CELL_COLUMNS, cell_of
from monitor.ledger.cohorts import versions_of
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.ledger import CalibrationRecord
from monitor.ledger.request_rows import FEATURE_COLUMNS, features_of
from monitor.ledger.schema import calibration as table
from monitor.ledger.schema import request, stratum
from monitor.ledger.stored import readable, real, whole
from monitor.ledger.strata import StratumWriter
from monitor.ledger.transactions import Transactions
from monitor.rollout.tracker import Rollout

_ROWS_PER_TRANSACTION = 2_000  # a million rows in one transaction would block the recording of batches
_HAS_OTHER_TAGS = sa.select(
    sa.exists()
    .where(stratum.c.model_version_id == sa.bindparam("version_id"))
    .where(stratum.c.hour >= sa.bindparam("hour", type_=sa.Double))
    .where(stratum.c.calibration_id != sa.bindparam("calibration_id"))
)


class CalibrationStore(Transactions):
    """Stores calibrations, and tags the requests of a rollout again, a limited number per transaction."""

    def calibrations(self) -> Sequence[CalibrationRecord]:
        """
        Every calibration: those never promoted first, then the others in the order of their promotion.

        The last one is in force if it was ever promoted (see `record_in_force`).
        """
        with self._reading() as connection:
            return _records(connection)

    def calibration(self, calibration_id: str) -> Calibration | None:
        """
        The calibration with that ID, or None.

        Raises:
            CalibrationInvalid: the stored calibration is corrupt.
        """
        with self._reading() as connection:
            body = connection.scalar(sa.select(table.c.body).where(table.c.id == calibration_id))
        return None if body is None else Calibration.from_json(body)

    def keep(self, calibration: Calibration, *, history_labels: int) -> None:
        """Save *calibration* without putting it in force; an existing one stays as it is."""
        row = {**_row(calibration), "history_labels": history_labels}
        with self._writing() as connection:
            connection.execute(self._insert(table).on_conflict_do_nothing(), row)

    def promote(self, calibration: Calibration, *, at: float, history_labels: int) -> None:
        """
        Save *calibration* and put it in force.

        It takes effect at *at* (Unix seconds), or right after the last promotion if that is later: a replay runs in the
        past of a service that may share its ledger.
        """
        with self._writing() as connection:
            last = max((record.promoted_at or -math.inf for record in _records(connection)), default=-math.inf)
            now = {"promoted_at": at if at > last else math.nextafter(last, math.inf), "history_labels": history_labels}
            upsert = self._insert(table).on_conflict_do_update(index_elements=["id"], set_=now)
            connection.execute(upsert, {**_row(calibration), **now})

    def retag(self, rollout: Rollout, calibration: Calibration) -> int:
        """
        Tag the requests of both arms that another calibration tagged; returns their number.

        Requests from before the last pruned row keep their tags, since some of their rows are missing.
        """
        tagged = 0
        with self._reading() as connection:
            where = {"calibration_id": calibration.calibration_id}
            stale = [
                (version_id, since)
                for version_id, since in versions_of(connection, rollout).values()
                if connection.scalar(_HAS_OTHER_TAGS, {"version_id": version_id, "hour": since / HOUR_SECONDS, **where})
            ]
        for version_id, since in stale:
            last = (since, "")
            while page := self._page(version_id, calibration.calibration_id, after=last):
                with self._writing() as connection:
                    self._tag(connection, [trace_id for _, trace_id in page], calibration)
                tagged, last = tagged + len(page), page[-1]
        return tagged

    def _page(self, version_id: int, calibration_id: str, *, after: tuple[float, str]) -> Sequence[tuple[float, str]]:
        """Start and trace ID of the next requests of a version that another calibration tagged, in order."""
        columns = request.c
        in_order = (
            sa.select(columns.started_at, columns.trace_id)
            .where(columns.model_version_id == version_id, columns.calibration_id != calibration_id)
            .where(columns.started_at >= after[0], sa.tuple_(columns.started_at, columns.trace_id) > after)
            .order_by(columns.started_at, columns.trace_id)
        )
        with self._reading() as connection:
            return [(at, trace_id) for at, trace_id in connection.execute(in_order.limit(_ROWS_PER_TRANSACTION))]

    def _tag(self, connection: sa.Connection, trace_ids: Sequence[str], calibration: Calibration) -> None:
        rows = connection.execute(
            sa.select(request.c.trace_id, *dict.fromkeys((*FEATURE_COLUMNS, *CELL_COLUMNS)))
            .where(self._dialect.among(request.c.trace_id))
            .where(request.c.calibration_id != calibration.calibration_id)
            .order_by(request.c.trace_id)
            .with_for_update(),  # PostgreSQL: an outcome that arrives meanwhile must not move the request's old cell
            {"among": self._dialect.values(trace_ids)},
        ).all()
        if not rows:
            return
        tags = [calibration.tag(features_of(row)) for row in rows]
        changes = [asdict(tag) | {"_trace_id": row.trace_id} for row, tag in zip(rows, tags, strict=True)]
        connection.execute(sa.update(request).where(request.c.trace_id == sa.bindparam("_trace_id")), changes)
        cells = [cell_of(row) for row in rows]
        after = [cell.tagged(tag) for cell, tag in zip(cells, tags, strict=True)]
        StratumWriter(self._dialect, self._cells).move(connection, cells, after)


def _records(connection: sa.Connection) -> Sequence[CalibrationRecord]:
    records = sa.select(*table.c["id", "frozen_at", "promoted_at", "history_labels"])
    in_order = records.order_by(table.c.promoted_at.nulls_first(), table.c.frozen_at, table.c.id)
    return list(readable("calibration", connection.execute(in_order), _record))


def _record(row: sa.Row[Any]) -> CalibrationRecord:
    promoted_at = None if row.promoted_at is None else real(row.promoted_at)
    return CalibrationRecord(row.id, real(row.frozen_at), promoted_at, whole(row.history_labels))


def _row(calibration: Calibration) -> dict[str, object]:
    return {"id": calibration.calibration_id, "frozen_at": calibration.frozen_at, "body": calibration.to_json()}
