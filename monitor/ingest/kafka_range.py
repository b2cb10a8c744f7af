"""A range of Kafka topics by time, read once from start to end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.errors import DependencyUnreachable
from monitor.ingest.kafka_reader import KafkaReader
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Poll, Record, Source, TopicPartition

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
        records: list[Record] = []
        # Batches are always full: a back-test must not depend on how the brokers answered.
        while len(records) < self._batch_records and not self._is_exhausted():
            self._fill(timeout_seconds)
            records += self._merged(self._batch_records - len(records))
        next_offsets = {record.position.topic_partition: record.next_offset for record in records}
        for partition, offset in next_offsets.items():
            self._parts[partition].next_offset = offset
        return Poll(tuple(records), next_offsets, at_end=self._is_exhausted())

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

    def lag(self) -> Mapping[TopicPartition, int]:
        return {partition: max(0, part.end - part.next_offset) for partition, part in self._parts.items()}

    def close(self) -> None:
        self._reader.close()

    def _unread(self) -> Iterator[tuple[TopicPartition, _Part]]:
        """Partitions of which there is more to read."""
        positions = self._reader.positions
        return ((partition, part) for partition, part in self._parts.items() if positions[partition] < part.end)

    def _is_exhausted(self) -> bool:
        return not any(part.waiting for part in self._parts.values()) and not any(self._unread())

    def _is_short(self) -> bool:
        """Whether the oldest record may still have to come."""
        return any(not part.waiting for _, part in self._unread())

    def _fill(self, timeout_seconds: float) -> None:
        """Read until every partition has records waiting or is read; ask only partitions that have room."""
        waited = 0.0
        while self._is_short():
            before = dict(self._reader.positions)
            has_room = [partition for partition, part in self._unread() if len(part.waiting) < _FULL]
            for record in self._reader.fetch(timeout_seconds, only=has_room, max_records=_FULL):
                part = self._parts[record.position.topic_partition]
                if record.position.offset < part.end:
                    part.waiting.append(record)
            if self._reader.positions == before:
                waited += timeout_seconds
                if waited > self._settings.request_timeout_seconds:
                    raise DependencyUnreachable(
                        f"Kafka at {self._settings.bootstrap_servers} gives no more records of the range; check that "
                        "every partition has a leader."
                    )

    def _merged(self, limit: int) -> Iterator[Record]:
        """Records that wait, the oldest first, as long as none that is older can still come."""
        for _ in range(limit):
            heads = [part.waiting for part in self._parts.values() if part.waiting]
            if not heads or self._is_short():
                return
            yield min(heads, key=lambda waiting: waiting[0].timestamp or 0.0).popleft()


def _parts(reader: KafkaReader, kafka_range: KafkaRange) -> dict[TopicPartition, _Part]:
    held = reader.offset_ranges(reader.partitions(*kafka_range.topics))
    since, until = (reader.offsets_at(held, moment) for moment in (kafka_range.since, kafka_range.until))
    parts = {}
    for partition, (beginning, end) in held.items():
        # Where every record is older, nothing is to be read.
        start = since.get(partition, beginning if kafka_range.since is None else end)
        parts[partition] = _Part(start, max(start, until.get(partition, end)))
    return parts
