"""The ledger on SQLite or PostgreSQL, through SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.errors import LedgerUnavailable
from monitor.ingest.source import TopicPartition
from monitor.ledger import calibrations, rollouts
from monitor.ledger.activity import ActivityReader
from monitor.ledger.audit import Check, checks
from monitor.ledger.cases import select_cases
from monitor.ledger.cohorts import ArmReader, retag, some_tagged_otherwise, tagged_otherwise
from monitor.ledger.counters import select_counters
from monitor.ledger.dialect import DIALECTS, RaceLost
from monitor.ledger.engine import ledger_errors, migrate, open_engine, reading
from monitor.ledger.evidence import select_evidence
from monitor.ledger.history import (
    count_labels,
    select_asked,
    select_history,
    select_probe_results,
    versions_but,
    versions_named,
)
from monitor.ledger.leases import leases_of
from monitor.ledger.ledger import (
    Asked,
    Batch,
    CalibrationRecord,
    CounterKey,
    Lease,
    PendingSpans,
    ProbeResult,
    Pruned,
    PruneSubject,
    Recorded,
    RolloutRecord,
)
from monitor.ledger.pending_spans import PendingSpanRows, count_spans
from monitor.ledger.recording import Recorder
from monitor.ledger.retention import Pruner, cutoffs
from monitor.ledger.schema import kafka_offset, served_model
from monitor.ledger.settings import LedgerSettings
from monitor.rollout.cases import Cases
from monitor.rollout.cohort import Cohort
from monitor.rollout.evidence import Evidence
from monitor.rollout.policy import Floor
from monitor.rollout.tier_view import LEARNT, TierView
from monitor.rollout.tracker import EvidenceWindow, Rollout, VersionActivity, since_start
from monitor.rollout.verdict import Verdict
from monitor.trace.model import TraceId
from monitor.trace.served import Served
from monitor.trace.settings import AssemblySettings, OutcomeSettings

_P = ParamSpec("_P")
_R = TypeVar("_R")

_RACES_PER_BATCH = 10  # each lost race shows rows that the next try joins, so even two are rare


class SqlLedger:
    """
    The truth: SQL behind one method per transaction.

    Every method raises `LedgerUnavailable` when the database cannot answer now.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        settings: Caps on label values.
        outcomes: Which of several verdicts on a trace counts.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: it was written by a newer version.
    """

    def __init__(
        self, url: str, settings: LedgerSettings | None = None, *, outcomes: OutcomeSettings | None = None
    ) -> None:
        self._engine = open_engine(url)
        try:
            migrate(self._engine)
        except BaseException:
            self._engine.dispose()  # the caller gets no ledger to close
            raise
        self._dialect = DIALECTS[self._engine.dialect.name]
        self._insert = self._dialect.insert
        self._settings = settings or LedgerSettings()
        self._leases = leases_of(self._engine)
        self._activity = ActivityReader()
        self._pending = PendingSpanRows(self._dialect)
        self._pruner = Pruner(self._dialect, self._settings.sample_per_version)
        self._recorder = Recorder(self._dialect, self._settings, outcomes or OutcomeSettings())

    # What a batch of records does, and where reading goes on.

    def offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Next offset of each partition that the ledger has seen."""
        topics = {partition.topic for partition in partitions}
        with self._reading() as connection:
            rows = connection.execute(sa.select(kafka_offset).where(kafka_offset.c.topic.in_(topics))).all()
        known = {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}
        return {partition: known[partition] for partition in partitions if partition in known}

    def record(self, batch: Batch) -> Recorded:
        """
        Write *batch* in one transaction.

        Raises:
            OffsetFenced: another owner moved one of the offsets; nothing was written.
        """
        for _ in range(_RACES_PER_BATCH):
            try:
                with self._writing() as connection:
                    return self._recorder.record(connection, batch)
            except RaceLost:
                self._recorder.forget()
            except BaseException:
                self._recorder.forget()
                raise
        raise LedgerUnavailable(f"Other replicas wrote the same traces first, {_RACES_PER_BATCH} times in a row.")

    # Spans that wait for their trace to be complete.

    def due_spans(self, settings: AssemblySettings, *, now: float, max_spans: int) -> Sequence[PendingSpans]:
        """
        Pending spans of traces that are complete at *now* (Unix seconds) or over their time, the oldest first.

        Of so many traces as have *max_spans* together, or of one that has more; none only where none is due.
        """
        return self._read(self._pending.due, settings, now=now, max_spans=max_spans)

    def spans_of(self, trace_ids: Collection[TraceId]) -> Sequence[PendingSpans]:
        """Pending spans of these traces, complete or not; traces without any are left out."""
        return self._read(self._pending.of, sorted(trace_ids))

    def pending_spans(self) -> int:
        """How many spans are pending: their trace is not complete yet."""
        return self._read(count_spans)

    # What was counted.

    def counters(self) -> Mapping[CounterKey, int]:
        """Every counter as committed."""
        return self._read(select_counters)

    def activity(self) -> Sequence[VersionActivity]:
        """What the ledger knows of each model version of each service and environment, oldest first."""
        return self._read(self._activity.read)

    # What teaches difficulty.

    def history(self, *, exclude: Collection[str] = (), limit: int | None = None) -> Iterator[LabelledRequest]:
        """
        Labelled requests that may teach difficulty: versions in order of first appearance, each in trace order.

        Args:
            exclude: Model versions under comparison, left out in every service and environment.
            limit: At most so many requests of each version, the latest; None for all.
        """
        with self._reading() as connection:
            versions = versions_but(connection, exclude)
        for version_id, name in versions:
            with self._reading() as connection:
                yield from select_history(connection, version_id, name, limit=limit)

    def labels_of(self, model_version_name: str, *, matured_before: float, limit: int) -> Sequence[LabelledRequest]:
        """
        The latest labelled requests of a model version in all services and environments, in trace order.

        Args:
            model_version_name: Any version, one under comparison too.
            matured_before: Only requests that started before, Unix seconds: labels of younger ones are no fair sample.
            limit: At most so many.
        """
        with self._reading() as connection:
            labels = [
                label
                for version_id in versions_named(connection, model_version_name)
                for label in select_history(
                    connection, version_id, model_version_name, limit=limit, matured_before=matured_before
                )
            ]
        return sorted(labels, key=lambda label: label.started_at)[-limit:]

    def history_labels(self, *, exclude: Collection[str] = ()) -> int:
        """How many labelled requests `history` would give."""
        return self._read(count_labels, exclude=exclude)

    def asked(self) -> Iterator[Asked]:
        """Every request that names itself, by capability and name."""
        with self._reading() as connection:
            yield from select_asked(connection)

    def probe_results(self) -> Iterator[ProbeResult]:
        """How versions did on what `reference` and `probes` environments asked: by probe, earliest version first."""
        with self._reading() as connection:
            yield from select_probe_results(connection)

    def calibrations(self) -> Sequence[CalibrationRecord]:
        """
        Every calibration: those never in force first, then in the order in which they came into force.

        The last one is in force, where it was promoted at all.
        """
        return self._read(calibrations.select_calibrations)

    def calibration(self, calibration_id: str) -> Calibration | None:
        """
        The calibration of that id, or None.

        Raises:
            CalibrationInvalid: what is stored cannot be trusted.
        """
        with self._reading() as connection:
            body = calibrations.select_calibration(connection, calibration_id)
        return None if body is None else Calibration.from_json(body)

    def keep(self, calibration: Calibration, *, history_labels: int) -> None:
        """Keep *calibration* without putting it in force; one that is there already is left as it is."""
        self._write(calibrations.keep, self._insert, calibration, history_labels=history_labels)

    def promote(self, calibration: Calibration, *, at: float, history_labels: int) -> None:
        """
        Keep *calibration* and put it in force.

        From *at* (Unix seconds), or right after the last one where that came into force later: a replay lives in the
        past of the service that it shares a ledger with.
        """
        self._write(calibrations.promote, self._insert, calibration, at=at, history_labels=history_labels)

    def retag(self, rollout: Rollout, calibration: Calibration) -> int:
        """Tag anew the requests of both arms that another calibration tagged; how many there were."""
        tagged = 0
        for version_id, since in self._read(tagged_otherwise, rollout, calibration):
            last = (since, "")
            while some := self._read(some_tagged_otherwise, version_id, calibration, after=last):
                self._write(retag, self._dialect, [trace_id for _, trace_id in some], calibration)
                tagged, last = tagged + len(some), some[-1]
        return tagged

    def served_models(self) -> Sequence[Served]:
        """Every version that a service was served under the name of a model."""
        with self._reading() as connection:
            return [Served(*row) for row in connection.execute(sa.select(served_model))]

    # What rollouts are judged by, and what was said of them.

    def cohort(
        self, rollout: Rollout, *, matured_before: float, window: EvidenceWindow | None = None, view: TierView = LEARNT
    ) -> Cohort:
        """
        Both arms of *rollout*, by stratum.

        Read from cells, and from rows only for hours of which a part belongs to the evidence.

        Args:
            rollout: Whose arms they are.
            matured_before: Only requests that started before, Unix seconds.
            window: From when on requests count; None for all since the rollout began.
            view: What gives them their tier.
        """
        with self.arms(rollout, matured_before=matured_before) as arms:
            return arms.cohort(window or since_start(rollout), view)[0]

    @contextmanager
    def arms(self, rollout: Rollout, *, matured_before: float) -> Iterator[ArmReader]:
        """What reads both arms of *rollout* in any view, of requests that started before (Unix seconds)."""
        with self._reading() as connection:
            yield ArmReader(connection, rollout, matured_before=matured_before)

    def cases(self, rollout: Rollout, *, limit: int) -> Cases:
        """What established versions passed and the candidate of *rollout* fails in the hard tier, *limit* at most."""
        return self._read(select_cases, rollout, limit=limit)

    def rollouts(self) -> Sequence[RolloutRecord]:
        """Every rollout, oldest first, with its latest verdict."""
        return self._read(rollouts.select_rollouts)

    def see_floors(self, floors: Sequence[Floor], *, at: float) -> None:
        """Keep the floors of the config with the time (Unix seconds) from which on they were seen, if they changed."""
        self._write(rollouts.see_floors, floors, at=at)

    def start_rollout(self, rollout: Rollout) -> None:
        """Keep a new rollout; one that is there already is left as it is."""
        self._write(rollouts.insert_rollout, self._insert, rollout)

    def announce_rollout(self, rollout: Rollout) -> bool:
        """Keep a rollout whose names no request bore yet; False, and nothing kept, where a name is over its cap."""
        try:
            with self._writing() as connection:
                rollouts.admit_names(connection, self._insert, rollout, self._settings)
                rollouts.insert_rollout(connection, self._insert, rollout)
        except rollouts.NamesOverCap:
            return False
        return True

    def end_rollout(self, rollout_id: str, *, ended_at: float, reason: str) -> None:
        """Mark a rollout as ended."""
        with self._writing() as connection:
            rollouts.update_rollout(connection, rollout_id, ended_at=ended_at, end_reason=reason)

    def read_rollout_under(self, rollout_id: str, calibration_id: str) -> None:
        """From now on, read both arms of a rollout under another calibration (its own could not be trusted)."""
        with self._writing() as connection:
            rollouts.update_rollout(connection, rollout_id, calibration_id=calibration_id)

    def save_verdict(self, rollout_id: str, verdict: Verdict, *, at: float) -> None:
        """
        Keep the latest verdict of a rollout, and its change with the time when the state differs from the last.

        What it rests on is kept as `evidence` as well.
        """
        self._write(rollouts.save_verdict, rollout_id, verdict, at=at)

    def evidence(self, rollout_id: str) -> Sequence[Evidence]:
        """
        What was found at the looks at a rollout, oldest first.

        The first, the latest, and so many between them, evenly spread over time, as `MOST_EVIDENCE` allows.
        """
        return self._read(select_evidence, rollout_id)

    def hold_lease(self, lease: Lease, *, wait_seconds: float = 0.0) -> AbstractContextManager[bool]:
        """Whether *lease* could be had within *wait_seconds*; it is held until the context ends."""
        return self._leases.hold(lease, wait_seconds=wait_seconds)

    def checks(self) -> Sequence[Check]:
        """Whether what was counted is what the rows say, all at one moment."""
        with ledger_errors(), self._engine.connect() as plain:
            connection = plain.execution_options(cliffwatch_read_only=True, **self._dialect.one_state)
            with connection.begin():
                return list(checks(connection, self._dialect))

    # Retention.

    def prune(self, *, now: float) -> Iterator[Pruned]:
        """
        Delete what the settings keep no longer at *now* (Unix seconds), one transaction for each that is yielded.

        A caller that stops iterating stops the deleting; the next call goes on.
        """
        for subject, before in cutoffs(self._settings, now=now).items():
            for old in self._read(self._pruner.old, subject, before):
                yield from self._deleting(subject, old.delete)

    def due_to_prune(self, *, now: float) -> Sequence[Pruned]:
        """What `prune` would delete at *now* (Unix seconds)."""
        until = cutoffs(self._settings, now=now)
        with self._reading() as connection:
            old = {each: self._pruner.old(connection, each, before) for each, before in until.items()}
            return [
                Pruned(subject, sum(rows.count(connection) for rows in old.get(subject, ())))
                for subject in PruneSubject
            ]

    def _deleting(self, subject: PruneSubject, delete: Callable[[sa.Connection], int]) -> Iterator[Pruned]:
        rows = 1
        while rows:
            with self._writing() as connection:
                rows = delete(connection)
            if rows:
                yield Pruned(subject, rows)

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with ledger_errors(), self._engine.begin() as connection:
            self._leases.verify(connection)
            yield connection

    def _read(self, query: Callable[Concatenate[sa.Connection, _P], _R], *args: _P.args, **options: _P.kwargs) -> _R:
        with self._reading() as connection:
            return query(connection, *args, **options)

    def _write(
        self, change: Callable[Concatenate[sa.Connection, _P], None], *args: _P.args, **options: _P.kwargs
    ) -> None:
        with self._writing() as connection:
            change(connection, *args, **options)

    def _reading(self) -> AbstractContextManager[sa.Connection]:
        return reading(self._engine)
