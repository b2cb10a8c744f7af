"""One look at one offset, apart from the group: can it be read?"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import KafkaError

from monitor.ingest.kafka_client import client_options, milliseconds, translated_errors
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Record, TopicPartition
from monitor.ingest.unreadable import first_readable, held_up, is_unreadable

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
        consumer = KafkaConsumer(
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
        if is_unreadable(error):
            return f"{type(error).__name__}: {error}"
        with translated_errors(settings):
            raise
    finally:
        with suppress(KafkaError, OSError):
            consumer.close(autocommit=False)
    return ""


def passed_over(settings: KafkaSettings, to_read: Mapping[TopicPartition, tuple[int, int]]) -> list[Record]:
    """
    What stands for that which cannot be read, for a reader who is told at once and does not try again.

    Args:
        settings: Brokers.
        to_read: Next offset of each partition, and the offset before which reading ends.

    Returns:
        A record for each partition that begins with something unreadable.

    Raises:
        DependencyUnreachable: the broker cannot be asked.
    """
    found = []
    for partition, (offset, end) in sorted(to_read.items()):
        if offset < end and (problem := problem_at(settings, partition, offset)):
            good = first_readable(offset, end, lambda at, of=partition: problem_at(settings, of, at))  # type: ignore[misc]
            found.append(held_up(partition, offset, problem, now=0.0).passed_over(good))
    return found
