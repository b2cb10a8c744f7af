"""Deletes old rows, a few thousand to a transaction, so that no writer waits long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from monitor.ledger.cells import CELL_COLUMNS, cell_of
from monitor.ledger.dialect import Dialect
from monitor.ledger.ledger import Pruned, PruneSubject
from monitor.ledger.schema import dead_letter, model_version, pruned, request, rollout
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.strata import StratumWriter
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT

_DAY_SECONDS = 86_400.0
_ROWS_PER_TRANSACTION = 2_000


def cutoffs(settings: LedgerSettings, *, now: float) -> Mapping[PruneSubject, float]:
    """Rows of each subject that came before that moment (Unix seconds) may go at *now*; those of others are kept."""
    days = {
        PruneSubject.REQUESTS: settings.retention_days,
        PruneSubject.OUTCOMES: settings.orphan_outcome_days,
        PruneSubject.DEAD_LETTERS: settings.dead_letter_days,
    }
    return {subject: now - kept * _DAY_SECONDS for subject, kept in days.items() if kept}


class Pruner:
    """
    Deletes what is older than its cutoff.

    Requests of the environments `reference` and `probes` and of both arms of a rollout under way are kept, however old.
    On PostgreSQL rows that a replica is just writing to are left for another time, so a pruner never waits.

    Args:
        dialect: How the database takes many rows.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._among = dialect.among(request.c.trace_id)
        self._values = dialect.values
        self._strata = StratumWriter(dialect)
        self._tally = dialect.upserter(
            pruned,
            become=lambda added: {name: pruned.c[name] + added[name] for name in ("requests", "successes", "failures")},
        )

    def versions(self, connection: sa.Connection) -> Sequence[int]:
        """Ids of the versions whose requests may go."""
        version = model_version.c
        is_arm = sa.exists().where(
            rollout.c.service == version.service,
            rollout.c.environment == version.environment,
            version.model_version.in_((rollout.c.baseline, rollout.c.candidate)),
            rollout.c.ended_at.is_(None),
        )
        return connection.scalars(
            sa.select(version.id)
            .where(version.environment.not_in((REFERENCE_ENVIRONMENT, PROBES_ENVIRONMENT)))
            .where(~is_arm)
            .order_by(version.id)
        ).all()

    def due(self, connection: sa.Connection, until: Mapping[PruneSubject, float]) -> Iterator[Pruned]:
        """How many rows of each subject may go."""
        for subject in PruneSubject:
            old = self._old(connection, subject, until[subject]) if subject in until else ()
            yield Pruned(subject, sum(_count(connection, rows) for rows in old))

    def _old(self, connection: sa.Connection, subject: PruneSubject, before: float) -> Sequence[sa.Select[Any]]:
        match subject:
            case PruneSubject.REQUESTS:
                return [_old_requests(version_id, before) for version_id in self.versions(connection)]
            case PruneSubject.OUTCOMES:
                return [_orphans(before)]
            case PruneSubject.DEAD_LETTERS:
                return [sa.select(dead_letter).where(dead_letter.c.received_at < before)]

    def deletions(self, connection: sa.Connection, subject: PruneSubject) -> Sequence[Callable[..., int]]:
        """What deletes some rows of *subject* that came *before* a time; how many there were."""
        match subject:
            case PruneSubject.REQUESTS:
                return [partial(self.delete_requests, version_id=each) for each in self.versions(connection)]
            case PruneSubject.OUTCOMES:
                return [self.delete_outcomes]
            case PruneSubject.DEAD_LETTERS:
                return [self.delete_dead_letters]

    def delete_requests(self, connection: sa.Connection, version_id: int, before: float) -> int:
        """Delete some old requests of a version and remember how they were counted; how many there were."""
        columns = request.c
        rows = connection.execute(
            _some(_old_requests(version_id, before, columns.trace_id, columns.counted_tier, *CELL_COLUMNS))
        ).all()
        self._strata.move(connection, [cell_of(row) for row in rows])
        tally: dict[str, Counter[Any]] = {}
        for row in rows:
            tally.setdefault(row.counted_tier, Counter())[row.success] += 1
        self._delete(connection, [row.trace_id for row in rows])
        self._tally(
            connection,
            [(version_id, tier, of.total(), of[True], of[False]) for tier, of in sorted(tally.items())],
        )
        return len(rows)

    def delete_outcomes(self, connection: sa.Connection, before: float) -> int:
        """Delete some outcomes whose trace never came; how many there were."""
        ids = connection.scalars(_some(_orphans(before, request.c.trace_id))).all()
        self._delete(connection, ids)
        return len(ids)

    def delete_dead_letters(self, connection: sa.Connection, before: float) -> int:
        """Delete some old accounts of dead letters; how many there were."""
        key = (dead_letter.c.topic, dead_letter.c.partition, dead_letter.c.offset)
        rows = connection.execute(_some(sa.select(*key).where(dead_letter.c.received_at < before))).all()
        for topic, partition, offset in rows:
            connection.execute(sa.delete(dead_letter).where(key[0] == topic, key[1] == partition, key[2] == offset))
        return len(rows)

    def _delete(self, connection: sa.Connection, trace_ids: Sequence[str]) -> None:
        if trace_ids:
            connection.execute(sa.delete(request).where(self._among), {"among": self._values(trace_ids)})


def _old_requests(version_id: int, before: float, *columns: Any) -> sa.Select[Any]:
    """Requests that started and came before: one that is replayed from the past is kept as long as any other."""
    return (
        sa.select(*(columns or (request.c.trace_id,)))
        .where(request.c.model_version_id == version_id)
        .where(request.c.started_at < before)
        .where(request.c.received_at < before)
    )


def _orphans(before: float, *columns: Any) -> sa.Select[Any]:
    return (
        sa.select(*(columns or (request.c.trace_id,)))
        .where(request.c.model_version_id.is_(None))
        .where(request.c.received_at < before)
    )


def _some(rows: sa.Select[Any]) -> sa.Select[Any]:
    return rows.limit(_ROWS_PER_TRANSACTION).with_for_update(skip_locked=True)


def _count(connection: sa.Connection, rows: sa.Select[Any]) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(rows.subquery())) or 0
