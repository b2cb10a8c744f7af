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
from monitor.ledger.cohorts import ArmReader, arm_ids
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

_RACES_PER_BATCH = 10  # each lost race shows rows that the next try joins, so even two are rare


class SqlLedger(CalibrationStore, HistoryReader, Retention, RolloutStore):
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
        LedgerInvalid: it was written by a newer version, or by one in development.
    """

    def __init__(
        self, url: str, settings: LedgerSettings | None = None, *, outcomes: OutcomeSettings | None = None
    ) -> None:
        super().__init__(url, settings or LedgerSettings())
        self._activity = ActivityReader()
        self._pending = PendingSpanRows(self._dialect)
        self._recorder = Recorder(self._dialect, self._settings, outcomes or OutcomeSettings(), self._cells)

    # What a batch of records does, and where reading goes on.

    def offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Next offset of each partition that the ledger has seen."""
        with self._reading() as connection:
            known = next_offsets(connection)
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
        with self._reading_one_state() as connection:
            return self._pending.due(connection, settings, now=now, max_spans=max_spans)

    def crowding_spans(self, settings: AssemblySettings, *, max_spans: int) -> Sequence[PendingSpans]:
        """As `due_spans`, of the service that holds most, while more than `max_pending_spans` are pending."""
        with self._reading_one_state() as connection:
            return self._pending.crowding(connection, settings, max_spans=max_spans)

    def spans_of(self, trace_ids: Collection[TraceId]) -> Sequence[PendingSpans]:
        """Pending spans of these traces, complete or not; traces without any are left out."""
        with self._reading_one_state() as connection:
            return self._pending.of(connection, sorted(trace_ids))

    def pending_spans(self) -> int:
        """How many spans are pending: their trace is not complete yet."""
        with self._reading() as connection:
            return count_spans(connection)

    # What was counted.

    def counters(self) -> Mapping[CounterKey, int]:
        """Every counter as committed."""
        with self._reading() as connection:
            return select_counters(connection)

    def activity(self) -> Sequence[VersionActivity]:
        """What the ledger knows of each model version of each service and environment, oldest first."""
        with self._reading() as connection:
            return self._activity.read(connection)

    def label_delays(self, service: str, environment: str, *, now: float) -> Sequence[LabelDelay]:
        """When the labels of each source and outcome have come, by those of the last weeks; Unix seconds *now*."""
        with self._reading() as connection:
            return label_delays(timed_labels(connection, service, environment, now=now))

    def served_models(self) -> Sequence[Served]:
        """Every version that a service was served under the name of a model."""
        with self._reading() as connection:
            return [Served(*row) for row in connection.execute(sa.select(served_model))]

    # What rollouts are judged by.

    def cohort(self, rollout: Rollout, *, matured_before: float, window: EvidenceWindow | None = None) -> Cohort:
        """
        Both arms of *rollout*, by stratum and learnt tier.

        Read from cells, and from rows only for hours of which a part belongs to the evidence.

        Args:
            rollout: Whose arms they are.
            matured_before: Only requests that started before, Unix seconds.
            window: From when on requests count; None for all since the rollout began.
        """
        with self.arms(rollout, matured_before=matured_before) as arms:
            return arms.cohort(window or EvidenceWindow(rollout.started_at, 0.0), LEARNT)[0]

    @contextmanager
    def arms(self, rollout: Rollout, *, matured_before: float) -> Iterator[ArmReader]:
        """What reads both arms of *rollout* in any view, of requests that started before (Unix seconds)."""
        with self._reading() as connection:
            yield ArmReader(connection, self._cells, rollout, matured_before=matured_before)

    def has_served(self, rollout: Rollout) -> bool:
        """Whether any request of either arm of *rollout* ever came."""
        with self._reading() as connection:
            return bool(arm_ids(connection, rollout))

    def cases(self, rollout: Rollout, *, limit: int, capability: str = "") -> Cases:
        """Requests, of one class or of all, that established versions passed and the candidate of *rollout* fails."""
        with self._reading() as connection:
            return select_cases(connection, rollout, limit=limit, capability=capability)

    def hold_lease(self, lease: Lease, *, wait_seconds: float = 0.0) -> AbstractContextManager[bool]:
        """Whether *lease* could be had within *wait_seconds*; it is held until the context ends."""
        return self._leases.hold(lease, wait_seconds=wait_seconds)

    def checks(self) -> Sequence[Check]:
        """Whether what was counted is what the rows say, all at one moment."""
        with self._reading_one_state() as connection:
            return list(checks(connection, self._dialect))
