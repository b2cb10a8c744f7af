"""Model versions that begin: what came before their first request is recorded before that request is tagged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from monitor.ingest.source import TopicPartition
from monitor.ledger.labels import SERIES_OF_VERSION, has_room
from monitor.ledger.settings import LedgerSettings
from monitor.rollout.tracker import VersionKey
from monitor.service.pipeline import DecodedRecord, traces_in
from monitor.trace.model import REFERENCE_ENVIRONMENT, UNRESOLVED, Trace


class SeenVersions:
    """
    Which live versions were seen before; those of history never count as new, since nothing is judged there.

    A version over the caps is not new either: the ledger counts it as `other`, and no verdict is about it. So hostile
    names, however many, are at most as many new versions as the ledger tells apart.

    Args:
        known: Versions seen before.
        caps: How many versions and services the ledger tells apart.
    """

    def __init__(self, known: Iterable[VersionKey], caps: LedgerSettings) -> None:
        self._caps = caps
        self._seen: set[VersionKey] = set()
        self._series: Counter[str] = Counter()
        for version in known:
            self._add(version)

    def new_in(self, traces: Iterable[Trace]) -> frozenset[VersionKey]:
        """Versions of *traces* that are live, were never seen and have a place."""
        new = {(trace.service, trace.environment, trace.model_version) for trace in traces} - self._seen
        return frozenset(each for each in new if _is_judged(each) and self._fits(each))

    def register(self, versions: Iterable[VersionKey]) -> None:
        """From now on *versions* were seen, as far as there are places."""
        for version in sorted(versions):
            if self._fits(version):
                self._add(version)

    def _fits(self, version: VersionKey) -> bool:
        pair = " ".join(version[:2])
        taken = self._series.get(pair, 0) // SERIES_OF_VERSION
        within = taken < self._caps.max_model_versions if taken else len(self._series) < self._caps.max_services
        return within and has_room(self._series, pair, SERIES_OF_VERSION, self._caps)

    def _add(self, version: VersionKey) -> None:
        if version not in self._seen:
            self._seen.add(version)
            self._series[" ".join(version[:2])] += SERIES_OF_VERSION


def split_before(
    records: Sequence[DecodedRecord], versions: frozenset[VersionKey]
) -> tuple[Sequence[DecodedRecord], Sequence[DecodedRecord]]:
    """
    What comes before the first request of *versions* in its partition, and the rest; both keep their order.

    Only within a partition do records have an order, so a partition without such a request comes before all others.
    """
    before: list[DecodedRecord] = []
    rest: list[DecodedRecord] = []
    begun: set[TopicPartition] = set()
    for record in records:
        partition = record.partition
        if partition not in begun and any(
            (trace.service, trace.environment, trace.model_version) in versions for trace in traces_in([record])
        ):
            begun.add(partition)
        (rest if partition in begun else before).append(record)
    return before, rest


def fronts(records: Iterable[DecodedRecord]) -> Sequence[DecodedRecord]:
    """The first record of each partition."""
    first: dict[TopicPartition, DecodedRecord] = {}
    for record in records:
        first.setdefault(record.partition, record)
    return list(first.values())


def _is_judged(version: VersionKey) -> bool:
    _, environment, model_version = version
    return environment != REFERENCE_ENVIRONMENT and model_version != UNRESOLVED
