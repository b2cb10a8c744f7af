"""Which partitions are ours, and from which offset on: the bookkeeping of a consumer, without the consumer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from monitor.ingest.settings import StartAt
from monitor.ingest.source import TopicPartition


@dataclass(frozen=True, slots=True)
class AssignedPartition:
    """
    A partition that is ours and whose offset was read from the ledger.

    Attributes:
        ledger_offset: Next offset as the ledger holds it; None where it has no row.
        next_offset: Where reading began, or the offset committed last.
        log_end: End of the log when reading began.
    """

    ledger_offset: int | None
    next_offset: int
    log_end: int


class OffsetRange(NamedTuple):
    """Offsets that a partition holds: from *beginning* up to, not including, *end*."""

    beginning: int
    end: int


def starting_offset(ledger_offset: int | None, log: OffsetRange, start: StartAt) -> int:
    """
    Where to read on: at the ledger's offset while the log still has it, else at the log's beginning.

    An offset below the log's range means that retention was faster than we; one above it that the topic was made anew.
    """
    if ledger_offset is None:
        return log.end if start is StartAt.LATEST else log.beginning
    return ledger_offset if log.beginning <= ledger_offset <= log.end else log.beginning


class Assignment:
    """Partitions on their way from assigned, over read from the ledger, to revoked."""

    def __init__(self) -> None:
        self._unread: set[TopicPartition] = set()
        self._owned: dict[TopicPartition, AssignedPartition] = {}
        self._first_offsets: dict[TopicPartition, int] = {}

    @property
    def unread(self) -> frozenset[TopicPartition]:
        """Partitions assigned to us whose offset has still to be read from the ledger."""
        return frozenset(self._unread)

    @property
    def owned(self) -> Mapping[TopicPartition, AssignedPartition]:
        """Partitions whose records may be returned and committed."""
        return self._owned

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions that are ours from now on, once their offset is read; what was known of them is forgotten."""
        for partition in partitions:
            self._owned.pop(partition, None)
            self._unread.add(partition)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions that are no longer ours."""
        for partition in partitions:
            self._owned.pop(partition, None)
            self._unread.discard(partition)
            self._first_offsets.pop(partition, None)

    def begin(
        self, partition: TopicPartition, ledger_offset: int | None, *, log: OffsetRange, start: StartAt
    ) -> AssignedPartition:
        """The partition as owned from now on, to be read from `next_offset`."""
        next_offset = starting_offset(ledger_offset, log, start)
        if ledger_offset is None:
            # Without a ledger row "latest" must stay where it first was: a batch that failed would be lost otherwise.
            next_offset = self._first_offsets.setdefault(partition, next_offset)
        self._unread.discard(partition)
        self._owned[partition] = AssignedPartition(ledger_offset, next_offset, log.end)
        return self._owned[partition]

    def commit(self, next_offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Remember what the ledger holds now; the part of *next_offsets* that is still ours."""
        ours = {partition: offset for partition, offset in next_offsets.items() if partition in self._owned}
        for partition, offset in ours.items():
            self._owned[partition] = AssignedPartition(offset, offset, self._owned[partition].log_end)
        return ours

    def rewind(self) -> None:
        """Read every partition's offset from the ledger again."""
        self._unread.update(self._owned)
        self._owned.clear()
