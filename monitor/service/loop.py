"""The live loop: poll, decode, write, assemble, publish. Reviews and snapshots run as jobs beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from monitor.errors import BrokersUnreachable, DependencyUnreachable, OffsetFenced
from monitor.ingest.source import Poll, Record, TopicPartition
from monitor.ledger.ledger import Batch, PendingSpans
from monitor.ledger.settings import LedgerSettings
from monitor.service.batch_writer import BatchWriter
from monitor.service.jobs import InTurn, Job, OnThreads
from monitor.service.pipeline import DecodedRecord, DecodeRules, assemble, decode_records
from monitor.service.publisher import Publisher
from monitor.service.settings import ServiceSettings
from monitor.service.stages import Stages
from monitor.service.watchdog import Watchdog
from monitor.trace.model import TraceId
from monitor.trace.served import ServedModels
from monitor.trace.settings import AssemblySettings

_log = structlog.get_logger()

_PAUSE_LOG_SECONDS = 60.0
_SPANS_PER_ASSEMBLY = 5_000
_MAKING_ROOM_SECONDS = 30.0  # per turn, so that polls stay within the default max.poll.interval.ms of 300 s


@dataclass(frozen=True, slots=True)
class Turn:
    """
    One turn of the loop.

    Attributes:
        records: The polled records, decoded.
        assembled: Traces whose pending spans were assembled.
        at_end: Whether the source is exhausted.
    """

    records: Sequence[DecodedRecord]
    assembled: Collection[TraceId]
    at_end: bool


class Service:
    """
    The loop.

    Args:
        stages: Source, dead letters, ledger, reviewer, clock and published snapshot.
        rules: How records are decoded.
        settings: Intervals and retries.
        caps: Most versions and services that the ledger counts separately.
        in_background: Whether reviews and snapshots run on threads of their own, so that reading never waits for them.
            Otherwise they run between two batches, so that the same records always give the same result.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        rules: DecodeRules,
        settings: ServiceSettings,
        caps: LedgerSettings | None = None,
        in_background: bool = False,
    ) -> None:
        self.stages = stages
        self.rules = rules
        self._settings = settings
        self._publisher = Publisher(stages)
        self._writer = BatchWriter(stages, self._publisher, rules, caps or LedgerSettings())
        jobs = [
            Job("review", self.review, settings.review_interval_seconds, settings.review_rest_ratio),
            Job("snapshot", self._publisher.publish, settings.snapshot_interval_seconds, 1.0),
        ]
        clock, note = stages.clock, self._publisher.report_job
        self._jobs = OnThreads(jobs, clock, note=note) if in_background else InTurn(jobs, clock)
        self._watchdog = Watchdog(
            clock, unhealthy_seconds=settings.stall_unhealthy_seconds, exit_seconds=settings.stall_exit_seconds
        )
        self._assembled_at = self._pause_logged_at = float("-inf")

    def run(self, *, is_stopping: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """
        Run turns until *is_stopping*; in an outage, pause and retry without losing a record.

        Args:
            is_stopping: Called before every poll.
            wait: Sleeps for the given seconds; returns early when the service is stopping.
        """
        delay = self._settings.retry_seconds
        self._jobs.start()
        self._watchdog.start()
        try:
            while not is_stopping():
                self._watchdog.turned()
                try:
                    self.run_once()
                except DependencyUnreachable as outage:
                    self._pause(outage, delay)
                    wait(delay)
                    delay = min(2 * delay, self._settings.max_retry_seconds)
                else:
                    delay = self._settings.retry_seconds
        finally:
            self.begin_shutdown()
            self._watchdog.stop()
            self._jobs.stop()

    def _pause(self, outage: DependencyUnreachable, retry_seconds: float) -> None:
        now, problem, status = self.stages.clock.monotonic(), str(outage), self._publisher.status
        if problem != status.problem or now - self._pause_logged_at >= _PAUSE_LOG_SECONDS:
            self._pause_logged_at = now
            _log.warning("service.paused", problem=problem, retry_seconds=retry_seconds)
        kafka_problem = problem if isinstance(outage, BrokersUnreachable) else ""
        self._report(problem=problem, kafka_problem=kafka_problem, pauses=status.pauses + 1)

    def run_once(self) -> Turn:
        """
        One turn: poll, decode, tag and record, assemble complete traces, run due jobs.

        Raises:
            DependencyUnreachable: a broker or the database cannot be reached; the polled records will be read again.
        """
        poll = self.stages.source.poll(self._settings.poll_timeout_seconds)
        records = decode_records(self._owned(poll), self.rules)
        self._write(records, poll.next_offsets)
        assembled = self._assemble_if_due()
        self._report(problem="", kafka_problem="", turned_at=self.stages.clock.time())
        self._jobs.turn()
        return Turn(records, assembled, poll.at_end)

    def begin(self) -> None:
        """Publish the totals in the ledger before the first turn, so that no scrape sees the counters at zero."""
        self.stages.reviewer.load()
        self._publisher.publish()

    def begin_shutdown(self) -> None:
        """Report this replica as not ready from now on; may be called from any thread."""
        self._publisher.report(is_stopping=True)

    def stall_reason(self) -> str:
        """One sentence if the loop hangs, else empty; may be called from any thread."""
        return self._watchdog.problem()

    def review(self) -> None:
        """Find rollouts, judge them, and calibrate if due."""
        self.stages.reviewer.review(now=self.stages.clock.time())

    def publish(self) -> None:
        """Publish the present state of the ledger."""
        self._report(turned_at=self.stages.clock.time())
        self._publisher.publish()

    def assemble_due(self, *, now: float) -> Collection[TraceId]:
        """Assemble one chunk of the traces that are complete at *now* (Unix seconds); empty if none is left."""
        settings, ledger = self.rules.traces.assembly, self.stages.ledger
        early = self._make_room(settings, now=now)
        return [*early, *self.assemble(ledger.due_spans(settings, now=now, max_spans=_SPANS_PER_ASSEMBLY), now=now)]

    def _make_room(self, settings: AssemblySettings, *, now: float) -> Collection[TraceId]:
        """While too many spans are pending, assemble traces early, from the service that has the most pending."""
        stages, assembled = self.stages, list[TraceId]()
        deadline = stages.clock.monotonic() + _MAKING_ROOM_SECONDS
        is_crowded = stages.snapshots.current.pending_spans > settings.max_pending_spans
        while is_crowded and (crowding := stages.ledger.crowding_spans(settings, max_spans=_SPANS_PER_ASSEMBLY)):
            early = self.assemble(crowding, now=math.inf, is_last_chance=True)
            stages.ledger.record(Batch(received_at=now, early_spans=sum(len(pending.spans) for pending in crowding)))
            assembled += early
            is_crowded = len(early) > 0 and stages.clock.monotonic() < deadline
        return assembled

    def assemble(
        self, pending: Sequence[PendingSpans], *, now: float, is_last_chance: bool = False
    ) -> Collection[TraceId]:
        """
        Build agent runs from *pending* and record them, or postpone their traces (see `pipeline.assemble`).

        Returns:
            The traces that this call recorded.
        """
        if not pending:
            return ()
        served = ServedModels(self.stages.ledger.served_models(), self.rules.traces.served_within_seconds)
        built, postponed = assemble(pending, served, self.rules, now=now, is_last_chance=is_last_chance)
        closed = self._writer.write_assembled(built, postponed)
        return [trace.pending.trace_id for trace in built] if closed else ()

    def _owned(self, poll: Poll) -> Sequence[Record]:
        """The records of *poll*, without those of partitions that a rebalance has revoked since."""
        assigned = self.stages.source.assignment()
        if poll.next_offsets.keys() <= assigned.keys():
            return poll.records
        return [record for record in poll.records if record.position.topic_partition in assigned]

    def _write(self, records: Sequence[DecodedRecord], next_offsets: Mapping[TopicPartition, int]) -> None:
        source = self.stages.source
        try:
            self._writer.write(records, next_offsets)
        except OffsetFenced as fenced:
            _log.warning("batch.fenced", problem=str(fenced), records=len(records))
            self._publisher.report(batches_fenced=self._publisher.status.batches_fenced + 1)
            source.rewind()
        except DependencyUnreachable:
            source.rewind()  # no offset was committed, so the records can be read again
            raise

    def _assemble_if_due(self) -> Collection[TraceId]:
        """Assemble one chunk per turn, however many traces are complete, so that the next poll is not late."""
        clock = self.stages.clock
        if clock.monotonic() - self._assembled_at < self._settings.assembly_interval_seconds:
            return ()
        assembled = self.assemble_due(now=clock.time())
        if not assembled:
            self._assembled_at = clock.monotonic()
        return assembled

    def _report(self, **changes: Any) -> None:
        source = self.stages.source
        self._publisher.report(lag=dict(sorted(source.lag().items())), blocked=source.blocked(), **changes)
