"""
Deletes old rows, at most a few thousand per transaction, so that no writer waits long.

When the rows of requests are deleted, their totals stay in hourly cells for verdicts, and a sample of labelled requests
stays for calibrations. A version that is not used for the whole evidence period loses its series on `/metrics`, and
starts from zero if it comes back.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from monitor.ledger import schema
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.dialect import sums_of
from monitor.ledger.labels import SERIES_OF, PlacedName
from monitor.ledger.ledger import Pruned, PruneSubject
from monitor.ledger.schema import counter, dead_letter, model_version, pruned, request, rollout, stratum
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.stored import readable, real
from monitor.ledger.transactions import Transactions
from monitor.trace.model import TEACHING_ENVIRONMENTS

_DAY_SECONDS = 86_400.0
_ROWS_PER_TRANSACTION = 2_000


def _cutoffs(settings: LedgerSettings, *, now: float) -> Mapping[PruneSubject, float]:
    """Age limit of each subject as Unix seconds: older rows may be deleted at *now*. Others are kept for ever."""
    evidence_days = max(settings.evidence_days, settings.retention_days) if settings.evidence_days else 0.0
    days = {
        PruneSubject.REQUESTS: settings.retention_days,
        PruneSubject.EVIDENCE: evidence_days if settings.retention_days else 0.0,
        PruneSubject.NAMES: evidence_days if settings.retention_days else 0.0,
        PruneSubject.OUTCOMES: settings.orphan_outcome_days,
        PruneSubject.DEAD_LETTERS: settings.dead_letter_days,
    }
    return {subject: now - limit * _DAY_SECONDS for subject, limit in days.items() if limit}


_Old = tuple[sa.Select[Any], Callable[[sa.Connection], int]]
"""A select of the rows that may be deleted, and a function that deletes some of them and returns their number."""


class Retention(Transactions):
    """
    Finds and deletes rows that are older than their cutoff.

    Rows of the environments `reference` and `probes` are kept for ever, and so are the cells of both arms of a rollout
    under way. On PostgreSQL, rows that a replica has locked are skipped until the next time, so pruning never waits.
    """

    def prune(self, *, now: float, keep: Collection[PruneSubject] = ()) -> Iterator[Pruned]:
        """
        Delete rows past their retention at *now* (Unix seconds); each item yielded is one committed transaction.

        Stop iterating to stop the pruning; the next call continues. Subjects in *keep* are not pruned.
        """
        for subject, before in _cutoffs(self._settings, now=now).items():
            with self._reading() as connection:
                all_old = () if subject in keep else self._old(connection, subject, before)
            for _, delete in all_old:
                while rows := self._delete(delete):
                    if subject in {PruneSubject.EVIDENCE, PruneSubject.NAMES}:
                        self._cells.clear()
                    yield Pruned(subject, rows)

    def due_to_prune(self, *, now: float) -> Sequence[Pruned]:
        """The number of rows that `prune` would delete at *now* (Unix seconds), by subject."""
        due: Counter[PruneSubject] = Counter()
        with self._reading() as connection:
            for subject, before in _cutoffs(self._settings, now=now).items():
                for rows, _ in self._old(connection, subject, before):
                    due[subject] += connection.scalar(sa.select(sa.func.count()).select_from(rows.subquery())) or 0
        return [Pruned(subject, due[subject]) for subject in PruneSubject]

    def names(self) -> Sequence[PlacedName]:
        """Versions, capabilities and failure classes that have series on `/metrics`, sorted by name."""
        select = sa.select(schema.label_value).where(schema.label_value.c.label.in_(SERIES_OF))
        with self._reading() as connection:
            used_at, rows = _used(connection), connection.execute(select).all()

        def read(row: sa.Row[Any]) -> PlacedName:
            kind, name = row[0], " ".join(row[1:])
            return PlacedName(kind.removeprefix("version_"), name, SERIES_OF[kind], used_at.get(name))

        return sorted(readable("label_value", rows, read), key=attrgetter("name"))

    def free(self, versions: Collection[str]) -> Sequence[str]:
        """
        Remove the series of *versions* (their names) to make room for others; their counts stay in the ledger.

        Returns:
            The versions freed. References, probes and arms of a rollout under way cannot be freed.
        """
        with self._writing() as connection:
            freed = sorted(_used(connection, _ids(connection, arms=False)).keys() & versions)
            _free(connection, freed)
        return freed

    def _delete(self, delete: Callable[[sa.Connection], int]) -> int:
        with self._writing() as connection:
            return delete(connection)

    def _old(self, connection: sa.Connection, subject: PruneSubject, before: float) -> Sequence[_Old]:
        """Rows of *subject* from *before* that time, Unix seconds."""
        ids = _ids(connection, before=before)
        match subject:
            case PruneSubject.REQUESTS:
                return [self._requests(each, before, ~self._is_sample(connection, each)) for each in ids]
            case PruneSubject.EVIDENCE:
                sampled = [self._requests(each, before, self._is_sample(connection, each)) for each in ids]
                return [*sampled, _old_cells(_ids(connection, arms=False), before)] if ids else []
            case PruneSubject.NAMES:
                return [_unused_versions(_ids(connection, arms=False), before)] if ids else []
            case PruneSubject.OUTCOMES:
                return [self._requests(None, before, sa.true())]
            case PruneSubject.DEAD_LETTERS:
                return [_letters(dead_letter.c.received_at < before), *self._surplus_letters(connection)]

    def _requests(self, version_id: int | None, before: float, may_go: sa.ColumnElement[bool]) -> _Old:
        """
        Requests of a version that both started and arrived before the cutoff, so that back-filled ones stay as long.

        Without a version, outcomes whose trace never came.
        """
        columns = request.c
        rows = (
            sa.select(columns.trace_id, columns.started_at, columns.counted_tier, columns.success)
            .where(columns.model_version_id == version_id, columns.received_at < before)
            .where(sa.true() if version_id is None else columns.started_at < before)
            .where(may_go)
        )
        return rows, partial(self._delete_requests, rows=rows, version_id=version_id)

    def _surplus_letters(self, connection: sa.Connection) -> Iterator[_Old]:
        """If there are too many dead letters, the oldest of the topic that has the most."""
        topic, received_at = dead_letter.c.topic, dead_letter.c.received_at
        counts = sa.select(topic, sa.func.count().label("letters")).group_by(topic).order_by(sa.desc("letters"), topic)
        topics = connection.execute(counts).all()
        surplus = sum(letters for _, letters in topics) - self._settings.max_dead_letters
        if surplus > 0:
            name, letters = topics[0]
            times = sa.select(received_at).where(topic == name).order_by(received_at)
            cutoff = connection.scalar(times.offset(min(surplus, letters - 1)).limit(1))
            yield _letters(sa.and_(topic == name, received_at < cutoff))

    def _is_sample(self, connection: sa.Connection, version_id: int) -> sa.ColumnElement[bool]:
        """Condition: the request is among the `sample_per_version` latest labelled requests of its version."""
        columns = request.c
        is_labelled = columns.success.is_not(None)
        labelled = sa.select(columns.started_at).where(columns.model_version_id == version_id, is_labelled)
        older = labelled.order_by(columns.started_at.desc()).offset(self._settings.sample_per_version).limit(1)
        return sa.and_(is_labelled, columns.started_at > (connection.scalar(older) or 0.0))

    def _delete_requests(self, connection: sa.Connection, rows: sa.Select[Any], version_id: int | None) -> int:
        """Delete some requests; add them to the version's totals of pruned requests and move its `pruned_before`."""
        deleted = connection.execute(_some(rows)).all()
        if deleted:
            among = self._dialect.values([row.trace_id for row in deleted])
            connection.execute(sa.delete(request).where(self._dialect.among(request.c.trace_id)), {"among": among})
        if deleted and version_id is not None:
            by_tier: dict[str, Counter[Any]] = {}
            for row in deleted:
                by_tier.setdefault(row.counted_tier, Counter())[row.success] += 1
            totals = [(version_id, tier, n.total(), n[True], n[False]) for tier, n in sorted(by_tier.items())]
            add = sums_of(pruned, ("requests", "successes", "failures"))
            self._dialect.upserter(pruned, add)(connection, totals)
            _set_pruned_before(connection, version_id, max(row.started_at for row in deleted))
        return len(deleted)


