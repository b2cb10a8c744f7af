"""Stores rollouts, their floors, verdicts and evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from monitor.ledger.labels import Admission, Admitted
from monitor.ledger.ledger import RolloutRecord
from monitor.ledger.schema import evidence, floor_set, verdict_change
from monitor.ledger.schema import rollout as table
from monitor.ledger.stored import moment, readable, real, text
from monitor.ledger.transactions import Transactions
from monitor.rollout.evidence import Evidence, evidence_of, superfluous
from monitor.rollout.floors import FloorSet, floors_in_force
from monitor.rollout.policy import Floor
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import Verdict

_EVIDENCE = TypeAdapter(Evidence)
_FLOORS = TypeAdapter(tuple[Floor, ...])
_VERDICT = TypeAdapter(Verdict)
_NAMES = ("service", "environment", "baseline", "candidate", "calibration_id")


class RolloutStore(Transactions):
    """Stores rollouts, floors, verdicts and evidence."""

    def rollouts(self) -> Sequence[RolloutRecord]:
        """Every rollout, oldest first, with its latest verdict."""
        numbered = sa.select(verdict_change).order_by(verdict_change.c.rollout_id, verdict_change.c.number)
        with self._reading() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.started_at, table.c.id)).all()
            changes = connection.execute(numbered).all()
            floor_sets = _floor_sets(connection)

        def read(row: Any) -> RolloutRecord:
            rollout, judged = _rollout(row), [] if row.verdict is None else [row]
            return RolloutRecord(
                rollout=rollout,
                verdict=next(readable("rollout", judged, lambda row: _VERDICT.validate_json(row.verdict)), None),
                changes=[(change.at, change.state) for change in changes if change.rollout_id == row.id],
                floors=floors_in_force(floor_sets, rollout),
            )

        return list(readable("rollout", rows, read))

    def see_floors(self, floors: Sequence[Floor], *, at: float) -> None:
        """Save the floors of the config with the time at which they were first seen (Unix seconds), if they changed."""
        with self._writing() as connection:
            floor_sets = _floor_sets(connection)
            if not floor_sets or tuple(floor_sets[-1].floors) != tuple(floors):
                number = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(floor_set.c.number) + 1, 0)))
                row = {"number": number, "seen_at": at, "floors": _FLOORS.dump_json(tuple(floors)).decode()}
                connection.execute(sa.insert(floor_set), row)

    def start_rollout(self, rollout: Rollout) -> None:
        """Save a new rollout; an existing one stays as it is."""
        with self._writing() as connection:
            self._start(connection, rollout)

    def announce_rollout(self, rollout: Rollout) -> bool:
        """Save a rollout whose versions may have no requests yet; returns False if one of its names is over a cap."""
        with self._writing() as connection:
            # Not with the recorder's cache, which belongs to the thread that records.
            labels = Admission(connection, self._insert, self._settings, Admitted())
            versions = [(rollout.service, rollout.environment, name) for name in (rollout.baseline, rollout.candidate)]
            if versions != [labels.version(*version) for version in versions]:
                connection.rollback()
                return False
            self._start(connection, rollout)
        return True

    def end_rollout(self, rollout_id: str, *, ended_at: float, reason: str) -> None:
        """Mark a rollout as ended."""
        self.change_rollout(rollout_id, ended_at=ended_at, end_reason=reason)

    def change_rollout(self, rollout_id: str, **columns: Any) -> None:
        """Change *columns* of a rollout, such as when its evidence begins, or the calibration that judges it."""
        with self._writing() as connection:
            _update(connection, rollout_id, **columns)
        self._cells.clear()  # frees those that are no longer read

    def save_verdict(self, rollout_id: str, verdict: Verdict, *, at: float) -> None:
        """
        Save the latest verdict of a rollout and its evidence, and a change with its time if the state differs.

        Args:
            rollout_id: The rollout.
            verdict: Its verdict.
            at: Time of the look, Unix seconds.
        """
        changes = verdict_change.c
        latest = sa.select(changes.number, changes.state).where(changes.rollout_id == rollout_id)
        with self._writing() as connection:
            last = connection.execute(latest.order_by(changes.number.desc()).limit(1)).one_or_none()
            if last is None or last.state != verdict.state:
                number = 0 if last is None else last.number + 1
                change = {"rollout_id": rollout_id, "number": number, "at": at, "state": verdict.state}
                connection.execute(sa.insert(verdict_change), change)
            _save_evidence(connection, rollout_id, evidence_of(verdict, at=at))
            _update(connection, rollout_id, verdict=_VERDICT.dump_json(verdict).decode(), verdict_at=at)

    def evidence(self, rollout_id: str) -> Sequence[Evidence]:
        """
        The evidence at the looks at a rollout, oldest first.

        At most `MOST_EVIDENCE` looks: the first, the latest, and others evenly spread between them.
        """
        looks = sa.select(evidence.c.at, evidence.c.body).where(evidence.c.rollout_id == rollout_id)
        with self._reading() as connection:
            rows = connection.execute(looks.order_by(evidence.c.at))
            return list(readable("evidence", rows, lambda row: _EVIDENCE.validate_json(row.body)))

    def _start(self, connection: sa.Connection, rollout: Rollout) -> None:
        row = {name: getattr(rollout, name) for name in (*_NAMES, "started_at")}
        connection.execute(self._insert(table).on_conflict_do_nothing(), {"id": rollout.rollout_id, **row})


def _update(connection: sa.Connection, rollout_id: str, **values: Any) -> None:
    connection.execute(sa.update(table).where(table.c.id == rollout_id).values(**values))


def _save_evidence(connection: sa.Connection, rollout_id: str, look: Evidence) -> None:
    """Save the evidence at a *look*, replacing any of the same time, and thin out looks that are close together."""
    is_its = evidence.c.rollout_id == rollout_id
    looks = connection.scalars(sa.select(evidence.c.at).where(is_its).order_by(evidence.c.at))
    times = [at for at in looks if isinstance(at, int | float)]  # SQLite may have stored another type
    dropped = superfluous(sorted({*times, look.at}))
    if dropped or look.at in times:
        connection.execute(sa.delete(evidence).where(is_its, evidence.c.at.in_([*dropped, look.at])))
    row = {"rollout_id": rollout_id, "at": look.at, "body": _EVIDENCE.dump_json(look).decode()}
    connection.execute(sa.insert(evidence), row)


def _floor_sets(connection: sa.Connection) -> Sequence[FloorSet]:
    rows = connection.execute(sa.select(floor_set).order_by(floor_set.c.number))
    return list(readable("floor_set", rows, lambda row: FloorSet(real(row.seen_at), _FLOORS.validate_json(row.floors))))


def _rollout(row: sa.Row[Any]) -> Rollout:
    return Rollout(
        rollout_id=row.id,
        **{name: text(getattr(row, name)) for name in _NAMES},
        started_at=moment(row.started_at),
        ended_at=None if row.ended_at is None else moment(row.ended_at),
        end_reason=row.end_reason,
    )
