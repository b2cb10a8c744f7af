"""The running service: one loop that polls, decodes, tags, records and, between batches, reviews and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile

import structlog

from monitor.clock import Clock
from monitor.difficulty.tagger import Tagger
from monitor.errors import DependencyUnreachable, OffsetFenced
from monitor.ingest.dead_letter import DeadLetterRecord, DeadLetterWriter
from monitor.ingest.source import Poll, Record, Source, TopicPartition
from monitor.ledger.ledger import Assembled, Batch, Ledger, OffsetCommit, PendingSpans, Recorded
from monitor.ledger.settings import LedgerSettings
from monitor.metrics.snapshot import PartitionLag, SnapshotHolder
from monitor.rollout.policy import Policy
from monitor.service.jobs import InTurn, Job, Jobs, OnThreads
from monitor.service.new_versions import Newcomers, Version, fronts, split_before
from monitor.service.pipeline import DecodedBatch, Rules, assemble_due, decode_records, tag_events, tag_traces
from monitor.service.publisher import LoopStatus, Overview
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from monitor.service.watchdog import Watchdog
from monitor.trace.model import Trace, TraceId
from monitor.trace.span import Span

_log = structlog.get_logger()

_MOST_LOGGED = 10  # dead letters of one batch; batch.committed says how many there were
_MOST_APART = 8  # more versions that begin in one batch are no rollouts: hostile or careless names
_SPANS_PER_ASSEMBLY = 5_000
_TRACES_PER_ASSEMBLY = 500

_Built = tuple[PendingSpans, Sequence[Trace]]


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
        caps: How many versions and services the ledger tells apart.
        in_background: Review and show on threads of their own, so that reading never waits for them; otherwise between
            two batches, so that the same records give the same result.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        rules: Rules,
        policy: Policy,
        settings: ServiceSettings,
        caps: LedgerSettings | None = None,
        in_background: bool = False,
    ) -> None:
        self._stages = stages
        self._caps = caps or LedgerSettings()
        self._rules = rules
        self._settings = settings
        self._overview = Overview(stages.ledger, stages.review, stages.clock, stages.snapshots, policy=policy)
        self._jobs = _jobs(self._overview, settings, stages.clock, in_background=in_background)
        self._status = LoopStatus()
        self._watchdog = Watchdog(
            stages.clock,
            unhealthy_seconds=settings.stall_unhealthy_seconds,
            exit_seconds=settings.stall_exit_seconds,
        )
        self._newcomers: Newcomers | None = None
        self._tagger = Tagger(None)
        self._assembled_at = float("-inf")
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
        self._jobs.start()
        self._watchdog.start()
        try:
            while not is_stopping():
                self._watchdog.turned()
                try:
                    self.run_once()
                except DependencyUnreachable as outage:
                    _log.warning("service.paused", problem=str(outage), retry_seconds=delay)
                    self._status = replace(self._status, pauses=self._status.pauses + 1)
                    self._report(problem=str(outage))
                    wait(delay)
                    delay = min(2 * delay, self._settings.max_retry_seconds)
                else:
                    delay = self._settings.retry_seconds
        finally:
            self.unready()
            self._watchdog.stop()
            self._jobs.stop()

    def begin(self) -> None:
        """Show what the ledger holds before the first turn; to a scrape before that, every counter fell to zero."""
        self._overview.load()
        self._overview.show()

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
        return self._overview.policy

    def follow(self, policy: Policy) -> None:
        """From the next review on, judge by *policy*."""
        self._overview.follow(policy)

    def unready(self) -> None:
        """Say for good that this replica is going away, so that nobody is sent to it any more; from any thread."""
        self._overview.leave()

    def stall(self) -> str:
        """One sentence where the loop hangs, else empty; from any thread."""
        return self._watchdog.problem()

    def run_once(self) -> Poll:
        """
        One turn: poll, record, put traces together if due; review and show if due, unless others do that.

        Returns:
            What was polled.

        Raises:
            DependencyUnreachable: a broker or the database cannot be reached; what was polled will be read again.
        """
        poll = self._stages.source.poll(self._settings.poll_timeout_seconds)
        if poll.records:
            self._handle(poll)
        self._assemble_if_due()
        self._report(has_turned=True, problem="")
        self._jobs.turn()
        return poll

    def settle(self, *, seconds: float) -> None:
        """After a replay, let *seconds* of event time pass with no event, then review and show."""
        # What a replay before this one read and was not there to put together any more.
        self._assemble(now=self._stages.clock.time() + self._rules.traces.assembly.max_age_seconds + 1.0)
        self._stages.clock.observe(self._stages.clock.time() + seconds)
        self._overview.review()
        self.show()

    def show(self) -> None:
        """Publish what the ledger holds now."""
        self._report(has_turned=True)
        self._overview.show()

    def _handle(self, poll: Poll) -> None:
        owned = self._stages.source.assignment()
        records: Sequence[Record] = poll.records
        if not poll.next_offsets.keys() <= owned.keys():
            records = [record for record in records if record.position.topic_partition in owned]
        next_offsets = {partition: offset for partition, offset in poll.next_offsets.items() if partition in owned}
        try:
            while records:
                records = self._record_some(records, next_offsets)
        except OffsetFenced as fenced:
            _log.warning("batch.fenced", problem=str(fenced), records=len(records))
            self._status = replace(self._status, batches_fenced=self._status.batches_fenced + 1)
            self._stages.source.rewind()
        except DependencyUnreachable:
            self._stages.source.rewind()  # the offsets have not moved, so everything is read again
            raise

    def _record_some(self, records: Sequence[Record], next_offsets: Mapping[TopicPartition, int]) -> Sequence[Record]:
        """
        Record up to the first requests of versions never met, or meet those where nothing stands before them.

        Returns:
            What is left.
        """
        batch = decode_records(records, self._rules)
        newcomers = self._newcomers_in(batch.traces)
        if not newcomers:
            self._record(batch, next_offsets)
            return ()
        if len(newcomers) > _MOST_APART:
            self._meet(batch)
            return records
        # History may stand right before them, and has to be in the ledger for what is frozen now to know it.
        before, rest = split_before(records, lambda record: self._has_any(newcomers, record))
        if before:
            ends = {first.position.topic_partition: first.position.offset for first in fronts(rest)}
            begun = {record.position.topic_partition for record in before}
            self._record(
                decode_records(before, self._rules),
                {p: ends.get(p, offset) for p, offset in next_offsets.items() if p in begun},
            )
        else:
            self._meet(decode_records(fronts(rest), self._rules))
        return rest

    def _record(self, batch: DecodedBatch, next_offsets: Mapping[TopicPartition, int]) -> None:
        stages = self._stages
        owned = stages.source.assignment()
        stages.clock.observe(max(batch.event_times(), default=float("-inf")))
        if batch.dead_letters:
            stages.dead_letters.write(
                [DeadLetterRecord(record, letter.reason, letter.detail) for record, letter in batch.dead_letters]
            )
        recorded = stages.ledger.record(
            Batch(
                events=tag_events(batch.events, self._tagger_in_force(), self._rules),
                dead_letters=[letter for _, letter in batch.dead_letters],
                offsets=[OffsetCommit(part, owned[part], offset) for part, offset in next_offsets.items()],
                records=batch.records,
                received_at=stages.clock.time(),
                ignored=batch.ignored,
            )
        )
        self._note_open_traces(batch)
        self._overview.saw_failures(recorded.failed_traces)
        stages.source.committed(next_offsets)
        self._status = replace(self._status, last_commit_at=stages.clock.time())
        _log_committed(batch, recorded)

    def _note_open_traces(self, batch: DecodedBatch) -> None:
        if self._open_traces is not None:
            for event in batch.events:
                if isinstance(event, Span):
                    started_at = self._open_traces.get(event.trace_id, event.started_at)
                    self._open_traces[event.trace_id] = min(started_at, event.started_at)

    def _assemble_if_due(self) -> None:
        """Close what is due, some of it: however much that is, the next poll must not be late."""
        if self._stages.clock.monotonic() - self._assembled_at >= self._settings.assembly_interval_seconds:
            settings, now = self._rules.traces.assembly, self._stages.clock.time()
            due = self._stages.ledger.due_spans(settings, now=now, max_spans=_SPANS_PER_ASSEMBLY)
            if not due or not self._close(due):
                self._assembled_at = self._stages.clock.monotonic()

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

    def _close(self, due: Sequence[PendingSpans]) -> int:
        """Count the traces that these spans make up; how many of them wait no more."""
        rest: Sequence[_Built] = assemble_due(due, self._rules)
        closed = 0
        while rest:
            known = list(takewhile(lambda built: not self._newcomers_in(built[1]), rest))
            if known:
                closed += self._record_assembled(known)
            else:
                self._meet_versions(self._newcomers_in(rest[0][1]))
            rest = rest[len(known) :]
        return closed

    def _record_assembled(self, built: Sequence[_Built]) -> int:
        tagged = iter(tag_traces([run for _, runs in built for run in runs], self._tagger_in_force(), self._rules))
        assembled = [
            Assembled(pending.trace_id, len(pending.spans), list(islice(tagged, len(runs)))) for pending, runs in built
        ]
        now = self._stages.clock.time()
        recorded = self._stages.ledger.record(
            Batch(events=(), dead_letters=(), offsets=(), records={}, received_at=now, assembled=assembled)
        )
        if self._open_traces is not None:
            for waiting, _ in built:
                self._open_traces.pop(waiting.trace_id, None)
        self._overview.saw_failures(recorded.failed_traces)
        _log.info("traces.assembled", traces=recorded.counted, labelled=recorded.labelled)
        return recorded.closed

    def _tagger_in_force(self) -> Tagger:
        calibration = self._overview.calibration
        if self._tagger.calibration is not calibration:
            self._tagger = Tagger(calibration)
        return self._tagger

    def _newcomers_in(self, traces: Iterable[Trace]) -> frozenset[Version]:
        if self._newcomers is None:
            activity = self._stages.ledger.activity()
            self._newcomers = Newcomers(
                (Version(version.service, version.environment, version.model_version) for version in activity),
                self._caps,
            )
            self._overview.load()
        return self._newcomers.among(traces)

    def _has_any(self, newcomers: frozenset[Version], record: Record) -> bool:
        return not newcomers.isdisjoint(self._newcomers_in(decode_records([record], self._rules).traces))

    def _meet(self, batch: DecodedBatch) -> None:
        self._stages.clock.observe(max(batch.event_times(), default=float("-inf")))
        self._meet_versions(self._newcomers_in(batch.traces))

    def _meet_versions(self, newcomers: frozenset[Version]) -> None:
        """Before the first request of a version is tagged, freeze what the versions before it have taught."""
        if newcomers and self._newcomers is not None:
            self._overview.meet({version.model_version for version in newcomers})
            self._newcomers.meet(newcomers)

    def _report(self, *, problem: str | None = None, has_turned: bool = False) -> None:
        lag = [PartitionLag(*partition, lag) for partition, lag in sorted(self._stages.source.lag().items())]
        self._status = replace(
            self._status,
            has_turned=has_turned or self._status.has_turned,
            problem=self._status.problem if problem is None else problem,
            lag=lag,
            blocked=self._stages.source.blocked(),
            turned_at=self._stages.clock.time() if has_turned else self._status.turned_at,
        )
        self._overview.report(self._status)


def _jobs(overview: Overview, settings: ServiceSettings, clock: Clock, *, in_background: bool) -> Jobs:
    jobs = [
        Job("review", overview.review, settings.review_interval_seconds, settings.review_rest_ratio),
        Job("snapshot", overview.show, settings.snapshot_interval_seconds, 1.0),
    ]
    return OnThreads(jobs, clock, note=overview.note) if in_background else InTurn(jobs, clock)


def _log_committed(batch: DecodedBatch, recorded: Recorded) -> None:
    _log.info(
        "batch.committed",
        records=sum(batch.records.values()),
        traces=recorded.counted,
        duplicates=recorded.duplicates,
        labelled=recorded.labelled,
        dead_letters=len(batch.dead_letters),
    )
    # Who floods us with such records must not flood the logs; each is in the ledger and the dead-letter topic.
    for record, letter in batch.dead_letters[:_MOST_LOGGED]:
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
