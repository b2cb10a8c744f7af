"""A source that generates its records, so that only the service's own work is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from monitor.ingest.source import LedgerOffsets, Poll, Position, Record, TopicPartition

PARTITION = TopicPartition("made-up", 0)


class SyntheticSource:
    """
    One partition that holds *values*, as `monitor.ingest.source.Source` asks for it; it cannot be rewound.

    Args:
        values: Payloads, made as they are polled.
        ledger_offsets: Where the ledger stands.
        batch_records: Records of one poll.
    """

    def __init__(self, values: Iterator[bytes], ledger_offsets: LedgerOffsets, batch_records: int) -> None:
        self._values = values
        self._batch_records = batch_records
        self._ledger_offset: int | None = ledger_offsets([PARTITION]).get(PARTITION)
        self._next = self._ledger_offset or 0

    def poll(self, timeout_seconds: float) -> Poll:
        """The next records, at once."""
        del timeout_seconds
        records = tuple(
            Record(Position(*PARTITION, self._next + number), None, value)
            for number, value in enumerate(islice(self._values, self._batch_records))
        )
        self._next += len(records)
        return Poll(records, at_end=len(records) < self._batch_records)

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        """The one partition."""
        return {PARTITION: self._ledger_offset}

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """The ledger has moved."""
        self._ledger_offset = next_offsets[PARTITION]

    def rewind(self) -> None:
        """Generated records cannot be read again, so a bench with a failed batch is void."""
        raise RuntimeError("A batch was not recorded; run the bench again.")

    def lag(self) -> Mapping[TopicPartition, int]:
        """The number of records to come is unknown."""
        return {}

    def blocked(self) -> str:
        """Never."""
        return ""

    def close(self) -> None:
        """Nothing is held."""
