"""The running service: one loop that polls, decodes, tags, records and, between batches, reviews and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import structlog

from monitor.clock import Clock
from monitor.difficulty.calibration import Calibration
from monitor.errors import DependencyUnreachable, OffsetFenced
from monitor.ingest.dead_letter import DeadLetterWriter, Rejection
from monitor.ingest.source import Poll, Source
from monitor.ledger.ledger import Assembled, Batch, Ledger, OffsetMove, Recorded, WaitingSpans
from monitor.metrics.snapshot import (
    CalibrationStatus,
    HealthFact,
    ModelVersionStatus,
    PartitionLag,
    Snapshot,
    SnapshotHolder,
)
from monitor.pipeline import DecodedBatch, Rules, assemble_due, decode_records, tag_events, tag_trace
from monitor.review import Reviewer
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import is_floating_alias, version_roles
from monitor.service_settings import ServiceSettings
from monitor.trace.model import REFERENCE_ENVIRONMENT, Trace, TraceId
from monitor.trace.span import Span

_log = structlog.get_logger()

_SPANS_PER_ASSEMBLY = 5_000
_TRACES_PER_ASSEMBLY = 500


@dataclass(frozen=True, slots=True)
class Stages:
    """The parts that the service puts in order."""

    source: Source
    dead_letters: DeadLetterWriter
    ledger: Ledger
    review: Reviewer
    clock: Clock
    snapshots: SnapshotHolder


class Service:
    """
    The loop.

    Args:
        stages: Where records come from, where they go and who judges.
        rules: How records are read.
        policy: What the snapshot shows as the policy in force.
        settings: The rhythm.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        rules: Rules,
        policy: Policy,
        settings: ServiceSettings,
    ) -> None:
        self._stages = stages
        self._rules = rules
        self._policy = policy
        self._settings = settings
        self._calibration: Calibration | None = None
        self._seen: set[tuple[str, str, str]] | None = None
        self._assembled_at = float("-inf")
        self._reviewed_at = float("-inf")
        self._shown_at = float("-inf")
        self._last_commit_at: float | None = None
        self._outage = ""
        # With their starts; only while a source that ends is read.
        self._open_traces: dict[TraceId, float] | None = None

    def run(self, *, is_stopping: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """
        Poll and record until *is_stopping*; outages are waited out and nothing is lost.

        Args:
            is_stopping: Asked before every poll.
            wait: Sleeps for so many seconds, or less when the service is stopping.
        """
        delay = self._settings.retry_seconds
        while not is_stopping():
            try:
                self.run_once()
            except DependencyUnreachable as outage:
                _log.warning("service.paused", problem=str(outage), retry_seconds=delay)
                self._outage = str(outage)
                self._show_outage()
                wait(delay)
                delay = min(2 * delay, self._settings.max_retry_seconds)
            else:
                delay, self._outage = self._settings.retry_seconds, ""

    def drain(self, *, progress: Callable[[int], None]) -> None:
        """
        Poll and record until the source is exhausted, and put the traces together whose spans it held.

        Args:
            progress: Told how many records each turn read.
        """
        self._open_traces = {}
        at_end = False
        while not at_end:
            poll = self.run_once()
            progress(len(poll.records))
            at_end = poll.at_end
        self._close_open_traces()

    @property
    def ledger(self) -> Ledger:
        """Where everything is recorded."""
        return self._stages.ledger

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def follow(self, policy: Policy) -> None:
        """From the next review on, judge by *policy*."""
        self._policy = policy
        self._stages.review.follow(policy)

    def unready(self) -> None:
        """Say that this replica is going away, so that nobody is sent to it any more."""
        self._outage = "The service is stopping."
        self._show_outage()

    def run_once(self) -> Poll:
        """
        One turn: poll, record, review if due, show if due.

        Returns:
            What was polled.

        Raises:
            DependencyUnreachable: a broker or the database cannot be reached; what was polled will be read again.
        """
        poll = self._stages.source.poll(self._settings.poll_timeout_seconds)
        if poll.records:
            self._handle(poll)
        self._assemble_if_due()
        self._review_if_due()
        self._show_if_due()
        return poll

    def settle(self, *, seconds: float) -> None:
        """After a replay, let *seconds* of event time pass with no event, then review and show."""
        # What a replay before this one read and was not there to put together any more.
        self._assemble(now=self._stages.clock.time() + self._rules.traces.assembly.max_age_seconds + 1.0)
        self._stages.clock.observe(self._stages.clock.time() + seconds)
        self._review()
        self._show()

    def _handle(self, poll: Poll) -> None:
        try:
            self._record(poll)
        except OffsetFenced as fenced:
            _log.warning("batch.fenced", problem=str(fenced), records=len(poll.records))
            self._stages.source.rewind()
        except DependencyUnreachable:
            self._stages.source.rewind()  # the offsets have not moved, so everything is read again
            raise

    def _record(self, poll: Poll) -> None:
        stages = self._stages
        owned = stages.source.assignment()
        records = [record for record in poll.records if record.position.topic_partition in owned]
        batch = decode_records(records, self._rules)
        for moment in batch.event_times():
            stages.clock.observe(moment)
        self._meet(batch.traces)
        if batch.dead_letters:
            stages.dead_letters.write(
                [Rejection(record, letter.reason, letter.detail) for record, letter in batch.dead_letters]
            )
        next_offsets = {partition: offset for partition, offset in poll.next_offsets.items() if partition in owned}
        recorded = stages.ledger.record(
            Batch(
                events=tag_events(batch.events, self._calibration, self._rules),
                dead_letters=[letter for _, letter in batch.dead_letters],
                offsets=[OffsetMove(part, owned[part], offset) for part, offset in next_offsets.items()],
                records=batch.records,
                received_at=stages.clock.time(),
                ignored=batch.ignored,
            )
        )
        self._note_open_traces(batch)
        stages.source.committed(next_offsets)
        self._last_commit_at = stages.clock.time()
        _log_committed(batch, recorded)

    def _note_open_traces(self, batch: DecodedBatch) -> None:
        if self._open_traces is not None:
            for event in batch.events:
                if isinstance(event, Span):
                    started_at = self._open_traces.get(event.trace_id, event.started_at)
                    self._open_traces[event.trace_id] = min(started_at, event.started_at)

    def _assemble_if_due(self) -> None:
        if self._stages.clock.monotonic() - self._assembled_at >= self._settings.assembly_interval_seconds:
            self._assembled_at = self._stages.clock.monotonic()
            self._assemble(now=self._stages.clock.time())

    def _assemble(self, *, now: float) -> None:
        """Close the traces that are complete at *now*; those that another replica closes first are left to it."""
        settings = self._rules.traces.assembly
        while due := self._stages.ledger.due_spans(settings, now=now, max_spans=_SPANS_PER_ASSEMBLY):
            if not self._close(due):
                break

    def _close_open_traces(self) -> None:
        """Close what this run left open, and only that: another service on the ledger still waits for its own."""
        opened = self._open_traces or {}
        left = iter(sorted(opened, key=lambda trace_id: (opened[trace_id], trace_id)))
        while some := list(islice(left, _TRACES_PER_ASSEMBLY)):
            if due := self._stages.ledger.spans_of(some):
                self._close(due)
        self._open_traces = None

    def _close(self, due: Sequence[WaitingSpans]) -> int:
        """Count the traces that these spans make up; how many of them wait no more."""
        closed = assemble_due(due, self._rules)
        self._meet(trace for _, trace in closed if trace is not None)
        assembled = [
            Assembled(
                waiting.trace_id,
                len(waiting.spans),
                None if trace is None else tag_trace(trace, self._calibration, self._rules),
            )
            for waiting, trace in closed
        ]
        now = self._stages.clock.time()
        recorded = self._stages.ledger.record(
            Batch(events=(), dead_letters=(), offsets=(), records={}, received_at=now, assembled=assembled)
        )
        if self._open_traces is not None:
            for waiting in due:
                self._open_traces.pop(waiting.trace_id, None)
        _log.info("traces.assembled", traces=recorded.counted, labelled=recorded.labelled)
        return recorded.closed

    def _meet(self, traces: Iterable[Trace]) -> None:
        """Before the first request of a version is tagged, freeze what the versions before it have taught."""
        if self._seen is None:
            self._seen = {
                (version.service, version.environment, version.model_version)
                for version in self._stages.ledger.activity()
            }
            self._calibration = self._stages.review.calibration_in_force()
        met = {(trace.service, trace.environment, trace.model_version) for trace in traces} - self._seen
        live = {version for _, environment, version in met if environment != REFERENCE_ENVIRONMENT}
        if live:
            self._stages.review.before_new_versions(live, now=self._stages.clock.time())
            self._calibration = self._stages.review.calibration_in_force()
        self._seen |= met

    def _review_if_due(self) -> None:
        if self._stages.clock.monotonic() - self._reviewed_at >= self._settings.review_interval_seconds:
            self._review()

    def _review(self) -> None:
        self._reviewed_at = self._stages.clock.monotonic()
        self._stages.review.look(now=self._stages.clock.time())
        self._calibration = self._stages.review.calibration_in_force()

    def _show_if_due(self) -> None:
        if self._stages.clock.monotonic() - self._shown_at >= self._settings.snapshot_interval_seconds:
            self._show()

    def _show(self) -> None:
        self._shown_at = self._stages.clock.monotonic()
        self._stages.snapshots.publish(self._snapshot())

    def _snapshot(self) -> Snapshot:
        ledger = self._stages.ledger
        activity, rollouts = ledger.activity(), ledger.rollouts()
        roles = version_roles(activity, [record.rollout for record in rollouts], self._policy)
        calibration, live = self._calibration, self._stages.review.live_trust()
        if calibration is not None and live is not None and live.calibration_id != calibration.calibration_id:
            live = None  # another came into force since
        return Snapshot(
            now=self._stages.clock.time(),
            policy=self._policy,
            counters=ledger.counters(),
            waiting_spans=ledger.waiting_spans(),
            model_versions=[
                ModelVersionStatus(
                    version,
                    roles[version.service, version.environment, version.model_version],
                    is_floating=is_floating_alias(version.model_version),
                )
                for version in activity
                if version.environment != REFERENCE_ENVIRONMENT
            ],
            rollouts=rollouts,
            calibration=None
            if calibration is None
            else CalibrationStatus(calibration.calibration_id, calibration.frozen_at, calibration.trust, live),
            lag=[PartitionLag(*partition, lag) for partition, lag in sorted(self._stages.source.lag().items())],
            last_commit_at=self._last_commit_at,
            is_ready=True,
            health=[HealthFact("pipeline", is_ok=True, sentence="Records are read and recorded.")],
        )

    def _show_outage(self) -> None:
        """Keep showing the last committed counts, and say that nothing moves."""
        fact = HealthFact("pipeline", is_ok=False, sentence=self._outage)
        last = self._stages.snapshots.current
        self._stages.snapshots.publish(replace(last, now=self._stages.clock.time(), is_ready=False, health=[fact]))


def _log_committed(batch: DecodedBatch, recorded: Recorded) -> None:
    _log.info(
        "batch.committed",
        records=sum(batch.records.values()),
        traces=recorded.counted,
        duplicates=recorded.duplicates,
        labelled=recorded.labelled,
        dead_letters=len(batch.dead_letters),
    )
    for record, letter in batch.dead_letters:
        topic, partition, offset = record.position
        _log.warning(
            "record.dead_lettered",
            topic=topic,
            partition=partition,
            offset=offset,
            reason=letter.reason.value,
            detail=letter.detail,
            size_bytes=letter.size_bytes,
        )
