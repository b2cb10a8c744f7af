"""The ledger on SQLite or PostgreSQL, through SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import sqlalchemy as sa

from monitor.errors import LedgerUnavailable
from monitor.ingest.source import TopicPartition
from monitor.labels.delay import LabelDelay, label_delays
from monitor.ledger.activity import ActivityReader, timed_labels
from monitor.ledger.audit import Check, checks
from monitor.ledger.calibrations import CalibrationStore
from monitor.ledger.cases import select_cases
from monitor.ledger.cohorts import ArmReader, versions_of
from monitor.ledger.dialect import RaceLost
from monitor.ledger.history import HistoryReader
from monitor.ledger.ledger import Batch, CounterKey, Lease, PendingSpans, Recorded
from monitor.ledger.pending_spans import PendingSpanRows, count_spans
from monitor.ledger.recording import Recorder, next_offsets, select_counters
from monitor.ledger.retention import Retention
from monitor.ledger.rollouts import RolloutStore
from monitor.ledger.schema import served_model
from monitor.ledger.settings import LedgerSettings
from monitor.rollout.cases import Cases
from monitor.rollout.cohort import LEARNT, Cohort
from monitor.rollout.tracker import EvidenceWindow, Rollout, VersionActivity
from monitor.trace.model import TraceId
from monitor.trace.served import Served
from monitor.trace.settings import AssemblySettings, OutcomeSettings

_RACES_PER_BATCH = 10  # the next try sees the rows that won the race, so even two lost races are rare


class SqlLedger(CalibrationStore, HistoryReader, Retention, RolloutStore):
    """
    The single source of truth: an SQL database, with one method per transaction.

    Every method raises `LedgerUnavailable` if the database does not answer.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        settings: Caps on label values, and retention.
        outcomes: Which of several outcomes of a trace counts.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: a newer version of Cliffwatch wrote it, or an unreleased one.
    """

    def __init__(
        self, url: str, settings: LedgerSettings | None = None, *, outcomes: OutcomeSettings | None = None
    ) -> None:
        super().__init__(url, settings or LedgerSettings())
        self._activity = ActivityReader()
        self._pending = PendingSpanRows(self._dialect)
        self._recorder = Recorder(self._dialect, self._settings, outcomes or OutcomeSettings(), self._cells)

    # Batches and offsets.

    def offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Next offset of each of *partitions* that the ledger has an offset of."""
        with self._reading() as connection:
            stored = next_offsets(connection)
        return {partition: stored[partition] for partition in partitions if partition in stored}

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

    # Pending spans.

    def due_spans(self, settings: AssemblySettings, *, now: float, max_spans: int) -> Sequence[PendingSpans]:
        """
        Pending spans of traces that are complete or overdue at *now* (Unix seconds), the oldest first.

        Returns as many traces as have *max_spans* spans together, but always at least one if any is due.
        """
        with self._reading_one_state() as connection:
            return self._pending.due(connection, settings, now=now, max_spans=max_spans)

    def crowding_spans(self, settings: AssemblySettings, *, max_spans: int) -> Sequence[PendingSpans]:
        """If more than `max_pending_spans` are pending, traces of the service with the most, as in `due_spans`."""
        with self._reading_one_state() as connection:
            return self._pending.crowding(connection, settings, max_spans=max_spans)

    def spans_of(self, trace_ids: Collection[TraceId]) -> Sequence[PendingSpans]:
        """Pending spans of these traces, complete or not; traces without any are left out."""
        with self._reading_one_state() as connection:
            return self._pending.of(connection, sorted(trace_ids))

    def pending_spans(self) -> int:
        """Number of spans whose trace is not complete yet."""
        with self._reading() as connection:
            return count_spans(connection)

    # Totals and traffic.

    def counters(self) -> Mapping[CounterKey, int]:
        """Every counter that is not 0, as committed."""
        with self._reading() as connection:
            return select_counters(connection)

    def activity(self) -> Sequence[VersionActivity]:
        """Traffic of each model version of each service and environment, oldest version first."""
        with self._reading() as connection:
            return self._activity.read(connection)

    def label_delays(self, service: str, environment: str, *, now: float) -> Sequence[LabelDelay]:
        """Delay of labels by source and outcome, over the last weeks before *now* (Unix seconds)."""
        with self._reading() as connection:
            return label_delays(timed_labels(connection, service, environment, now=now))

    def served_models(self) -> Sequence[Served]:
        """Every model version that answered a service's requests for a model name."""
        with self._reading() as connection:
            return [Served(*row) for row in connection.execute(sa.select(served_model))]

    # Evidence on rollouts.

    def cohort(self, rollout: Rollout, *, matured_before: float, window: EvidenceWindow | None = None) -> Cohort:
        """
        Both arms of *rollout*, by stratum and learnt tier.

        Reads hourly cells, and rows only for hours that the window covers in part.

        Args:
            rollout: The rollout to read.
            matured_before: Reads only requests that started before this, Unix seconds.
            window: When the evidence begins; by default with the rollout.
        """
        with self.arms(rollout, matured_before=matured_before) as arms:
            return arms.cohort(window or EvidenceWindow(rollout.started_at, 0.0), LEARNT)[0]

    @contextmanager
    def arms(self, rollout: Rollout, *, matured_before: float) -> Iterator[ArmReader]:
        """A reader of both arms of *rollout*, for requests that started before *matured_before* (Unix seconds)."""
        with self._reading() as connection:
            yield ArmReader(connection, self._cells, rollout, matured_before=matured_before)

    def has_served(self, rollout: Rollout) -> bool:
        """Whether the ledger has a request of either arm of *rollout*."""
        with self._reading() as connection:
            return bool(versions_of(connection, rollout))

    def cases(self, rollout: Rollout, *, limit: int, capability: str = "") -> Cases:
        """Requests that established versions passed and the candidate fails, of one capability or of all."""
        with self._reading() as connection:
            return select_cases(connection, rollout, limit=limit, capability=capability)

    def hold_lease(self, lease: Lease, *, wait_seconds: float = 0.0) -> AbstractContextManager[bool]:
        """Try to acquire *lease* within *wait_seconds*; the context's value says whether it is held."""
        return self._leases.hold(lease, wait_seconds=wait_seconds)

    def checks(self) -> Sequence[Check]:
        """Compare counters with rows, in one snapshot."""
        with self._reading_one_state() as connection:
            return list(checks(connection, self._dialect))
