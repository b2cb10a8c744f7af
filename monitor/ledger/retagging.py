"""Tags both arms of a rollout anew after a change of calibration, in portions of bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from monitor.difficulty.calibration import Calibration
from monitor.ledger.cells import CELL_COLUMNS, cell_of
from monitor.ledger.cohorts import arm_ids, whole_from
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.request_rows import FEATURE_COLUMNS, features_of, tag_columns
from monitor.ledger.schema import request, stratum
from monitor.ledger.strata import StratumWriter
from monitor.ledger.transactions import Transactions
from monitor.rollout.tracker import Rollout

_AT_ONCE = 2_000  # a million rows in one transaction would keep batches from being recorded meanwhile
_IS_LEFT = sa.select(
    sa.exists()
    .where(stratum.c.model_version_id == sa.bindparam("version_id"))
    .where(stratum.c.hour >= sa.bindparam("hour", type_=sa.Double))
    .where(stratum.c.calibration_id != sa.bindparam("calibration_id"))
)


class Retagger(Transactions):
    """Tags anew what another calibration tagged."""

    def retag(self, rollout: Rollout, calibration: Calibration) -> int:
        """
        Tag anew the requests of both arms that another calibration tagged; how many there were.

        What came before rows were pruned is not all there, and stays as it is.
        """
        tagged = 0
        with self._reading() as connection:
            arms = [(each, whole_from(connection, each)) for each in arm_ids(connection, rollout)]
            wanted = {"calibration_id": calibration.calibration_id}
            left = [
                (version_id, since)
                for version_id, since in arms
                if connection.scalar(_IS_LEFT, {"version_id": version_id, "hour": since / HOUR_SECONDS, **wanted})
            ]
        for version_id, since in left:
            last = (since, "")
            while some := self._some(version_id, calibration, after=last):
                with self._writing() as connection:
                    self._tag(connection, [trace_id for _, trace_id in some], calibration)
                tagged, last = tagged + len(some), some[-1]
        return tagged

    def _some(
        self, version_id: int, calibration: Calibration, *, after: tuple[float, str]
    ) -> Sequence[tuple[float, str]]:
        """Start and trace id of some requests of a version that another calibration tagged, in order."""
        columns = request.c
        in_order = (
            sa.select(columns.started_at, columns.trace_id)
            .where(columns.model_version_id == version_id, columns.calibration_id != calibration.calibration_id)
            .where(columns.started_at >= after[0], sa.tuple_(columns.started_at, columns.trace_id) > after)
            .order_by(columns.started_at, columns.trace_id)
        )
        with self._reading() as connection:
            return [(at, trace_id) for at, trace_id in connection.execute(in_order.limit(_AT_ONCE))]

    def _tag(self, connection: sa.Connection, trace_ids: Sequence[str], calibration: Calibration) -> None:
        rows = connection.execute(
            sa.select(request.c.trace_id, *dict.fromkeys((*FEATURE_COLUMNS, *CELL_COLUMNS)))
            .where(self._dialect.among(request.c.trace_id))
            .where(request.c.calibration_id != calibration.calibration_id)
            .order_by(request.c.trace_id)
            .with_for_update(),  # PostgreSQL: a verdict that comes meanwhile would move the cell that is left here
            {"among": self._dialect.values(trace_ids)},
        ).all()
        if not rows:
            return
        tags = [calibration.tag(features_of(row)) for row in rows]
        connection.execute(
            sa.update(request).where(request.c.trace_id == sa.bindparam("_trace_id")),
            [tag_columns(tag) | {"_trace_id": row.trace_id} for row, tag in zip(rows, tags, strict=True)],
        )
        cells = [cell_of(row) for row in rows]
        after = [cell.tagged(tag) for cell, tag in zip(cells, tags, strict=True)]
        StratumWriter(self._dialect).move(connection, cells, after)
