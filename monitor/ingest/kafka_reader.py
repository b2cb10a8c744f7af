"""Reads Kafka topics without a group: nothing is joined, and no offset is written anywhere."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from monitor.errors import DependencyUnreachable
from monitor.ingest.assignment import OffsetRange
from monitor.ingest.corrupt_batch import BlockedPartition, first_readable, is_corrupt
from monitor.ingest.kafka_client import milliseconds, open_consumer, translated_errors
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import CorruptBatch, Position, Record, TopicPartition
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
