"""Rollouts, the floors that they are held to, and what was said of them."""

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
    """Keeps rollouts and verdicts."""

    def rollouts(self) -> Sequence[RolloutRecord]:
        """Every rollout, oldest first, with its latest verdict."""
        numbered = sa.select(verdict_change).order_by(verdict_change.c.rollout_id, verdict_change.c.number)
        with self._reading() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.started_at, table.c.id)).all()
            changes = connection.execute(numbered).all()
            seen = _floor_sets(connection)

        def read(row: Any) -> RolloutRecord:
            rollout, judged = _rollout(row), [] if row.verdict is None else [row]
            return RolloutRecord(
                rollout=rollout,
                verdict=next(readable("rollout", judged, lambda row: _VERDICT.validate_json(row.verdict)), None),
                changes=[(change.at, change.state) for change in changes if change.rollout_id == row.id],
                floors=floors_in_force(seen, rollout),
            )

        return list(readable("rollout", rows, read))

    def see_floors(self, floors: Sequence[Floor], *, at: float) -> None:
        """Keep the floors of the config with the time (Unix seconds) from which on they were seen, if they changed."""
        with self._writing() as connection:
            seen = _floor_sets(connection)
            if not seen or tuple(seen[-1].floors) != tuple(floors):
                number = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(floor_set.c.number) + 1, 0)))
                row = {"number": number, "seen_at": at, "floors": _FLOORS.dump_json(tuple(floors)).decode()}
                connection.execute(sa.insert(floor_set), row)

    def start_rollout(self, rollout: Rollout) -> None:
        """Keep a new rollout; one that is there already is left as it is."""
        with self._writing() as connection:
            self._start(connection, rollout)

    def announce_rollout(self, rollout: Rollout) -> bool:
        """Keep a rollout whose names no request bore yet; False, and nothing kept, where a name is over its cap."""
        with self._writing() as connection:
            # Not what the recorder remembers: that belongs to the thread that records.
            labels = Admission(connection, self._insert, self._settings, Admitted())
            wanted = [(rollout.service, rollout.environment, name) for name in (rollout.baseline, rollout.candidate)]
            if wanted != [labels.version(*version) for version in wanted]:
                connection.rollback()
                return False
            self._start(connection, rollout)
        return True

    def begin_rollout_at(self, rollout_id: str, started_at: float) -> None:
        """From now on, evidence on a rollout begins at *started_at*, Unix seconds."""
        with self._writing() as connection:
            _update(connection, rollout_id, started_at=started_at)
        self._cells.clear()

    def end_rollout(self, rollout_id: str, *, ended_at: float, reason: str) -> None:
        """Mark a rollout as ended."""
        with self._writing() as connection:
            _update(connection, rollout_id, ended_at=ended_at, end_reason=reason)
        self._cells.clear()  # of its arms, too

    def read_rollout_under(self, rollout_id: str, calibration_id: str) -> None:
        """From now on, read both arms of a rollout under another calibration (its own could not be trusted)."""
        with self._writing() as connection:
            _update(connection, rollout_id, calibration_id=calibration_id)

    def save_verdict(self, rollout_id: str, verdict: Verdict, *, at: float) -> None:
        """
        Keep the latest verdict of a rollout, and its change with the time when the state differs from the last.

        What it rests on is kept as `evidence` as well.
        """
        changes = verdict_change.c
        latest = sa.select(changes.number, changes.state).where(changes.rollout_id == rollout_id)
        with self._writing() as connection:
            last = connection.execute(latest.order_by(changes.number.desc()).limit(1)).one_or_none()
            if last is None or last.state != verdict.state:
                number = 0 if last is None else last.number + 1
                change = {"rollout_id": rollout_id, "number": number, "at": at, "state": verdict.state}
                connection.execute(sa.insert(verdict_change), change)
            _keep_evidence(connection, rollout_id, evidence_of(verdict, at=at))
            _update(connection, rollout_id, verdict=_VERDICT.dump_json(verdict).decode(), verdict_at=at)

    def evidence(self, rollout_id: str) -> Sequence[Evidence]:
        """
        What was found at the looks at a rollout, oldest first.

        The first, the latest, and so many between them, evenly spread over time, as `MOST_EVIDENCE` allows.
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


def _keep_evidence(connection: sa.Connection, rollout_id: str, found: Evidence) -> None:
    """Keep what was *found*, in place of what was found at that moment; forget what is too close to its neighbours."""
    is_its = evidence.c.rollout_id == rollout_id
    looks = connection.scalars(sa.select(evidence.c.at).where(is_its).order_by(evidence.c.at))
    times = [at for at in looks if isinstance(at, int | float)]  # SQLite may hold something else
    dropped = superfluous(sorted({*times, found.at}))
    if dropped or found.at in times:
        connection.execute(sa.delete(evidence).where(is_its, evidence.c.at.in_([*dropped, found.at])))
    row = {"rollout_id": rollout_id, "at": found.at, "body": _EVIDENCE.dump_json(found).decode()}
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
