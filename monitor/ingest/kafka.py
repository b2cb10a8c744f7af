"""Consumes Kafka topics: the consumer group assigns the partitions, the ledger holds the offsets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, OffsetAndMetadata
from kafka import TopicPartition as KafkaPartition
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import FencedInstanceIdError, KafkaError, KafkaTimeoutError

from monitor.clock import WallClock
from monitor.errors import DependencyUnreachable, MonitorError
from monitor.ingest.assignment import AssignedPartition, Assignment, OffsetRange
from monitor.ingest.corrupt_batch import BlockedPartition, first_readable, is_corrupt
from monitor.ingest.kafka_client import milliseconds, open_consumer, translated_errors
from monitor.ingest.kafka_reader import as_record, close, from_kafka, offset_ranges, partitions_of, problem_at, to_kafka
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import LedgerOffsets, Poll, TopicPartition

log = structlog.get_logger(__name__)

_SLICE_SECONDS = 0.1
_OFFSET_RANGE_SECONDS = 2.0
_CLOSE_TIMEOUT = {"timeout_ms": 5_000}
_JOIN_SECONDS = 8.0  # joining a group takes 3 to 6 s, unless it waits for a lost member


class KafkaSource:
    """
    A member of a consumer group that starts from the ledger's offsets.

    Offsets are committed to Kafka for lag tools only, and never read back: a newly assigned partition stays paused
    until its offset has been read from the ledger. Not thread-safe.

    Keep the time between two polls short: kafka-python forgets a join that was answered between polls and joins again,
    so a group whose members rarely poll may need many rebalances to become stable.

    Args:
        settings: Brokers, topics and group.
        ledger_offsets: Returns the next offsets from the ledger.
        silence_seconds: Time without records after which the source checks that a broker answers.

    Raises:
        DependencyUnreachable: no broker answers.
        ConfigInvalid: the client refuses its options.
    """

    def __init__(
        self, settings: KafkaSettings, ledger_offsets: LedgerOffsets, *, silence_seconds: float = 30.0
    ) -> None:
        self._settings = settings
        self._ledger_offsets = ledger_offsets
        self._clock = WallClock()
        self._assignment = Assignment()
        self._blocked: dict[TopicPartition, BlockedPartition] = {}
        self._uncommitted: set[TopicPartition] = set()  # partitions with polled records that are not in the ledger yet
        self._id_checked_at = float("-inf")
        self._silence_seconds = silence_seconds
        self._answered_at = self._clock.monotonic()
        self._warn_of_waiting_at = self._answered_at + _JOIN_SECONDS
        self._id_conflict: Exception | None = None
        self._rebalances: deque[_Rebalance] = deque()
        self._consumer: Any = self._connect()

    def check_topics(self) -> None:
        """
        Check that every topic exists.

        Raises:
            DependencyUnreachable: some do not; the message names them.
        """
        if missing := self._missing_topics(self._consumer):
            raise DependencyUnreachable(
                f"Kafka at {self._settings.bootstrap_servers} has no topic {' and no topic '.join(missing)}; "
                "create it or take it out of kafka.topics."
            )

    def poll(self, timeout_seconds: float) -> Poll:
        self._check_instance_id()
        if skipped := self._retry_blocked():
            return skipped
        # In slices, so that a partition that is assigned during this call is read in it.
        for _ in range(max(1, math.ceil(timeout_seconds / _SLICE_SECONDS))):
            if fetched := self._poll_once(min(timeout_seconds, _SLICE_SECONDS)):
                self._answered_at = self._clock.monotonic()
                polled = Poll(tuple(as_record(record) for records in fetched.values() for record in records))
                self._uncommitted.update(polled.next_offsets)
                return polled
        self._check_brokers()
        self._warn_of_waiting()
        return Poll()

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        return {partition: owned.ledger_offset for partition, owned in self._assignment.owned.items()}

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        owned = self._assignment.commit(next_offsets)
        self._uncommitted.difference_update(next_offsets)
        if owned and self._consumer is not None:
            # Asynchronous, and a failure does no harm, since the next commit covers these offsets too.
            self._write_group_offsets(owned)
            self._unblock(partition for partition in owned if partition in self._blocked)

    def rewind(self) -> None:
        self._apply_rebalances()
        if self._consumer is not None:
            self._consumer.pause(*to_kafka(self._assignment.owned))
        self._assignment.rewind()
        self._uncommitted.clear()

    def lag(self) -> Mapping[TopicPartition, int]:
        return {partition: self._lag(partition, owned) for partition, owned in self._assignment.owned.items()}

    def blocked(self) -> str:
        blocked = [block for partition, block in sorted(self._blocked.items()) if partition in self._assignment.owned]
        return " ".join(block.sentence(self._settings.unreadable_tries) for block in blocked)

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            close(consumer, **_CLOSE_TIMEOUT)  # if leaving the group fails, its session times out
        self._rebalances.clear()
        self._assignment = Assignment()

    def _warn_of_waiting(self) -> None:
        """Log once why a replica that has just started has no partition yet."""
        if self._assignment.owned or self._clock.monotonic() < self._warn_of_waiting_at:
            return
        self._warn_of_waiting_at = math.inf
        log.warning(
            "group.waiting",
            group=self._settings.group_id,
            seconds=self._settings.session_timeout_seconds,
            cause="the group still counts a replica that ended without leaving, or there are fewer partitions than "
            "replicas; with kafka.group_instance_id a replica that starts again takes its place at once",
        )

    def _check_brokers(self) -> None:
        """
        After a long silence, send a request: kafka-python's poll returns no records if the brokers are unreachable.

        Raises:
            BrokersUnreachable: none answers.
        """
        if self._consumer is None or self._clock.monotonic() - self._answered_at < self._silence_seconds:
            return
        with translated_errors(self._settings):
            if owned := list(self._assignment.owned):
                self._offset_ranges(owned)
            elif not self._consumer.topics():
                raise KafkaTimeoutError
        self._answered_at = self._clock.monotonic()

    def _connect(self) -> Any:
        settings = self._settings
        consumer = open_consumer(
            settings,
            group_id=settings.group_id,
            group_instance_id=settings.group_instance_id or None,
            max_poll_records=settings.max_poll_records,
            max_poll_interval_ms=milliseconds(settings.max_poll_interval_seconds),
            session_timeout_ms=milliseconds(settings.session_timeout_seconds),
            heartbeat_interval_ms=milliseconds(min(3.0, settings.session_timeout_seconds / 3)),
            metadata_max_age_ms=milliseconds(settings.metadata_max_age_seconds),
            # Not cooperative (KIP-429): kafka-python's poll waits for each join, and cooperative needs two of them.
            # As members joined on 12 partitions, reading paused for 2.1 s with cooperative rebalancing, else for 0.1 s.
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
        )
        consumer.subscribe(topics=list(settings.topics), listener=_Listener(consumer, self._rebalances))
        # Load the metadata before joining: a group leader that does not know a topic's partitions assigns none of them.
        try:
            self._missing_topics(consumer)
        except MonitorError:
            close(consumer, **_CLOSE_TIMEOUT)
            raise
        return consumer

    def _missing_topics(self, consumer: Any) -> list[str]:
        with translated_errors(self._settings):
            return [topic for topic in self._settings.topics if not partitions_of(consumer, topic)]

    def _poll_once(self, timeout_seconds: float) -> Mapping[KafkaPartition, list[Any]]:
        if self._consumer is None:
            self._consumer = self._connect()
        self._start_assigned()
        try:
            fetched = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds))
        except Exception as error:
            if is_corrupt(error) and self._block():
                return {}
            if getattr(error, "retriable", False) or isinstance(error, OSError):
                self.rewind()
            else:
                # kafka-python may loop forever over a batch that made it raise, so open a new consumer.
                self.close()
            with translated_errors(self._settings):
                raise
        self._apply_rebalances()
        # Drop records of partitions that were revoked during this poll, even if they were assigned to us again.
        return {part: records for part, records in fetched.items() if from_kafka(part) in self._assignment.owned}

    def _block(self) -> bool:
        """Block the partitions whose next batch is corrupt, so that others continue; returns whether there are any."""
        next_offsets = {partition: owned.next_offset for partition, owned in self._assignment.owned.items()}
        logs = self._offset_ranges(next_offsets)
        self.close()  # as in _poll_once
        is_any_blocked = False
        # Everything before a corrupt batch was returned and recorded, so it is the next batch of its partition.
        for partition, offset in sorted(next_offsets.items()):
            if offset < logs[partition].end and (problem := problem_at(self._settings, partition, offset)):
                is_any_blocked = True
                blocked = BlockedPartition(partition, offset)
                self._blocked[partition] = blocked.tried(problem, now=self._clock.monotonic())
                log.error("batch.corrupt", **partition._asdict(), offset=offset, problem=problem)
        return is_any_blocked

    def _retry_blocked(self) -> Poll | None:
        """Try corrupt batches again; after `unreadable_tries`, return a placeholder record and skip the batch."""
        for partition, blocked in sorted(self._blocked.items()):
            if partition not in self._assignment.owned or self._clock.monotonic() < blocked.retry_at:
                continue
            if not (problem := problem_at(self._settings, partition, blocked.offset)):
                self._unblock([partition])
                continue
            self._blocked[partition] = blocked.tried(problem, now=self._clock.monotonic())
            if 0 < self._settings.unreadable_tries <= self._blocked[partition].tries:
                return self._skip(self._blocked[partition])
        return None

    def _skip(self, blocked: BlockedPartition) -> Poll:
        offset_range = self._offset_ranges([blocked.partition])[blocked.partition]
        end = first_readable(blocked.offset, offset_range.end, partial(problem_at, self._settings, blocked.partition))
        return Poll((blocked.skipped(end),))

    def _unblock(self, partitions: Iterable[TopicPartition]) -> None:
        """Resume blocked partitions from the ledger's offset."""
        for partition in list(partitions):
            del self._blocked[partition]
            kafka_partition = KafkaPartition(*partition)
            self._consumer.seek(kafka_partition, self._assignment.owned[partition].next_offset)
            self._consumer.resume(kafka_partition)
            log.info("partition.read_on", **partition._asdict())

    def _check_instance_id(self) -> None:
        """
        Check that no other replica uses our `group.instance.id`; kafka-python only logs that and continues to poll.

        Raises:
            ConfigInvalid: another replica uses it.
        """
        if self._id_conflict is not None:
            with translated_errors(self._settings):
                raise self._id_conflict
        now = self._clock.monotonic()
        if self._settings.group_instance_id and now - self._id_checked_at >= self._settings.session_timeout_seconds / 3:
            self._id_checked_at = now
            self._write_group_offsets({partition: at.next_offset for partition, at in self._assignment.owned.items()})

    def _write_group_offsets(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        offsets = {KafkaPartition(*partition): OffsetAndMetadata(at, "", -1) for partition, at in next_offsets.items()}
        if offsets and self._consumer is not None:
            self._consumer.commit_async(offsets, callback=self._note_commit)

    def _note_commit(self, offsets: Mapping[KafkaPartition, OffsetAndMetadata], response: object) -> None:
        if isinstance(response, Exception):
            log.debug("group_offset.not_written", partitions=len(offsets), error=str(response))
        if isinstance(response, FencedInstanceIdError):
            self._id_conflict = response

    def _apply_rebalances(self) -> None:
        while self._rebalances:
            change, partitions = self._rebalances.popleft()
            change(self._assignment, partitions)

    def _start_assigned(self) -> None:
        """Seek newly assigned partitions to the ledger's offsets and resume them."""
        unread = set(self._assignment.unread)
        if not unread:
            return
        try:
            offsets = self._ledger_offsets(unread)
        except MonitorError:
            # Poll although nothing may be returned: a member that does not poll blocks every rebalance.
            self.rewind()
            with suppress(KafkaError, OSError):
                self._consumer.poll(timeout_ms=0)
            self._apply_rebalances()
            raise
        logs = self._offset_ranges(unread)
        for partition in sorted(unread):
            self._begin(partition, offsets.get(partition), logs[partition])
        self._consumer.resume(*to_kafka(unread - self._blocked.keys()))
        log.info("partitions.assigned", partitions=len(unread), owned=len(self._assignment.owned))

    def _begin(self, partition: TopicPartition, ledger_offset: int | None, offset_range: OffsetRange) -> None:
        owned = self._assignment.begin(partition, ledger_offset, log=offset_range, start=self._settings.start)
        self._consumer.seek(KafkaPartition(*partition), owned.next_offset)
        if partition in self._blocked and self._blocked[partition].offset != owned.next_offset:
            del self._blocked[partition]  # another owner has skipped or read the batch
        if ledger_offset is not None and owned.next_offset != ledger_offset:
            cause = "records expired" if ledger_offset < offset_range.beginning else "topic is shorter than before"
            offsets = {"ledger_offset": ledger_offset, "next_offset": owned.next_offset}
            log.warning("offset.reset", **partition._asdict(), **offsets, cause=cause)

    def _offset_ranges(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, OffsetRange]:
        timeout_ms = milliseconds(min(_OFFSET_RANGE_SECONDS, self._settings.request_timeout_seconds))
        with translated_errors(self._settings):
            return offset_ranges(self._consumer, partitions, timeout_ms=timeout_ms)

    def _lag(self, partition: TopicPartition, owned: AssignedPartition) -> int:
        kafka_partition, position = KafkaPartition(*partition), owned.next_offset
        if not any(partition in those for those in (self._assignment.unread, self._blocked, self._uncommitted)):
            # The log may end with transaction markers: the client's position passes them, but returns no record.
            with suppress(KafkaError):
                position = max(position, self._consumer.position(kafka_partition, timeout_ms=0) or 0)
        return max(0, max(self._consumer.highwater(kafka_partition) or 0, owned.log_end) - position)


_Change = Callable[[Assignment, Iterable[TopicPartition]], None]
_Rebalance = tuple[_Change, frozenset[TopicPartition]]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships without types
    """
    Queues rebalances, for `poll` to apply.

    Runs on the client's own thread, which also sends heartbeats, so it must not wait for the database.
    """

    def __init__(self, consumer: Any, rebalances: deque[_Rebalance]) -> None:
        self._consumer = consumer
        self._rebalances = rebalances

    def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        # Otherwise the current poll would fetch from the offset committed in Kafka.
        self._consumer.pause(*assigned)
        self._rebalances.append((Assignment.assign, frozenset(map(from_kafka, assigned))))

    def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        self._rebalances.append((Assignment.revoke, frozenset(map(from_kafka, revoked))))
