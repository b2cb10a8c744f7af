"""Records of Kafka topics for somebody who only looks: no group is joined and no offset is written anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from monitor.errors import DependencyUnreachable
from monitor.ingest.corrupt_batch import is_corrupt
from monitor.ingest.kafka import as_record
from monitor.ingest.kafka_client import groupless_consumer, milliseconds, translated_errors
from monitor.ingest.kafka_probe import read_past
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Record, TopicPartition

_SLICE_SECONDS = 0.2
_METADATA_ATTEMPTS = 3


class KafkaPeek:
    """
    A reader of topics that leaves no trace: a context manager that closes its connections.

    Args:
        settings: Brokers.

    Raises:
        DependencyUnreachable: no broker answers.
        ConfigInvalid: the client refuses its options.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        with translated_errors(settings):
            self._consumer: Any = groupless_consumer(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(KafkaError, OSError):
            self._consumer.close(autocommit=False)

    def topics(self) -> Sequence[str]:
        """Topics that the brokers let us see, in order; their own are left out."""
        with translated_errors(self._settings):
            return sorted(topic for topic in self._consumer.topics() if not topic.startswith("__"))

    def partitions(self, topic: str) -> Sequence[int]:
        """Partitions of *topic*, in order; none where there is no such topic."""
        with translated_errors(self._settings):
            # An answer that was on its way when the topic was named knows nothing of it, and counts as the answer.
            for _ in range(_METADATA_ATTEMPTS):
                if found := self._consumer.partitions_for_topic(topic):
                    return sorted(found)
        return []

    def ends(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """First offset and next offset of each partition of *topic*."""
        wanted = [KafkaPartition(topic, partition) for partition in self.partitions(topic)]
        if not wanted:
            return {}
        with translated_errors(self._settings):
            beginnings, ends = self._consumer.beginning_offsets(wanted), self._consumer.end_offsets(wanted)
        return {partition.partition: (beginnings[partition], ends[partition]) for partition in wanted}

    def last(self, topic: str, records: int) -> Sequence[Record]:
        """The last *records* of *topic*, about as many of each partition, oldest first; fewer where it holds fewer."""
        ranges = {number: ends for number, ends in self.ends(topic).items() if ends[0] < ends[1]}
        if not ranges:
            return []
        each = max(1, -(-records // len(ranges)))
        wanted = {number: max(first, following - each) for number, (first, following) in ranges.items()}
        self._consumer.assign([KafkaPartition(topic, number) for number in wanted])
        for number, offset in wanted.items():
            self._consumer.seek(KafkaPartition(topic, number), offset)
        found = self._read_to({KafkaPartition(topic, number): ranges[number][1] for number in wanted})
        return sorted(found, key=lambda record: (record.timestamp or 0.0, record.position))[-records:]

    def follow(self, topics: Sequence[str], *, from_beginning: bool) -> None:
        """
        Read *topics* with `poll` from now on, from their ends or from their beginnings.

        Raises:
            DependencyUnreachable: a topic is not there.
        """
        wanted = []
        for topic in topics:
            partitions = self.partitions(topic)
            if not partitions:
                raise DependencyUnreachable(no_such_topic(self._settings, topic, self.topics()))
            wanted += [KafkaPartition(topic, partition) for partition in partitions]
        self._consumer.assign(wanted)
        with translated_errors(self._settings):
            offsets = self._consumer.beginning_offsets(wanted) if from_beginning else self._consumer.end_offsets(wanted)
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """What came within *timeout_seconds*, oldest first."""
        return sorted(self._fetch(timeout_seconds), key=lambda record: record.timestamp or 0.0)

    def _read_to(self, ends: Mapping[KafkaPartition, int]) -> list[Record]:
        """Everything from where the partitions stand to before *ends*, or what came until the brokers fell silent."""
        found: list[Record] = []
        deadline = time.monotonic() + self._settings.request_timeout_seconds
        with translated_errors(self._settings):
            while time.monotonic() < deadline and any(self._consumer.position(p) < end for p, end in ends.items()):
                found += self._fetch(_SLICE_SECONDS)
        return [record for record in found if record.position.offset < ends[KafkaPartition(*record.position[:2])]]

    def _fetch(self, timeout_seconds: float) -> Sequence[Record]:
        """What came; for a batch that the client cannot read, a record that stands for it."""
        with translated_errors(self._settings):
            try:
                fetched = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds))
            except Exception as error:
                if not is_corrupt(error):
                    raise
                return self._pass_over()
        return [as_record(record) for part in fetched.values() for record in part]

    def _pass_over(self) -> Sequence[Record]:
        assigned = list(self._consumer.assignment())
        ends = self._consumer.end_offsets(assigned)
        to_read = {TopicPartition(*each): (self._consumer.position(each), ends[each]) for each in assigned}
        self._consumer, records = read_past(self._settings, self._consumer, to_read)
        return records


def no_such_topic(settings: KafkaSettings, topic: str, others: Sequence[str]) -> str:
    """One sentence about a topic that is not there, with those that are."""
    there = f"it has {', '.join(others)}" if others else "it has no topic at all"
    return f"Kafka at {settings.bootstrap_servers} has no topic {topic} ({there}); create it or mend kafka.topics."
