"""Corrupt batches, which the client cannot read: unlike an outage, they are retried a few times and then skipped."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace

from kafka.errors import CorruptRecordError, KafkaError, UnsupportedCodecError

from monitor.ingest.source import CorruptBatch, Position, Record, TopicPartition

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class BlockedPartition:
    """
    A partition that is blocked by a corrupt batch.

    Attributes:
        partition: Topic and partition.
        offset: Offset at which reading stopped.
        problem: Error of the client.
        tries: Failed tries so far.
        retry_at: Time of the next try, monotonic seconds.
    """

    partition: TopicPartition
    offset: int
    problem: str = ""
    tries: int = 0
    retry_at: float = 0.0

    def tried(self, problem: str, *, now: float) -> BlockedPartition:
        """State after another try that failed at *now* (monotonic seconds)."""
        pause = min(_FIRST_RETRY_SECONDS * 2.0**self.tries, _LONGEST_RETRY_SECONDS)
        return replace(self, problem=problem, tries=self.tries + 1, retry_at=now + pause)

    def skipped(self, end: int) -> Record:
        """Placeholder record for all offsets from here up to, not including, *end*."""
        corrupt = CorruptBatch(end, f"offsets {self.offset} to {end - 1} cannot be read: {self.problem}")
        return Record(Position(*self.partition, self.offset), key=None, value=None, corrupt_batch=corrupt)

    def sentence(self, limit: int) -> str:
        """One sentence: which partition is blocked, why, and what happens next."""
        topic, partition = self.partition
        outlook = f"skipped after {limit} tries" if limit else "it waits, since kafka.unreadable_tries is 0"
        return f"{topic}[{partition}] cannot be read at offset {self.offset} ({self.problem}); {outlook}."


def is_corrupt(error: Exception) -> bool:
    """
    Whether *error* means that the fetched data is corrupt, rather than that the broker is unreachable.

    A missing library for a codec is not corruption: the data is good, and must not be skipped.
    """
    if isinstance(error, UnsupportedCodecError):
        return "not found" not in str(error)
    if isinstance(error, KafkaError):
        return isinstance(error, CorruptRecordError)
    return isinstance(error, gzip.BadGzipFile) or not isinstance(error, OSError)


def first_readable(offset: int, end: int, problem_at: Callable[[int], str]) -> int:
    """
    The first offset after *offset* that can be read, or *end* if there is none.

    All offsets of a batch fail alike, so a galloping and a binary search find its end: about twenty tries for a hundred
    thousand records. Adjacent corrupt batches are skipped as one.

    Args:
        offset: An offset that cannot be read.
        end: End of the log.
        problem_at: Returns the error on reading from an offset; empty if it can be read.

    >>> first_readable(5, 1_000, lambda offset: "bad" if offset < 18 else "")
    18
    """
    bad, step = offset, 1
    while bad + step < end and problem_at(bad + step):
        bad, step = bad + step, 2 * step
    good = min(bad + step, end)
    while good - bad > 1:
        middle = (bad + good) // 2
        if problem_at(middle):
            bad = middle
        else:
            good = middle
    return good
