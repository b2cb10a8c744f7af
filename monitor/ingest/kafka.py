"""Records of Kafka topics: membership is the group's business, offsets are the ledger's."""

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
from monitor.ingest.kafka_reader import as_record, close, offset_ranges, ours, partition_numbers, problem_at, theirs
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import LedgerOffsets, Poll, TopicPartition

log = structlog.get_logger(__name__)

_SLICE_SECONDS = 0.1
_OFFSET_RANGE_SECONDS = 2.0
_IN_TIME = {"timeout_ms": 5_000}
_JOIN_SECONDS = 8.0  # a group without a lost member is joined in 3 to 6


class KafkaSource:
    """
    A member of a consumer group that reads on from the ledger's offsets.

    Kafka's own committed offsets are written for lag tools and never read: a partition that was just assigned stays
    paused until its offset came from the ledger. Not safe for use by several threads.

    Keep the time between two polls short: kafka-python forgets a join that was answered between them and joins again,
    so a group whose members are mostly busy elsewhere may take many rounds to settle.

    Args:
        settings: Brokers, topics and group.
        ledger_offsets: Next offsets as the ledger holds them.
        silence_seconds: Time without a record after which the brokers have to answer a question.

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
        self._in_hand: set[TopicPartition] = set()  # polled, and not in the ledger yet
        self._named_at = float("-inf")
        self._silence_seconds = silence_seconds
        self._heard_at = self._clock.monotonic()
        self._tell_of_waiting_at = self._heard_at + _JOIN_SECONDS
        self._lost_name: Exception | None = None
        self._rebalances: deque[_Rebalance] = deque()
        self._consumer: Any = self._connect()

    def check_topics(self) -> None:
        """
        Make sure that every topic exists.

        Raises:
            DependencyUnreachable: naming the topics that do not.
        """
        if missing := self._missing_topics(self._consumer):
            raise DependencyUnreachable(
                f"Kafka at {self._settings.bootstrap_servers} has no topic {' and no topic '.join(missing)}; "
                "create it or take it out of kafka.topics."
            )

    def poll(self, timeout_seconds: float) -> Poll:
        self._keep_name()
        if given_up := self._retry_blocked():
            return given_up
        # In slices: a partition that is assigned meanwhile is read in this call, not after the next one's idle wait.
        for _ in range(max(1, math.ceil(timeout_seconds / _SLICE_SECONDS))):
            if fetched := self._poll_once(min(timeout_seconds, _SLICE_SECONDS)):
                self._heard_at = self._clock.monotonic()
                polled = _as_poll(fetched)
                self._in_hand.update(polled.next_offsets)
                return polled
        self._need_an_answer()
        self._tell_of_waiting()
        return Poll()

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        return {partition: owned.ledger_offset for partition, owned in self._assignment.owned.items()}

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        ours = self._assignment.commit(next_offsets)
        self._in_hand.difference_update(next_offsets)
        if ours and self._consumer is not None:
            # Not waited for, and its failure does no harm: the next commit says the same and more.
            self._write_group_offsets(ours)
            self._read_on(partition for partition in ours if partition in self._blocked)

    def rewind(self) -> None:
        self._follow_rebalances()
        if self._consumer is not None:
            self._consumer.pause(*theirs(self._assignment.owned))
        self._assignment.rewind()
        self._in_hand.clear()

    def lag(self) -> Mapping[TopicPartition, int]:
        return {partition: self._lag(partition, owned) for partition, owned in self._assignment.owned.items()}

    def blocked(self) -> str:
        blocked = [each for _, each in sorted(self._blocked.items()) if each.partition in self._assignment.owned]
        return " ".join(each.sentence(self._settings.unreadable_tries) for each in blocked)

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            close(consumer, **_IN_TIME)  # nothing is lost: the group finds out by itself
        self._rebalances.clear()
        self._assignment = Assignment()

    def _tell_of_waiting(self) -> None:
        """Say once why a replica that has just started owns nothing yet."""
        if self._assignment.owned or self._clock.monotonic() < self._tell_of_waiting_at:
            return
        self._tell_of_waiting_at = math.inf
        log.warning(
            "group.waiting",
            group=self._settings.group_id,
            seconds=self._settings.session_timeout_seconds,
            cause="the group still counts a replica that ended without leaving, or there are fewer partitions than "
            "replicas; with kafka.group_instance_id a replica that starts again takes its place at once",
        )

    def _need_an_answer(self) -> None:
        """
        After a long silence, ask: to kafka-python brokers that are away are brokers that have no records.

        Raises:
            BrokersUnreachable: none answers.
        """
        if self._consumer is None or self._clock.monotonic() - self._heard_at < self._silence_seconds:
            return
        with translated_errors(self._settings):
            if owned := list(self._assignment.owned):
                self._offset_ranges(owned)
            elif not self._consumer.topics():
                raise KafkaTimeoutError
        self._heard_at = self._clock.monotonic()

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
            # Not cooperative (KIP-429): kafka-python's poll waits for a join either way, and cooperative needs two.
            # Measured as a second and third member joined on 12 partitions: nothing was read for 2.1 s, here 0.1 s.
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
        )
        consumer.subscribe(topics=list(settings.topics), listener=_Listener(consumer, self._rebalances))
        # Before the group is joined: a leader that does not know the partitions hands out none, for a minute.
        try:
            self._missing_topics(consumer)
        except MonitorError:
            close(consumer, **_IN_TIME)
            raise
        return consumer

    def _missing_topics(self, consumer: Any) -> list[str]:
        with translated_errors(self._settings):
            return [topic for topic in self._settings.topics if not partition_numbers(consumer, topic)]

    def _poll_once(self, timeout_seconds: float) -> Mapping[KafkaPartition, list[Any]]:
        if self._consumer is None:
            self._consumer = self._connect()
        self._take_over()
        try:
            fetched = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds))
        except Exception as error:
            if is_corrupt(error) and self._block():
                return {}
            if getattr(error, "retriable", False) or isinstance(error, OSError):
                self.rewind()
            else:
                # kafka-python may loop forever over a batch that made it raise, so this consumer is not asked again.
                self.close()
            with translated_errors(self._settings):
                raise
        self._follow_rebalances()
        # What was revoked, or revoked and assigned again, during this poll belongs to somebody else or is read again.
        return {partition: records for partition, records in fetched.items() if ours(partition) in self.assignment()}

    def _block(self) -> bool:
        """Block the partitions whose next batch cannot be read, and let the others go on; whether any is blocked."""
        logs = self._offset_ranges(list(self._assignment.owned))
        # All before it was returned and recorded, so the batch is the next one of its partition.
        next_offsets = {
            partition: owned.next_offset
            for partition, owned in self._assignment.owned.items()
            if owned.next_offset < logs[partition].end
        }
        self.close()  # as in _poll_once
        found = False
        for partition, offset in sorted(next_offsets.items()):
            if problem := problem_at(self._settings, partition, offset):
                found = True
                blocked = BlockedPartition(partition, offset)
                self._blocked[partition] = blocked.tried(problem, now=self._clock.monotonic())
                log.error("batch.corrupt", **partition._asdict(), offset=offset, problem=problem)
        return found

    def _retry_blocked(self) -> Poll | None:
        """Try corrupt batches again; after enough tries, a poll of the record that stands for one."""
        for partition, blocked in sorted(self._blocked.items()):
            if partition not in self._assignment.owned or self._clock.monotonic() < blocked.retry_at:
                continue
            if not (problem := problem_at(self._settings, partition, blocked.offset)):
                self._read_on([partition])
                continue
            self._blocked[partition] = blocked.tried(problem, now=self._clock.monotonic())
            if 0 < self._settings.unreadable_tries <= self._blocked[partition].tries:
                return self._give_up(self._blocked[partition])
        return None

    def _give_up(self, blocked: BlockedPartition) -> Poll:
        offset_range = self._offset_ranges([blocked.partition])[blocked.partition]
        end = first_readable(blocked.offset, offset_range.end, partial(problem_at, self._settings, blocked.partition))
        return Poll(records=(blocked.skipped(end),), next_offsets={blocked.partition: end})

    def _read_on(self, partitions: Iterable[TopicPartition]) -> None:
        """Go on with partitions that were blocked, from the ledger's offset."""
        for partition in list(partitions):
            del self._blocked[partition]
            at = KafkaPartition(*partition)
            self._consumer.seek(at, self._assignment.owned[partition].next_offset)
            self._consumer.resume(at)
            log.info("partition.read_on", **partition._asdict())

    def _keep_name(self) -> None:
        """
        Find out whether another replica has taken our name; kafka-python only logs that, and reads on as a member.

        Raises:
            ConfigInvalid: one has.
        """
        if self._lost_name is not None:
            with translated_errors(self._settings):
                raise self._lost_name
        now = self._clock.monotonic()
        if self._settings.group_instance_id and now - self._named_at >= self._settings.session_timeout_seconds / 3:
            self._named_at = now
            self._write_group_offsets({partition: at.next_offset for partition, at in self._assignment.owned.items()})

    def _write_group_offsets(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        offsets = {KafkaPartition(*partition): OffsetAndMetadata(at, "", -1) for partition, at in next_offsets.items()}
        if offsets and self._consumer is not None:
            self._consumer.commit_async(offsets, callback=self._note_commit)

    def _note_commit(self, offsets: Mapping[KafkaPartition, OffsetAndMetadata], response: object) -> None:
        if isinstance(response, Exception):
            log.debug("group_offset.not_written", partitions=len(offsets), error=str(response))
        if isinstance(response, FencedInstanceIdError):
            self._lost_name = response

    def _follow_rebalances(self) -> None:
        while self._rebalances:
            change, partitions = self._rebalances.popleft()
            change(self._assignment, partitions)

    def _take_over(self) -> None:
        unread = self._assignment.unread
        if not unread:
            return
        try:
            offsets = self._ledger_offsets(unread)
        except MonitorError:
            # Nothing may be returned now, but a member that never polls holds up every rebalance.
            self.rewind()
            with suppress(KafkaError, OSError):
                self._consumer.poll(timeout_ms=0)
            self._follow_rebalances()
            raise
        logs = self._offset_ranges(unread)
        for partition in sorted(unread):
            self._begin(partition, offsets.get(partition), logs[partition])
        self._consumer.resume(*theirs(unread - self._blocked.keys()))
        log.info("partitions.assigned", partitions=len(unread), owned=len(self._assignment.owned))

    def _begin(self, partition: TopicPartition, ledger_offset: int | None, offset_range: OffsetRange) -> None:
        owned = self._assignment.begin(partition, ledger_offset, log=offset_range, start=self._settings.start)
        self._consumer.seek(KafkaPartition(*partition), owned.next_offset)
        if partition in self._blocked and self._blocked[partition].offset != owned.next_offset:
            del self._blocked[partition]  # another owner has got past it
        if ledger_offset is not None and owned.next_offset != ledger_offset:
            cause = "records expired" if ledger_offset < offset_range.beginning else "topic is shorter than before"
            offsets = {"ledger_offset": ledger_offset, "next_offset": owned.next_offset}
            log.warning("offset.reset", **partition._asdict(), **offsets, cause=cause)

    def _offset_ranges(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, OffsetRange]:
        timeout_ms = milliseconds(min(_OFFSET_RANGE_SECONDS, self._settings.request_timeout_seconds))
        with translated_errors(self._settings):
            return offset_ranges(self._consumer, partitions, timeout_ms=timeout_ms)

    def _lag(self, partition: TopicPartition, owned: AssignedPartition) -> int:
        of_kafka, read_to = KafkaPartition(*partition), owned.next_offset
        if not any(partition in those for those in (self._assignment.unread, self._blocked, self._in_hand)):
            # Behind the last record may stand markers of transactions, which the client passes and never returns.
            with suppress(KafkaError):
                read_to = max(read_to, self._consumer.position(of_kafka, timeout_ms=0) or 0)
        return max(0, max(self._consumer.highwater(of_kafka) or 0, owned.log_end) - read_to)


_Change = Callable[[Assignment, Iterable[TopicPartition]], None]
_Rebalance = tuple[_Change, frozenset[TopicPartition]]


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships without types
    """
    Notes what the group decided, for `poll` to follow.

    Runs on the client's own thread, which also sends heartbeats: no database may be asked here.
    """

    def __init__(self, consumer: Any, rebalances: deque[_Rebalance]) -> None:
        self._consumer = consumer
        self._rebalances = rebalances

    def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        # Or else this very poll would fetch from Kafka's committed offset.
        self._consumer.pause(*assigned)
        self._rebalances.append((Assignment.assign, frozenset(map(ours, assigned))))

    def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        self._rebalances.append((Assignment.revoke, frozenset(map(ours, revoked))))


def _as_poll(fetched: Mapping[KafkaPartition, list[Any]]) -> Poll:
    read = {ours(partition): [as_record(record) for record in records] for partition, records in fetched.items()}
    return Poll(
        records=tuple(record for records in read.values() for record in records),
        next_offsets={partition: records[-1].next_offset for partition, records in read.items()},
    )
