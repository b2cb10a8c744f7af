"""Model versions never met before: what stands before their first request is recorded before it is tagged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from monitor.ingest.source import Record, TopicPartition
from monitor.trace.model import REFERENCE_ENVIRONMENT, Trace


class Version(NamedTuple):
    """A model version of one service and environment."""

    service: str
    environment: str
    model_version: str


class Newcomers:
    """
    Live versions that are met for the first time; history has none, since nothing is judged there.

    Args:
        known: Versions met before.
    """

    def __init__(self, known: Iterable[Version]) -> None:
        self._met = set(known)

    def among(self, traces: Iterable[Trace]) -> frozenset[Version]:
        """Versions of *traces* that are live and were never met."""
        versions = {
            Version(trace.service, trace.environment, trace.model_version)
            for trace in traces
            if trace.environment != REFERENCE_ENVIRONMENT
        }
        return frozenset(versions - self._met)

    def meet(self, versions: Iterable[Version]) -> None:
        """From now on *versions* are known."""
        self._met.update(versions)


def split_before(
    records: Sequence[Record], is_first: Callable[[Record], bool]
) -> tuple[Sequence[Record], Sequence[Record]]:
    """
    What stands before the first such record of its partition, and the rest; both keep their order.

    Only within a partition do records have an order, so a partition without such a record comes before all the others.
    """
    before: list[Record] = []
    rest: list[Record] = []
    begun: set[TopicPartition] = set()
    for record in records:
        partition = record.position.topic_partition
        if partition not in begun and is_first(record):
            begun.add(partition)
        (rest if partition in begun else before).append(record)
    return before, rest


def fronts(records: Iterable[Record]) -> Sequence[Record]:
    """The first record of each partition."""
    first: dict[TopicPartition, Record] = {}
    for record in records:
        first.setdefault(record.position.topic_partition, record)
    return list(first.values())
