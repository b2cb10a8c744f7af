"""The running service: one loop that polls, decodes, tags, records and, between batches, reviews and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from monitor.clock import Clock
from monitor.difficulty.calibration import Calibration
from monitor.errors import DependencyUnreachable, OffsetFenced
from monitor.ingest.dead_letter import DeadLetterWriter, Rejection
from monitor.ingest.source import Poll, Source
from monitor.ledger.ledger import Batch, Ledger, OffsetMove, Recorded
from monitor.metrics.snapshot import (
    CalibrationStatus,
    HealthFact,
    ModelVersionStatus,
    PartitionLag,
    Snapshot,
    SnapshotHolder,
)
from monitor.pipeline import DecodedBatch, decode_records, tag_events
from monitor.review import Reviewer
from monitor.rollout.policy import Policy
from monitor.rollout.tracker import is_floating_alias, version_roles
from monitor.service_settings import ServiceSettings
from monitor.trace.model import REFERENCE_ENVIRONMENT, Trace
from monitor.trace.settings import Limits

_log = structlog.get_logger()


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
        limits: What is decoded.
        policy: What the snapshot shows as the policy in force.
        settings: The rhythm.
        read_as: Environment that every trace is read as, whatever it says; None to believe it.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        limits: Limits,
        policy: Policy,
        settings: ServiceSettings,
        read_as: str | None = None,
    ) -> None:
        self._stages = stages
        self._read_as = read_as
        self._limits = limits
        self._policy = policy
        self._settings = settings
        self._calibration: Calibration | None = None
        self._seen: set[tuple[str, str, str]] | None = None
        self._reviewed_at = float("-inf")
        self._shown_at = float("-inf")
        self._last_commit_at: float | None = None
        self._outage = ""

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
        """Poll and record until the source is exhausted, telling *progress* how many records each turn read."""
        at_end = False
        while not at_end:
            poll = self.run_once()
            progress(len(poll.records))
            at_end = poll.at_end

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
        self._review_if_due()
        self._show_if_due()
        return poll

    def settle(self, *, seconds: float) -> None:
        """Review and show once more after a replay, *seconds* of event time after its last record."""
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
        batch = decode_records(records, self._limits, read_as=self._read_as)
        for trace in batch.traces:
            stages.clock.observe(trace.started_at)
        self._meet(batch.traces)
        if batch.dead_letters:
            stages.dead_letters.write(
                [Rejection(record, letter.reason, letter.detail) for record, letter in batch.dead_letters]
            )
        next_offsets = {partition: offset for partition, offset in poll.next_offsets.items() if partition in owned}
        recorded = stages.ledger.record(
            Batch(
                events=tag_events(batch.events, self._calibration),
                dead_letters=[letter for _, letter in batch.dead_letters],
                offsets=[OffsetMove(part, owned[part], offset) for part, offset in next_offsets.items()],
                records=batch.records,
                received_at=stages.clock.time(),
            )
        )
        stages.source.committed(next_offsets)
        self._last_commit_at = stages.clock.time()
        _log_committed(batch, recorded)

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
        calibration = self._calibration
        return Snapshot(
            now=self._stages.clock.time(),
            policy=self._policy,
            counters=ledger.counters(),
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
            else CalibrationStatus(calibration.calibration_id, calibration.frozen_at, calibration.trust),
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
