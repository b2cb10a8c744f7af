"""Model versions never met before: what stands before their first request is recorded before it is tagged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from monitor.ingest.source import Record, TopicPartition
from monitor.ledger.labels import most_versions
from monitor.ledger.settings import LedgerSettings
from monitor.trace.model import REFERENCE_ENVIRONMENT, UNRESOLVED, Trace


class Version(NamedTuple):
    """A model version of one service and environment."""

    service: str
    environment: str
    model_version: str


class Newcomers:
    """
    Live versions that are met for the first time; history has none, since nothing is judged there.

    A version over the caps is no newcomer: the ledger counts it as `other`, and nobody judges it. So hostile names,
    however many, are no more newcomers than there are places.

    Args:
        known: Versions met before.
        caps: How many versions and services the ledger tells apart.
    """

    def __init__(self, known: Iterable[Version], caps: LedgerSettings) -> None:
        self._caps = caps
        self._most = most_versions(caps)
        self._met: set[Version] = set()
        self._places: Counter[tuple[str, str]] = Counter()
        for version in known:
            self._take(version)

    def among(self, traces: Iterable[Trace]) -> frozenset[Version]:
        """Versions of *traces* that are live, were never met and have a place."""
        versions = {(trace.service, trace.environment, trace.model_version) for trace in traces}
        new = (Version(*version) for version in versions - self._met)
        return frozenset(
            each
            for each in new
            if each.environment != REFERENCE_ENVIRONMENT and each.model_version != UNRESOLVED and self._has_place(each)
        )

    def meet(self, versions: Iterable[Version]) -> None:
        """From now on *versions* are known, as far as there are places."""
        for version in sorted(versions):
            if self._has_place(version):
                self._take(version)

    def _has_place(self, version: Version) -> bool:
        taken = self._places.get(version[:2], 0)
        within = taken < self._caps.max_model_versions if taken else len(self._places) < self._caps.max_services
        return within and len(self._met) < self._most

    def _take(self, version: Version) -> None:
        if version not in self._met:
            self._met.add(version)
            self._places[version[:2]] += 1


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
