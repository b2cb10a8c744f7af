"""The interface of a source of records, and the types that it returns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from msgspec import Struct


class TopicPartition(NamedTuple):
    """One ordered log of records: a Kafka topic-partition, or a file as partition 0 of a topic named by its path."""

    topic: str
    partition: int


class Position(NamedTuple):
    """Position of a record: unique within a Kafka cluster or a set of files."""

    topic: str
    partition: int
    offset: int

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class Oversize:
    """Length in bytes and hash (hex) of a value that was too large to load into memory."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CorruptBatch:
    """
    A range of records that the client cannot read, or does not decompress because they are too large.

    Attributes:
        next_offset: Offset of the first record after it.
        detail: Which offsets, and why, for a person.
        is_too_large: Whether it would decompress to more than the limit.
    """

    next_offset: int
    detail: str
    is_too_large: bool = False


class Record(Struct, frozen=True, gc=False):
    """
    One record, undecoded.

    Attributes:
        position: Topic, partition and offset (for a file: its path, 0 and the line index from 0).
        key: Record key, or None.
        value: Payload, or None for a tombstone and for a value that was too large to load.
        headers: Pairs of header name and value.
        timestamp: Unix seconds when the record was written, or None if the source does not know.
        oversize: Set if the value was too large to load.
        corrupt_batch: Set if this is a placeholder for a range of offsets that cannot be read.
    """

    position: Position
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: float | None = None
    oversize: Oversize | None = None
    corrupt_batch: CorruptBatch | None = None

    @property
    def next_offset(self) -> int:
        """Offset to read next."""
        return self.position.offset + 1 if self.corrupt_batch is None else self.corrupt_batch.next_offset

    @property
    def size_bytes(self) -> int:
        """Length of the value as it was written, in bytes; 0 for a tombstone."""
        return self.oversize.size_bytes if self.oversize else len(self.value or b"")

    @property
    def sha256(self) -> str:
        """Hash of the value as it was written (hex)."""
        return self.oversize.sha256 if self.oversize else hashlib.sha256(self.value or b"").hexdigest()


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """A record that can never be processed: the *reason*, a `DropReason`, and *detail* for a person."""

    record: Record
    reason: str
    detail: str = ""

    @property
    def facts(self) -> dict[str, str | int]:
        """Position, reason, hash and size, which are stored in place of its bytes."""
        record = self.record
        cause = {"reason": self.reason, "detail": self.detail}
        return {**record.position._asdict(), **cause, "sha256": record.sha256, "size_bytes": record.size_bytes}


@dataclass(frozen=True)
class Poll:
    """
    The result of one poll.

    Attributes:
        records: Records of all partitions, in offset order within each partition.
        at_end: Whether the source is exhausted; a live topic never is.
    """

    records: tuple[Record, ...] = ()
    at_end: bool = False

    @cached_property
    def next_offsets(self) -> Mapping[TopicPartition, int]:
        """For each partition with records, the offset to read next."""
        last = {record.position[:2]: record for record in self.records}
        return {TopicPartition(*partition): record.next_offset for partition, record in last.items()}


LedgerOffsets = Callable[[Collection[TopicPartition]], Mapping[TopicPartition, int]]
"""Returns the next offsets in the ledger; partitions that it has no offset of are left out."""


class Source(Protocol):
    """
    A stream of records that can be read again from the ledger's offsets.

    `FileSource` and `KafkaSource` pass the same contract suite (tests/contracts/source_contract.py).
    """

    def poll(self, timeout_seconds: float) -> Poll:
        """Wait at most *timeout_seconds* for records; returns an empty `Poll` if none arrive."""

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        """Partitions owned now, each with the ledger's next offset as last read or committed (None: no offset)."""

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Record the offsets that the ledger has committed; a Kafka source also commits them for lag tools."""

    def rewind(self) -> None:
        """Discard what was polled and not committed, and read again from the ledger's offsets."""

    def lag(self) -> Mapping[TopicPartition, int]:
        """Records between the next offset and the end of each owned partition, if known."""
        return {}

    def blocked(self) -> str:
        """One sentence if a partition is blocked by a corrupt batch, else empty."""
        return ""

    def close(self) -> None:
        """Leave the group and close sockets or files; safe to call twice."""
