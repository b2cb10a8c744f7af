"""Tracks the assigned partitions and their offsets, without talking to Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from monitor.ingest.settings import StartAt
from monitor.ingest.source import TopicPartition


@dataclass(frozen=True, slots=True)
class AssignedPartition:
    """
    A partition that is assigned to us and whose offset was read from the ledger.

    Attributes:
        ledger_offset: Next offset in the ledger; None if it has no row.
        next_offset: The offset at which reading started, or the last one committed.
        log_end: End of the log when reading started.
    """

    ledger_offset: int | None
    next_offset: int
    log_end: int


class OffsetRange(NamedTuple):
    """Offsets in a partition's log: from *beginning* up to, not including, *end*."""

    beginning: int
    end: int


def starting_offset(ledger_offset: int | None, log: OffsetRange, start: StartAt) -> int:
    """
    Where to start reading: at the ledger's offset if the log still has it, else at the log's beginning.

    An offset below the log's range means that retention deleted records; one above it that the topic was recreated.
    """
    if ledger_offset is None:
        return log.end if start is StartAt.LATEST else log.beginning
    return ledger_offset if log.beginning <= ledger_offset <= log.end else log.beginning


class Assignment:
    """
    The partitions of this consumer: first assigned, then owned (their offset is known), finally revoked.

    Attributes:
        unread: Assigned partitions whose offset has yet to be read from the ledger.
        owned: Partitions whose records may be returned and committed.
    """

    def __init__(self) -> None:
        self.unread: set[TopicPartition] = set()
        self.owned: dict[TopicPartition, AssignedPartition] = {}
        self._first_offsets: dict[TopicPartition, int] = {}

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Add assigned partitions; their offsets must be read from the ledger, even if they were known before."""
        for partition in partitions:
            self.owned.pop(partition, None)
            self.unread.add(partition)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Remove revoked partitions."""
        for partition in partitions:
            self.owned.pop(partition, None)
            self.unread.discard(partition)
            self._first_offsets.pop(partition, None)

    def begin(
        self, partition: TopicPartition, ledger_offset: int | None, *, log: OffsetRange, start: StartAt
    ) -> AssignedPartition:
        """Mark the partition as owned; start to read it at the returned `next_offset`."""
        next_offset = starting_offset(ledger_offset, log, start)
        if ledger_offset is None:
            # Until the ledger has a row, "latest" must stay at the first end seen, or a failed batch would be lost.
            next_offset = self._first_offsets.setdefault(partition, next_offset)
        self.unread.discard(partition)
        self.owned[partition] = AssignedPartition(ledger_offset, next_offset, log.end)
        return self.owned[partition]

    def commit(self, next_offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Record committed offsets; returns those of partitions that are still owned."""
        owned = {partition: offset for partition, offset in next_offsets.items() if partition in self.owned}
        for partition, offset in owned.items():
            self.owned[partition] = AssignedPartition(offset, offset, self.owned[partition].log_end)
        return owned

    def rewind(self) -> None:
        """Mark every owned partition as unread, so that its offset is read from the ledger again."""
        self.unread.update(self.owned)
        self.owned.clear()
