"""Rollouts, the floors that they are held to, and what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from monitor.ledger.evidence import keep_evidence
from monitor.ledger.labels import DialectInsert, LabelBudget
from monitor.ledger.ledger import RolloutRecord
from monitor.ledger.schema import floor_set, verdict_change
from monitor.ledger.schema import rollout as table
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.stored import readable, real
from monitor.rollout.commitment import FloorSet, floors_in_force
from monitor.rollout.evidence import evidence_of
from monitor.rollout.policy import Floor
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import Verdict

_VERDICT = TypeAdapter(Verdict)
_FLOORS = TypeAdapter(tuple[Floor, ...])
_NAMES = ("service", "environment", "baseline", "candidate", "calibration_id")
_GIVEN = (*_NAMES, "started_at")


class NamesOverCap(Exception):
    """A name could become a label value too many: take back what was written."""


def select_rollouts(connection: sa.Connection) -> Sequence[RolloutRecord]:
    """Every rollout, oldest first, with its latest verdict."""
    rows = connection.execute(sa.select(table).order_by(table.c.started_at, table.c.id)).all()
    changes = connection.execute(
        sa.select(verdict_change).order_by(verdict_change.c.rollout_id, verdict_change.c.number)
    ).all()
    seen = _floor_sets(connection)

    def read(row: Any) -> RolloutRecord:
        rollout, judged = _rollout(row), [] if row.verdict is None else [row]
        verdicts = readable("rollout", judged, lambda row: _VERDICT.validate_json(row.verdict))
        return RolloutRecord(
            rollout=rollout,
            verdict=next(verdicts, None),
            changes=[(change.at, change.state) for change in changes if change.rollout_id == row.id],
            floors=floors_in_force(seen, rollout),
        )

    return list(readable("rollout", rows, read))


def insert_rollout(connection: sa.Connection, insert: DialectInsert, rollout: Rollout) -> None:
    """Keep a new rollout; one that is there already is left as it is."""
    connection.execute(
        insert(table).on_conflict_do_nothing(),
        {"id": rollout.rollout_id} | {name: getattr(rollout, name) for name in _GIVEN},
    )


def admit_names(connection: sa.Connection, insert: DialectInsert, rollout: Rollout, settings: LedgerSettings) -> None:
    """
    Let the names of *rollout* be label values, before any request bears them.

    Raises:
        NamesOverCap: one of them would be a value too many.
    """
    # Not the recorder's: that belongs to the thread that records.
    labels = LabelBudget(insert, settings).within(connection)
    for name in (rollout.baseline, rollout.candidate):
        wanted = (rollout.service, rollout.environment, name)
        if labels.version(*wanted) != wanted:
            raise NamesOverCap


def update_rollout(connection: sa.Connection, rollout_id: str, **values: Any) -> None:
    """Change columns of a rollout."""
    connection.execute(sa.update(table).where(table.c.id == rollout_id).values(**values))


def save_verdict(connection: sa.Connection, rollout_id: str, verdict: Verdict, *, at: float) -> None:
    """Keep the latest verdict of a rollout, its evidence, and its change when the state differs from the last."""
    last = connection.execute(
        sa.select(verdict_change.c.number, verdict_change.c.state)
        .where(verdict_change.c.rollout_id == rollout_id)
        .order_by(verdict_change.c.number.desc())
        .limit(1)
    ).one_or_none()
    if last is None or last.state != verdict.state:
        number = 0 if last is None else last.number + 1
        connection.execute(
            sa.insert(verdict_change), {"rollout_id": rollout_id, "number": number, "at": at, "state": verdict.state}
        )
    keep_evidence(connection, rollout_id, evidence_of(verdict, at=at))
    update_rollout(connection, rollout_id, verdict=_VERDICT.dump_json(verdict).decode(), verdict_at=at)


def see_floors(connection: sa.Connection, floors: Sequence[Floor], *, at: float) -> None:
    """Keep the floors of the config with the time (Unix seconds) from which on they were seen, if they changed."""
    seen = _floor_sets(connection)
    if not seen or tuple(seen[-1].floors) != tuple(floors):
        connection.execute(
            sa.insert(floor_set),
            {"number": _next_number(connection), "seen_at": at, "floors": _FLOORS.dump_json(tuple(floors)).decode()},
        )


def _next_number(connection: sa.Connection) -> int:
    last = connection.scalar(sa.select(sa.func.max(floor_set.c.number)))
    return 0 if last is None else last + 1


def _floor_sets(connection: sa.Connection) -> Sequence[FloorSet]:
    rows = connection.execute(sa.select(floor_set).order_by(floor_set.c.number))
    return list(readable("floor_set", rows, lambda row: FloorSet(real(row.seen_at), _FLOORS.validate_json(row.floors))))


def _rollout(row: sa.Row[Any]) -> Rollout:
    return Rollout(
        rollout_id=row.id,
        **{name: getattr(row, name) for name in _NAMES},
        started_at=real(row.started_at),
        ended_at=None if row.ended_at is None else real(row.ended_at),
        end_reason=row.end_reason,
    )