def _letters(which: sa.ColumnElement[bool]) -> _Old:
    key = (dead_letter.c.topic, dead_letter.c.partition, dead_letter.c.offset)
    rows = sa.select(*key).where(which)

    def delete(connection: sa.Connection) -> int:
        letters = [tuple(row) for row in connection.execute(_some(rows))]
        connection.execute(sa.delete(dead_letter).where(sa.tuple_(*key).in_(letters)))
        return len(letters)

    return rows, delete


def _ids(connection: sa.Connection, *, before: float = math.inf, arms: bool = True) -> Sequence[int]:
    """
    IDs of the versions that may be pruned and were first used *before* that time, Unix seconds.

    Leaves out the arms of rollouts under way unless *arms*.
    """
    version = model_version.c
    is_arm = sa.exists().where(
        rollout.c.service == version.service,
        rollout.c.environment == version.environment,
        version.model_version.in_((rollout.c.baseline, rollout.c.candidate)),
        rollout.c.ended_at.is_(None),
    )
    may_go = sa.select(version.id).where(version.environment.not_in(TEACHING_ENVIRONMENTS))
    may_go = may_go.where(version.first_started_at < before)
    return connection.scalars((may_go if arms else may_go.where(~is_arm)).order_by(version.id)).all()


def _old_cells(version_ids: Sequence[int], before: float) -> _Old:
    """Cells of old hours that have no rows of requests any more; deleted one day at a time, the oldest first."""

    def is_old(cells: sa.FromClause) -> Sequence[sa.ColumnElement[bool]]:
        begins = cells.c.hour * HOUR_SECONDS
        has_rows = sa.exists().where(
            request.c.model_version_id == cells.c.model_version_id,
            request.c.started_at >= begins,
            request.c.started_at < begins + HOUR_SECONDS,
        )
        return cells.c.model_version_id.in_(version_ids), cells.c.hour < int(before // HOUR_SECONDS), ~has_rows

    all_cells = stratum.alias()
    oldest = sa.select(sa.func.min(all_cells.c.hour)).where(*is_old(all_cells)).scalar_subquery()
    delete = sa.delete(stratum).where(*is_old(stratum), stratum.c.hour < oldest + 24)
    return sa.select(stratum.c.hour).where(*is_old(stratum)), lambda connection: connection.execute(delete).rowcount


def _set_pruned_before(connection: sa.Connection, version_id: int, until: float) -> None:
    """Record that rows of requests that started until then (Unix seconds) were deleted."""
    columns = model_version.c
    earlier = sa.or_(columns.pruned_before.is_(None), columns.pruned_before < until)
    connection.execute(sa.update(model_version).where(columns.id == version_id, earlier).values(pruned_before=until))


def _unused_versions(version_ids: Sequence[int], before: float) -> _Old:
    """Versions without a request since *before* and without rows; deletes their counters, cells and names."""
    version, of_version = model_version.c, ("service", "environment", "model_version")
    has_rows = sa.exists().where(request.c.model_version_id == version.id)
    is_unused = sa.and_(version.requests > 0, version.last_started_at < before, ~has_rows)
    rows = sa.select(version.id, *version[of_version]).where(version.id.in_(version_ids), is_unused)

    def expire(connection: sa.Connection) -> int:
        ids = {row.id: tuple(row[1:]) for row in connection.execute(_some(rows))}
        _free(connection, [" ".join(key) for key in ids.values()])
        connection.execute(sa.delete(counter).where(sa.tuple_(*counter.c[of_version]).in_(ids.values())))
        for table in (stratum, schema.traffic, pruned):
            connection.execute(sa.delete(table).where(table.c.model_version_id.in_(ids)))
        # Reset the row instead of deleting it, because other replicas have cached its ID.
        reset = {"requests": 0, "labelled": 0, "first_started_at": version.last_started_at, "pruned_before": None}
        connection.execute(sa.update(model_version).where(version.id.in_(ids)).values(reset))
        return len(ids)

    return rows, expire


def _used(connection: sa.Connection, version_ids: Collection[int] | None = None) -> Mapping[str, float]:
    """Names of versions with the time of their last use, Unix seconds."""
    is_asked = sa.true() if version_ids is None else model_version.c.id.in_(version_ids)
    names = sa.select(*model_version.c["service", "environment", "model_version", "last_started_at"]).where(is_asked)
    rows = connection.execute(names)
    return dict(readable("model_version", rows, lambda row: (" ".join(row[:3]), real(row.last_started_at))))


def _free(connection: sa.Connection, versions: Sequence[str]) -> None:
    """Delete the label values of *versions*, and those that belong to them, such as capabilities."""
    name = schema.label_value.c
    is_theirs = name.scope.in_(versions) | (name.scope + " " + name.value).in_(versions)
    connection.execute(sa.delete(schema.label_value).where(is_theirs))


def _some(rows: sa.Select[Any]) -> sa.Select[Any]:
    return rows.limit(_ROWS_PER_TRANSACTION).with_for_update(skip_locked=True)
