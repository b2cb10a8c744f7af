"""Reads Kafka topics, or ranges of them, without a consumer group and without committing offsets."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from monitor.errors import DependencyUnreachable
from monitor.ingest.assignment import OffsetRange
from monitor.ingest.corrupt_batch import BlockedPartition, first_readable, is_corrupt
from monitor.ingest.kafka_client import milliseconds, open_consumer, translated_errors
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import CorruptBatch, Poll, Position, Record, Source, TopicPartition
from monitor.ingest.unfolding import StandIn

_SLICE_SECONDS = 0.2
_SLICES = 10
_METADATA_ATTEMPTS = 3


class KafkaReader:
    """
    Reads partitions from any offset; returns a placeholder record for a batch that the client cannot read.

    Args:
        settings: Brokers.

    Attributes:
        positions: Offset to read next of each assigned partition.

    Raises:
        DependencyUnreachable: no broker answers.
        ConfigInvalid: the client refuses its options.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer = open_consumer(settings)
        self._ends: Mapping[TopicPartition, int] = {}
        self.positions: dict[TopicPartition, int] = {}

    def close(self) -> None:
        """Close all connections; safe to call twice."""
        close(self._consumer)

    def topics(self) -> Sequence[str]:
        """Topics that we may see, sorted, without internal ones."""
        with translated_errors(self._settings):
            return sorted(topic for topic in self._consumer.topics() if not topic.startswith("__"))

    def partitions(self, *topics: str) -> Sequence[TopicPartition]:
        """
        Partitions of *topics*, in order.

        Raises:
            DependencyUnreachable: a topic does not exist.
        """
        return [TopicPartition(topic, number) for topic in topics for number in self._numbers(topic)]

    def offset_ranges(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, OffsetRange]:
        """The range of offsets in each of *partitions*."""
        with translated_errors(self._settings):
            return offset_ranges(self._consumer, partitions)

    def offsets_at(self, partitions: Iterable[TopicPartition], moment: float | None) -> Mapping[TopicPartition, int]:
        """Offset of the first record at *moment* (Unix seconds) or later; partitions without one are left out."""
        if moment is None:
            return {}
        with translated_errors(self._settings):
            offsets = self._consumer.offsets_for_times(dict.fromkeys(to_kafka(partitions), milliseconds(moment)))
        return {from_kafka(partition): at.offset for partition, at in offsets.items() if at is not None}

    def start(self, offsets: Mapping[TopicPartition, int], *, ends: Mapping[TopicPartition, int] | None = None) -> None:
        """Read from *offsets*; corrupt batches are skipped at most up to *ends*, by default the ends of the log."""
        self.positions, self._ends = dict(offsets), ends or {}
        self._consumer.assign(to_kafka(offsets))
        for partition, offset in offsets.items():
            self._consumer.seek(KafkaPartition(*partition), offset)

    def fetch(
        self, timeout_seconds: float, *, only: Collection[TopicPartition] | None = None, max_records: int | None = None
    ) -> Sequence[Record]:
        """Records that arrive within *timeout_seconds*, ordered within each partition; only of partitions in *only*."""
        with translated_errors(self._settings):
            if only is not None:
                self._consumer.pause(*to_kafka(self.positions.keys() - set(only)))
                self._consumer.resume(*to_kafka(only))
            try:
                fetched = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds), max_records=max_records)
            except Exception as error:
                if not is_corrupt(error):
                    raise
                return self._skip_corrupt()
            for partition in self.positions:  # not last record + 1, since compaction leaves gaps
                self.positions[partition] = self._consumer.position(KafkaPartition(*partition))
        return [as_record(record) for records in fetched.values() for record in records]

    def last(self, topic: str, records: int) -> Sequence[Record]:
        """The last *records* of *topic*, spread evenly over its partitions, oldest first."""
        ranges = self.offset_ranges(self.partitions(topic))
        filled = {part: offsets for part, offsets in ranges.items() if offsets.beginning < offsets.end}
        per_partition = -(-records // max(1, len(filled)))
        ends = {part: offsets.end for part, offsets in filled.items()}
        starts = {part: max(offsets.beginning, offsets.end - per_partition) for part, offsets in filled.items()}
        self.start(starts, ends=ends)
        fetched: list[Record] = []
        deadline = time.monotonic() + self._settings.request_timeout_seconds
        while time.monotonic() < deadline and any(self.positions[part] < end for part, end in ends.items()):
            fetched += self.fetch(_SLICE_SECONDS)
        last = [record for record in fetched if record.position.offset < ends[record.position.topic_partition]]
        return sorted(last, key=lambda record: (record.timestamp or 0.0, record.position))[-records:]

    def follow(self, topics: Sequence[str], *, from_beginning: bool) -> None:
        """
        Let `fetch` read *topics*, from their ends or from their beginnings.

        Raises:
            DependencyUnreachable: a topic does not exist.
        """
        ranges = self.offset_ranges(self.partitions(*topics))
        self.start({part: offsets.beginning if from_beginning else offsets.end for part, offsets in ranges.items()})

    def _numbers(self, topic: str) -> Sequence[int]:
        with translated_errors(self._settings):
            if numbers := partitions_of(self._consumer, topic):
                return sorted(numbers)
        raise DependencyUnreachable(no_such_topic(self._settings, topic, self.topics()))

    def _skip_corrupt(self) -> Sequence[Record]:
        """Skip corrupt batches, and continue with a new client: the present one may loop over them for ever."""
        ends = {**self._consumer.end_offsets(to_kafka(self.positions)), **self._ends}
        self.close()
        skipped = []
        for partition, offset in sorted(self.positions.items()):
            if offset < ends[partition] and (problem := problem_at(self._settings, partition, offset)):
                end = first_readable(offset, ends[partition], partial(problem_at, self._settings, partition))
                skipped.append(BlockedPartition(partition, offset, problem).skipped(end))
                self.positions[partition] = end
        self._consumer = open_consumer(self._settings)
        self.start(self.positions, ends=self._ends)
        return skipped


def problem_at(settings: KafkaSettings, partition: TopicPartition, offset: int) -> str:
    """
    The client's error on reading the batch at *offset*; empty if it can read it, or if there is none.

    Opens a new client each time, since one that has read a corrupt batch may loop over it for ever.

    Raises:
        DependencyUnreachable: the broker does not answer.
    """
    consumer = open_consumer(settings, max_poll_records=1)
    try:
        consumer.assign(to_kafka([partition]))
        consumer.seek(KafkaPartition(*partition), offset)
        for _ in range(_SLICES):
            if consumer.poll(timeout_ms=milliseconds(_SLICE_SECONDS)):
                return ""
    except Exception as error:
        if is_corrupt(error):
            return f"{type(error).__name__}: {error}"
        with translated_errors(settings):
            raise
    finally:
        close(consumer)
    return ""


def as_record(record: Any) -> Record:
    """Convert a record of kafka-python."""
    value = record.value
    too_large = CorruptBatch(value.next_offset, value.detail, is_too_large=True) if isinstance(value, StandIn) else None
    return Record(
        position=Position(record.topic, record.partition, record.offset),
        key=record.key,
        value=value,
        headers=tuple(record.headers),
        timestamp=record.timestamp / 1_000 if record.timestamp >= 0 else None,
        corrupt_batch=too_large,
    )


def from_kafka(partition: KafkaPartition) -> TopicPartition:
    """Convert a partition of kafka-python."""
    return TopicPartition(partition.topic, partition.partition)


def no_such_topic(settings: KafkaSettings, topic: str, others: Sequence[str]) -> str:
    """Message for a topic that does not exist; lists those that do."""
    existing = f"it has {', '.join(others)}" if others else "it has no topic at all"
    return f"Kafka at {settings.bootstrap_servers} has no topic {topic} ({existing}); create it, or name another."


def to_kafka(partitions: Iterable[TopicPartition]) -> list[KafkaPartition]:
    """Convert partitions to those of kafka-python."""
    return [KafkaPartition(*partition) for partition in partitions]


def partitions_of(consumer: Any, topic: str) -> Collection[int]:
    """Partition numbers of *topic*; empty if it does not exist."""
    # Ask several times: kafka-python may take a response to an earlier metadata request, without the topic, for the
    # answer.
    return next(filter(None, (consumer.partitions_for_topic(topic) for _ in range(_METADATA_ATTEMPTS))), ())


def offset_ranges(
    consumer: Any, partitions: Iterable[TopicPartition], **options: Any
) -> Mapping[TopicPartition, OffsetRange]:
    """The range of offsets in each of *partitions*."""
    wanted = to_kafka(partitions)
    beginnings, ends = consumer.beginning_offsets(wanted, **options), consumer.end_offsets(wanted, **options)
    return {from_kafka(part): OffsetRange(beginnings[part], ends[part]) for part in wanted}


def close(consumer: Any, **options: Any) -> None:
    """Close *consumer*, whatever its state; safe to call twice."""
    with suppress(KafkaError, OSError):
        consumer.close(autocommit=False, **options)


_FULL = 5_000
"""Most records of one partition that are buffered until the other partitions catch up."""


@dataclass(frozen=True, slots=True)
class KafkaRange:
    """
    The records to read.

    Attributes:
        topics: Topics to read.
        since: Time of the first record, Unix seconds; None for the beginning of the topics.
        until: Only records before this time, Unix seconds; None for the present end of the topics.
    """

    topics: Sequence[str]
    since: float | None = None
    until: float | None = None


@dataclass(slots=True)
class _Part:
    """
    State of one partition.

    Attributes:
        start: First offset to read.
        end: Offset at which to stop.
        buffer: Records that no poll has returned yet.
        next_offset: Offset after the last record that a poll returned.
        committed: Next offset in the ledger, or None.
    """

    start: int
    end: int
    buffer: deque[Record] = field(default_factory=deque)
    next_offset: int = 0
    committed: int | None = None


class KafkaRangeSource(Source):
    """
    A `Source` over a range of records; merges partitions by the timestamps of their records, so that time advances.

    Args:
        settings: Brokers.
        kafka_range: The records to read.
        batch_records: Most records per poll.

    Raises:
        DependencyUnreachable: no broker answers, or a topic does not exist.
        ConfigInvalid: the client refuses its options.
    """

    def __init__(self, settings: KafkaSettings, kafka_range: KafkaRange, *, batch_records: int = 500) -> None:
        self._settings = settings
        self._batch_records = batch_records
        self._reader = KafkaReader(settings)
        try:
            self._parts = _parts(self._reader, kafka_range)
        except BaseException:
            self._reader.close()
            raise
        self.rewind()

    def poll(self, timeout_seconds: float) -> Poll:
        del timeout_seconds  # batches are always full, so that a replay does not depend on the brokers' timing
        try:
            records = tuple(islice(self._unread, self._batch_records))
        except BaseException:
            self.rewind()  # a generator that has raised cannot continue
            raise
        polled = Poll(records, at_end=len(records) < self._batch_records)
        for partition, offset in polled.next_offsets.items():
            self._parts[partition].next_offset = offset
        return polled

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        return {partition: part.committed for partition, part in self._parts.items()}

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        for partition, offset in next_offsets.items():
            self._parts[partition].committed = offset

    def rewind(self) -> None:
        for part in self._parts.values():
            part.buffer.clear()
            part.next_offset = part.start if part.committed is None else part.committed
        ends = {partition: part.end for partition, part in self._parts.items()}
        self._reader.start({partition: part.next_offset for partition, part in self._parts.items()}, ends=ends)
        parts = (self._records(partition, part) for partition, part in self._parts.items())
        self._unread = heapq.merge(*parts, key=lambda record: record.timestamp or 0.0)

    def lag(self) -> Mapping[TopicPartition, int]:
        return {partition: max(0, part.end - part.next_offset) for partition, part in self._parts.items()}

    def close(self) -> None:
        self._reader.close()

    def _records(self, partition: TopicPartition, part: _Part) -> Iterator[Record]:
        while part.buffer or self._reader.positions[partition] < part.end:
            if part.buffer:
                yield part.buffer.popleft()
            else:
                self._fetch()

    def _fetch(self) -> None:
        """Fetch records of all partitions whose buffer has room."""
        before, deadline = dict(self._reader.positions), time.monotonic() + self._settings.request_timeout_seconds
        parts = self._parts.items()
        has_room = [partition for partition, p in parts if before[partition] < p.end and len(p.buffer) < _FULL]
        while self._reader.positions == before:
            if time.monotonic() > deadline:
                raise DependencyUnreachable(
                    f"Kafka at {self._settings.bootstrap_servers} gives no more records of the range; "
                    "check that every partition has a leader."
                )
            for record in self._reader.fetch(_SLICE_SECONDS, only=has_room, max_records=_FULL):
                part = self._parts[record.position.topic_partition]
                if record.position.offset < part.end:
                    part.buffer.append(record)


def _parts(reader: KafkaReader, kafka_range: KafkaRange) -> dict[TopicPartition, _Part]:
    ranges = reader.offset_ranges(reader.partitions(*kafka_range.topics))
    since, until = (reader.offsets_at(ranges, moment) for moment in (kafka_range.since, kafka_range.until))
    parts = {}
    for partition, (beginning, end) in ranges.items():
        # A partition without a record at `since` or later is missing from *since*: start at its end.
        start = since.get(partition, beginning if kafka_range.since is None else end)
        parts[partition] = _Part(start, max(start, until.get(partition, end)))
    return parts
