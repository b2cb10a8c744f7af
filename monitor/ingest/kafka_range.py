"""A range of Kafka topics by time, read once from start to end: no group, nothing committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from monitor.errors import DependencyUnreachable
from monitor.ingest.corrupt_batch import is_corrupt
from monitor.ingest.kafka import as_record
from monitor.ingest.kafka_client import groupless_consumer, milliseconds, translated_errors
from monitor.ingest.kafka_probe import read_past
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Poll, Record, TopicPartition

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
    read_to: int = 0
    next_offset: int = 0
    committed: int | None = None

    @property
    def is_read(self) -> bool:
        return self.read_to >= self.end


class KafkaRangeSource:
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
        with translated_errors(settings):
            self._consumer: Any = groupless_consumer(settings)
            try:
                self._parts = self._find_parts(kafka_range)
            except BaseException:
                self._consumer.close()
                raise
        self._go_back()

    def poll(self, timeout_seconds: float) -> Poll:
        records: list[Record] = []
        # Batches are always full: a back-test must not depend on how the brokers answered.
        while len(records) < self._batch_records and not self._is_exhausted():
            self._fill(timeout_seconds)
            records += self._merged(self._batch_records - len(records))
        for record in records:
            self._parts[record.position.topic_partition].next_offset = record.next_offset
        handed_on = {record.position.topic_partition for record in records}
        return Poll(
            records=tuple(records),
            next_offsets={partition: self._parts[partition].next_offset for partition in handed_on},
            at_end=self._is_exhausted(),
        )

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        return {partition: part.committed for partition, part in self._parts.items()}

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        for partition, offset in next_offsets.items():
            self._parts[partition].committed = offset

    def rewind(self) -> None:
        self._go_back()

    def lag(self) -> Mapping[TopicPartition, int]:
        return {partition: max(0, part.end - part.next_offset) for partition, part in self._parts.items()}

    def blocked(self) -> str:
        return ""

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, OSError):
                consumer.close(autocommit=False)

    def _find_parts(self, kafka_range: KafkaRange) -> dict[TopicPartition, _Part]:
        wanted: list[KafkaPartition] = []
        for topic in kafka_range.topics:
            partitions = self._consumer.partitions_for_topic(topic)
            if not partitions:
                raise DependencyUnreachable(
                    f"Kafka at {self._settings.bootstrap_servers} has no topic {topic}; check its name."
                )
            wanted += [KafkaPartition(topic, partition) for partition in sorted(partitions)]
        self._consumer.assign(wanted)
        ends = self._consumer.end_offsets(wanted)
        starts = self._consumer.beginning_offsets(wanted)
        if kafka_range.since is not None:
            # None: every record is older, and nothing is to be read.
            starts = {p: ends[p] if at is None else at for p, at in self._offsets_at(wanted, kafka_range.since).items()}
        if kafka_range.until is not None:
            ends = {p: ends[p] if at is None else at for p, at in self._offsets_at(wanted, kafka_range.until).items()}
        return {TopicPartition(p.topic, p.partition): _Part(starts[p], max(starts[p], ends[p])) for p in wanted}

    def _offsets_at(self, wanted: Sequence[KafkaPartition], moment: float) -> Mapping[KafkaPartition, int | None]:
        found = self._consumer.offsets_for_times({partition: milliseconds(moment) for partition in wanted})
        return {p: None if found.get(p) is None else found[p].offset for p in wanted}

    def _go_back(self) -> None:
        for partition, part in self._parts.items():
            part.waiting.clear()
            part.read_to = part.next_offset = part.start if part.committed is None else part.committed
            self._consumer.seek(KafkaPartition(*partition), part.read_to)

    def _is_exhausted(self) -> bool:
        return all(part.is_read and not part.waiting for part in self._parts.values())

    def _fill(self, timeout_seconds: float) -> None:
        """Read until every partition has records waiting or is read; ask only partitions that have room."""
        waited = 0.0
        while any(not part.is_read and not part.waiting for part in self._parts.values()):
            if not self._fetch(timeout_seconds):
                waited += timeout_seconds
                if waited > self._settings.request_timeout_seconds:
                    raise DependencyUnreachable(
                        f"Kafka at {self._settings.bootstrap_servers} gives no more records of the range; check that "
                        "every partition has a leader."
                    )

    def _fetch(self, timeout_seconds: float) -> bool:
        """Whether anything moved."""
        has_room = {p for p, part in self._parts.items() if not part.is_read and len(part.waiting) < _FULL}
        before = {partition: self._parts[partition].read_to for partition in has_room}
        with translated_errors(self._settings):
            self._consumer.pause(*(KafkaPartition(*p) for p in self._parts if p not in has_room))
            self._consumer.resume(*(KafkaPartition(*p) for p in has_room))
            try:
                fetched = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds), max_records=_FULL)
            except Exception as error:
                if not is_corrupt(error):
                    raise
                return self._pass_over()
            for kafka_partition, records in fetched.items():
                part = self._parts[TopicPartition(kafka_partition.topic, kafka_partition.partition)]
                part.waiting.extend(as_record(record) for record in records if record.offset < part.end)
            for partition in has_room:  # not the last record's: what compaction took leaves gaps
                self._parts[partition].read_to = self._consumer.position(KafkaPartition(*partition))
        return any(self._parts[partition].read_to > at for partition, at in before.items())

    def _pass_over(self) -> bool:
        to_read = {partition: (part.read_to, part.end) for partition, part in self._parts.items()}
        self._consumer, records = read_past(self._settings, self._consumer, to_read)
        for record in records:
            part = self._parts[record.position.topic_partition]
            part.waiting.append(record)
            part.read_to = record.next_offset
        return bool(records)

    def _merged(self, limit: int) -> Iterator[Record]:
        """Records that wait, the oldest first, as long as none that is older can still come."""
        for _ in range(limit):
            if any(not part.is_read and not part.waiting for part in self._parts.values()):
                return
            heads = [part.waiting for part in self._parts.values() if part.waiting]
            if not heads:
                return
            yield min(heads, key=lambda waiting: waiting[0].timestamp or 0.0).popleft()
