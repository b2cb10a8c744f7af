"""What each look at a rollout found, thinned so that a long rollout needs no more rows than a short one."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from pydantic import TypeAdapter

from monitor.ledger.schema import evidence as table
from monitor.ledger.stored import readable
from monitor.rollout.evidence import Evidence, superfluous

_EVIDENCE = TypeAdapter(Evidence)


def keep_evidence(connection: sa.Connection, rollout_id: str, found: Evidence) -> None:
    """Keep what was *found*, in place of what was found at that moment; forget what is too close to its neighbours."""
    times = connection.scalars(sa.select(table.c.at).where(table.c.rollout_id == rollout_id).order_by(table.c.at)).all()
    dropped = superfluous(sorted({*times, found.at}))
    if dropped or found.at in times:
        connection.execute(
            sa.delete(table).where(table.c.rollout_id == rollout_id, table.c.at.in_([*dropped, found.at]))
        )
    row = {"rollout_id": rollout_id, "at": found.at, "body": _EVIDENCE.dump_json(found).decode()}
    connection.execute(sa.insert(table), row)


def select_evidence(connection: sa.Connection, rollout_id: str) -> Sequence[Evidence]:
    """What is remembered of the looks at a rollout, oldest first."""
    columns = table.c
    rows = connection.execute(
        sa.select(columns.at, columns.body).where(columns.rollout_id == rollout_id).order_by(columns.at)
    )
    return list(readable("evidence", rows, lambda row: _EVIDENCE.validate_json(row.body)))
