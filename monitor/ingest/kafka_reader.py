"""Reads Kafka topics, or ranges of them, without a group: nothing is joined, and no offset is written anywhere."""

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
    Reads partitions from any offset; for a batch that the client cannot read it returns a record that stands for it.

    Args:
        settings: Brokers.

    Attributes:
        positions: Offset to read next of each partition that is read.

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
        """Release connections; safe to call twice."""
        close(self._consumer)

    def topics(self) -> Sequence[str]:
        """Topics that the brokers let us see, in order; their own are left out."""
        with translated_errors(self._settings):
            return sorted(topic for topic in self._consumer.topics() if not topic.startswith("__"))

    def partitions(self, *topics: str) -> Sequence[TopicPartition]:
        """
        Partitions of *topics*, in order.

        Raises:
            DependencyUnreachable: a topic is not there.
        """
        return [TopicPartition(topic, number) for topic in topics for number in self._numbers(topic)]

    def offset_ranges(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, OffsetRange]:
        """Which offsets each of *partitions* holds."""
        with translated_errors(self._settings):
            return offset_ranges(self._consumer, partitions)

    def offsets_at(self, partitions: Iterable[TopicPartition], moment: float | None) -> Mapping[TopicPartition, int]:
        """Offset of the first record at *moment* (Unix seconds) or later; without partitions that hold none."""
        if moment is None:
            return {}
        with translated_errors(self._settings):
            found = self._consumer.offsets_for_times(dict.fromkeys(theirs(partitions), milliseconds(moment)))
        return {ours(each): at.offset for each, at in found.items() if at is not None}

    def start(self, offsets: Mapping[TopicPartition, int], *, ends: Mapping[TopicPartition, int] | None = None) -> None:
        """Read on from *offsets*; *ends* are those before which the reader skips what it cannot read."""
        self.positions, self._ends = dict(offsets), ends or {}
        self._consumer.assign(theirs(offsets))
        for partition, offset in offsets.items():
            self._consumer.seek(KafkaPartition(*partition), offset)

    def fetch(
        self, timeout_seconds: float, *, only: Collection[TopicPartition] | None = None, max_records: int | None = None
    ) -> Sequence[Record]:
        """What comes within *timeout_seconds*, each partition's records in order; those of *only* where it is given."""
        with translated_errors(self._settings):
            if only is not None:
                self._consumer.pause(*theirs(self.positions.keys() - set(only)))
                self._consumer.resume(*theirs(only))
            try:
                fetched = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds), max_records=max_records)
            except Exception as error:
                if not is_corrupt(error):
                    raise
                return self._skip_corrupt()
            for partition in self.positions:  # not the last record's: what compaction took leaves gaps
                self.positions[partition] = self._consumer.position(KafkaPartition(*partition))
        return [as_record(record) for records in fetched.values() for record in records]

    def last(self, topic: str, records: int) -> Sequence[Record]:
        """The last *records* of *topic*, about as many of each partition, oldest first; fewer where it holds fewer."""
        ranges = self.offset_ranges(self.partitions(topic))
        held = {part: offsets for part, offsets in ranges.items() if offsets.beginning < offsets.end}
        each = -(-records // max(1, len(held)))
        ends = {part: offsets.end for part, offsets in held.items()}
        self.start({part: max(offsets.beginning, offsets.end - each) for part, offsets in held.items()}, ends=ends)
        found: list[Record] = []
        deadline = time.monotonic() + self._settings.request_timeout_seconds
        while time.monotonic() < deadline and any(self.positions[part] < end for part, end in ends.items()):
            found += self.fetch(_SLICE_SECONDS)
        found = [record for record in found if record.position.offset < ends[record.position.topic_partition]]
        return sorted(found, key=lambda record: (record.timestamp or 0.0, record.position))[-records:]

    def follow(self, topics: Sequence[str], *, from_beginning: bool) -> None:
        """
        Read *topics* with `fetch` from now on, from their ends or from their beginnings.

        Raises:
            DependencyUnreachable: a topic is not there.
        """
        held = self.offset_ranges(self.partitions(*topics))
        self.start({part: offsets.beginning if from_beginning else offsets.end for part, offsets in held.items()})

    def _numbers(self, topic: str) -> Sequence[int]:
        with translated_errors(self._settings):
            if found := partition_numbers(self._consumer, topic):
                return sorted(found)
        raise DependencyUnreachable(no_such_topic(self._settings, topic, self.topics()))

    def _skip_corrupt(self) -> Sequence[Record]:
        """Go on behind corrupt batches, with another client: this one may loop over them for ever."""
        ends = {**self._consumer.end_offsets(theirs(self.positions)), **self._ends}
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
    What the client says to the batch at *offset*; empty where it reads it, or finds nothing to read.

    With a client of its own each time: one that has met such a batch may loop over it for ever.

    Raises:
        DependencyUnreachable: the broker cannot be asked.
    """
    consumer = open_consumer(settings, max_poll_records=1)
    try:
        consumer.assign(theirs([partition]))
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
    """What kafka-python read, as ours."""
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


def ours(partition: KafkaPartition) -> TopicPartition:
    """A partition of kafka-python, as ours."""
    return TopicPartition(partition.topic, partition.partition)


def no_such_topic(settings: KafkaSettings, topic: str, others: Sequence[str]) -> str:
    """One sentence about a topic that is not there, with those that are."""
    there = f"it has {', '.join(others)}" if others else "it has no topic at all"
    return f"Kafka at {settings.bootstrap_servers} has no topic {topic} ({there}); create it, or name another."


def theirs(partitions: Iterable[TopicPartition]) -> list[KafkaPartition]:
    """Our partitions, as those of kafka-python."""
    return [KafkaPartition(*partition) for partition in partitions]


def partition_numbers(consumer: Any, topic: str) -> Collection[int]:
    """Partitions of *topic*; none where there is no such topic."""
    # An answer that was on its way when the topic was named knows nothing of it, and counts as the answer.
    return next(filter(None, (consumer.partitions_for_topic(topic) for _ in range(_METADATA_ATTEMPTS))), ())


def offset_ranges(
    consumer: Any, partitions: Iterable[TopicPartition], **options: Any
) -> Mapping[TopicPartition, OffsetRange]:
    """Which offsets each of *partitions* holds."""
    wanted = theirs(partitions)
    beginnings, ends = consumer.beginning_offsets(wanted, **options), consumer.end_offsets(wanted, **options)
    return {ours(each): OffsetRange(beginnings[each], ends[each]) for each in wanted}


def close(consumer: Any, **options: Any) -> None:
    """Release the connections of *consumer*, whatever state it is in; safe to call twice."""
    with suppress(KafkaError, OSError):
        consumer.close(autocommit=False, **options)


_FULL = 5_000
"""Records of one partition that wait for those of the others."""


@dataclass(frozen=True, slots=True)
class KafkaRange:
    """
    Which records are read.

    Attributes:
        topics: Where from.
        since: Unix seconds of the first record; None for the beginning.
        until: Unix seconds that no record reaches; None for the end of the topics as they are now.
    """

    topics: Sequence[str]
    since: float | None = None
    until: float | None = None


@dataclass(slots=True)
class _Part:
    """One partition: from *start* to before *end*, records that wait, and how far they were handed on."""

    start: int
    end: int
    waiting: deque[Record] = field(default_factory=deque)
    next_offset: int = 0
    committed: int | None = None


class KafkaRangeSource(Source):
    """
    A `Source` over a range; partitions are merged by the time of their records, so that event time goes forward.

    Args:
        settings: Brokers.
        kafka_range: What is read.
        batch_records: Records per poll at most.

    Raises:
        DependencyUnreachable: no broker answers, or a topic is not there.
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
        del timeout_seconds  # batches are always full: a back-test must not depend on how the brokers answered
        try:
            records = tuple(islice(self._unread, self._batch_records))
        except BaseException:
            self.rewind()  # a generator that raised is over
            raise
        next_offsets = {record.position.topic_partition: record.next_offset for record in records}
        for partition, offset in next_offsets.items():
            self._parts[partition].next_offset = offset
        return Poll(records, next_offsets, at_end=len(records) < self._batch_records)

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        return {partition: part.committed for partition, part in self._parts.items()}

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        for partition, offset in next_offsets.items():
            self._parts[partition].committed = offset

    def rewind(self) -> None:
        for part in self._parts.values():
            part.waiting.clear()
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
        while part.waiting or self._reader.positions[partition] < part.end:
            if part.waiting:
                yield part.waiting.popleft()
            else:
                self._fetch()

    def _fetch(self) -> None:
        """Read on, in all partitions that have room."""
        before, deadline = dict(self._reader.positions), time.monotonic() + self._settings.request_timeout_seconds
        parts = self._parts.items()
        has_room = [each for each, part in parts if before[each] < part.end and len(part.waiting) < _FULL]
        while self._reader.positions == before:
            if time.monotonic() > deadline:
                raise DependencyUnreachable(
                    f"Kafka at {self._settings.bootstrap_servers} gives no more records of the range; "
                    "check that every partition has a leader."
                )
            for record in self._reader.fetch(_SLICE_SECONDS, only=has_room, max_records=_FULL):
                part = self._parts[record.position.topic_partition]
                if record.position.offset < part.end:
                    part.waiting.append(record)


def _parts(reader: KafkaReader, kafka_range: KafkaRange) -> dict[TopicPartition, _Part]:
    held = reader.offset_ranges(reader.partitions(*kafka_range.topics))
    since, until = (reader.offsets_at(held, moment) for moment in (kafka_range.since, kafka_range.until))
    parts = {}
    for partition, (beginning, end) in held.items():
        # Where every record is older, nothing is to be read.
        start = since.get(partition, beginning if kafka_range.since is None else end)
        parts[partition] = _Part(start, max(start, until.get(partition, end)))
    return parts
