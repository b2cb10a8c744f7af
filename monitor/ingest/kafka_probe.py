"""One look at one offset, apart from the group: can it be read?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from monitor.ingest.corrupt_batch import blocked_at, first_readable, is_corrupt
from monitor.ingest.kafka_client import client_options, groupless_consumer, milliseconds, translated_errors
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Record, TopicPartition
from monitor.ingest.unfolding import BoundedConsumer

_SLICE_SECONDS = 0.2
_SLICES = 10


def problem_at(settings: KafkaSettings, partition: TopicPartition, offset: int) -> str:
    """
    What the client says to the batch at *offset*; empty where it reads it, or finds nothing to read.

    With a client of its own each time: one that has met such a batch may loop over it for ever.

    Raises:
        DependencyUnreachable: the broker cannot be asked.
    """
    at = KafkaPartition(*partition)
    with translated_errors(settings):
        consumer = BoundedConsumer(
            max_batch_bytes=settings.max_batch_bytes,
            **client_options(settings),
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            max_poll_records=1,
        )
    try:
        consumer.assign([at])
        consumer.seek(at, offset)
        for _ in range(_SLICES):
            if consumer.poll(timeout_ms=milliseconds(_SLICE_SECONDS)):
                return ""
    except Exception as error:
        if is_corrupt(error):
            return f"{type(error).__name__}: {error}"
        with translated_errors(settings):
            raise
    finally:
        with suppress(KafkaError, OSError):
            consumer.close(autocommit=False)
    return ""


def read_past(
    settings: KafkaSettings, consumer: Any, to_read: Mapping[TopicPartition, tuple[int, int]]
) -> tuple[Any, list[Record]]:
    """
    Go on behind what *consumer* cannot read, for a reader who is told at once and does not try again.

    Args:
        settings: Brokers.
        consumer: A client without a group that has met such a batch; it is closed, since it may loop over it for ever.
        to_read: Next offset of each of its partitions, and the offset before which reading ends.

    Returns:
        Another client that stands behind it, and a record that stands for it in each partition that began with it.

    Raises:
        DependencyUnreachable: the broker cannot be asked.
    """
    with suppress(KafkaError, OSError):
        consumer.close(autocommit=False)
    next_offsets, records = {}, []
    for partition, (offset, end) in sorted(to_read.items()):
        next_offsets[partition] = offset
        if offset < end and (problem := problem_at(settings, partition, offset)):
            good = first_readable(offset, end, lambda at, of=partition: problem_at(settings, of, at))  # type: ignore[misc]
            records.append(blocked_at(partition, offset, problem, now=0.0).skipped(good))
            next_offsets[partition] = good
    another = groupless_consumer(settings)
    another.assign([KafkaPartition(*partition) for partition in next_offsets])
    for partition, offset in next_offsets.items():
        another.seek(KafkaPartition(*partition), offset)
    return another, records
