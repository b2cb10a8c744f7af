"""Small working stand-ins for the outside world; each passes the contract suite of the real thing."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.ingest.assignment import Assignment, OffsetRange
from monitor.ingest.settings import StartAt
from monitor.ingest.source import LedgerOffsets, Poll, Position, Record, TopicPartition


class FakeBroker:
    """Topic-partitions in memory, shared out evenly among the `FakeSource`s that joined."""

    def __init__(self, topic: str = "agent-traces", partitions: int = 1) -> None:
        self.logs: dict[TopicPartition, list[Record]] = {TopicPartition(topic, p): [] for p in range(partitions)}
        self.members: list[FakeSource] = []
        self.generation = 0

    def append(self, value: bytes | None, partition: int = 0) -> None:
        """Write one record (None: a tombstone) to the end of *partition*."""
        topic_partition = list(self.logs)[partition]
        log = self.logs[topic_partition]
        log.append(Record(Position(*topic_partition, len(log)), key=None, value=value, timestamp=float(len(log))))

    def join(self, member: FakeSource) -> None:
        """Take *member* in; everybody's partitions change."""
        self.members.append(member)
        self.generation += 1

    def leave(self, member: FakeSource) -> None:
        """Let *member* go; everybody's partitions change."""
        if member in self.members:
            self.members.remove(member)
            self.generation += 1

    def share_of(self, member: FakeSource) -> list[TopicPartition]:
        """Partitions of *member* in this generation."""
        return list(self.logs)[self.members.index(member) :: len(self.members)] if member in self.members else []


class FakeSource:
    """A member of a `FakeBroker`'s only group; notices rebalances when it polls, as a Kafka consumer does."""

    def __init__(self, broker: FakeBroker, ledger_offsets: LedgerOffsets, max_poll_records: int = 500) -> None:
        self._broker = broker
        self._ledger_offsets = ledger_offsets
        self._max_poll_records = max_poll_records
        self._assignment = Assignment()
        self._next: dict[TopicPartition, int] = {}
        self._generation = -1
        broker.join(self)

    def poll(self, timeout_seconds: float) -> Poll:
        del timeout_seconds
        self._follow_rebalance()
        self._take_over()
        records: list[Record] = []
        for partition in self._assignment.owned:
            at = self._next[partition]
            if some := self._broker.logs[partition][at : at + self._max_poll_records - len(records)]:
                records += some
                self._next[partition] = at + len(some)
        return Poll(tuple(records))

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        return {partition: owned.ledger_offset for partition, owned in self._assignment.owned.items()}

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        self._assignment.commit(next_offsets)

    def rewind(self) -> None:
        self._assignment.rewind()

    def lag(self) -> Mapping[TopicPartition, int]:
        logs, owned = self._broker.logs, self._assignment.owned
        return {partition: len(logs[partition]) - owned[partition].next_offset for partition in owned}

    def blocked(self) -> str:
        return ""

    def close(self) -> None:
        self._broker.leave(self)
        self._assignment = Assignment()

    def _follow_rebalance(self) -> None:
        if self._generation != self._broker.generation:
            self._generation = self._broker.generation
            self._assignment.revoke(self._broker.logs)
            self._assignment.assign(self._broker.share_of(self))

    def _take_over(self) -> None:
        unread = set(self._assignment.unread)
        offsets = self._ledger_offsets(unread) if unread else {}
        for partition in sorted(unread):
            log = OffsetRange(0, len(self._broker.logs[partition]))
            owned = self._assignment.begin(partition, offsets.get(partition), log=log, start=StartAt.EARLIEST)
            self._next[partition] = owned.next_offset
