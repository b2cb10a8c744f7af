"""
Tags what was decoded or assembled, and writes it to the ledger in one transaction with its offsets.

What came before the first request of a new model version is written before that request is tagged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice, takewhile

import structlog

from monitor.ingest.source import DeadLetterRecord, TopicPartition
from monitor.ledger.labels import SERIES_OF_VERSION, has_room
from monitor.ledger.ledger import Assembled, Batch, OffsetCommit, Recorded
from monitor.ledger.settings import LedgerSettings
from monitor.rollout.tracker import VersionKey
from monitor.service import pipeline
from monitor.service.pipeline import BuiltTrace, DecodedRecord, traces_in
from monitor.service.publisher import Publisher
from monitor.service.stages import Stages
from monitor.trace.model import REFERENCE_ENVIRONMENT, UNRESOLVED, Ignored, Trace, TraceId

_log = structlog.get_logger()

_MOST_LOGGED = 10  # dead letters of one batch; batch.committed says how many there were
_SUMMARY_SECONDS = 60.0
_MOST_APART = 8  # more versions that begin in one batch are not rollouts: hostile or careless names


class BatchWriter:
    """
    Writes batches in parts: before the first request of a new version, what came before it is written and frozen.

    Args:
        stages: Where batches go, and who freezes.
        publisher: Shows when the last batch was written, and which traces failed.
        rules: How records are read.
        caps: How many versions and services the ledger tells apart.
    """

    def __init__(self, stages: Stages, publisher: Publisher, rules: pipeline.DecodeRules, caps: LedgerSettings) -> None:
        self._stages = stages
        self._publisher = publisher
        self._rules = rules
        self._caps = caps
        self._counted: Counter[str] = Counter()
        self._said_at = -_SUMMARY_SECONDS

    def write(self, records: Sequence[DecodedRecord], next_offsets: Mapping[TopicPartition, int]) -> None:
        """
        Write *records* and, for each of their partitions, the offset to read next.

        Raises:
            DependencyUnreachable: the ledger or the dead letters cannot be written; the rest was not.
            OffsetFenced: another owner moved one of the offsets; the rest was not written.
        """
        while records:
            new = self._versions.new_in(traces_in(records))
            if len(new) > _MOST_APART:
                self._freeze_before(new, records)
                continue
            # History may come right before them, and must be in the ledger for the calibration to know it.
            before, records_left = split_before(records, new) if new else (records, ())
            if before:
                ends = {first.partition: first.record.position.offset for first in fronts(records_left)}
                self._write(before, {**next_offsets, **ends})
            else:
                first = fronts(records)
                self._freeze_before(self._versions.new_in(traces_in(first)), first)
            records = records_left

    def write_assembled(self, built: Sequence[BuiltTrace], postponed: Mapping[TraceId, float]) -> int:
        """Write the traces, and put off others; the number of those whose spans are no longer pending."""
        closed = 0
        if postponed:
            self._write_assembled((), postponed=postponed)
        while built:
            known = list(takewhile(lambda each: not self._versions.new_in(each.runs), built))
            if known:
                closed += self._write_assembled(known)
            else:
                self._freeze_before(self._versions.new_in(built[0].runs))
            built = built[len(known) :]
        return closed

    @cached_property
    def _versions(self) -> SeenVersions:
        activity, named = self._stages.ledger.activity(), {each.name for each in self._stages.ledger.names()}
        self._stages.reviewer.load()
        seen = [(each.service, each.environment, each.model_version) for each in activity]
        return SeenVersions([version for version in seen if " ".join(version) in named], self._caps)

    def _freeze_before(self, versions: frozenset[VersionKey], records: Collection[DecodedRecord] = ()) -> None:
        clock = self._stages.clock
        clock.observe(pipeline.latest_event_time(records))
        if versions:
            self._stages.reviewer.freeze_before({model_version for _, _, model_version in versions}, now=clock.time())
            self._versions.register(versions)

    def _write(self, records: Sequence[DecodedRecord], ends: Mapping[TopicPartition, int]) -> None:
        stages = self._stages
        owned = stages.source.assignment()
        counts = Counter([each.record.position[:2] for each in records])
        next_offsets = {partition: ends[partition] for partition in ends if partition in counts}
        stages.clock.observe(pipeline.latest_event_time(records))
        dead = [each.dead_letter for each in records if each.dead_letter is not None]
        if dead:
            stages.dead_letters.write(dead)
        events = [event for record in records for event in record.events]
        recorded = stages.ledger.record(
            Batch(
                events=pipeline.tag_events(events, stages.reviewer.tagger, self._rules),
                spans=[span for record in records for span in record.spans],
                dead_letters=dead,
                offsets=[OffsetCommit(part, owned[part], offset) for part, offset in next_offsets.items()],
                records={TopicPartition(*partition): count for partition, count in counts.items()},
                received_at=stages.clock.time(),
                ignored=sum((Counter(each.ignored) for each in records if each.ignored), Counter[Ignored]()),
            )
        )
        stages.source.committed(next_offsets)
        self._publisher.report_failures(recorded.failed_traces)
        self._publisher.report(last_commit_at=stages.clock.time())
        self._log_committed(len(records), recorded, dead)

    def _write_assembled(self, built: Sequence[BuiltTrace], *, postponed: Mapping[TraceId, float] | None = None) -> int:
        runs = [run for each in built for run in each.runs]
        tagged = iter(pipeline.tag_traces(runs, self._stages.reviewer.tagger, self._rules))
        assembled = [
            Assembled(pending.trace_id, len(pending.spans), list(islice(tagged, len(runs)))) for pending, runs in built
        ]
        now = self._stages.clock.time()
        too_late = now - self._rules.traces.assembly.late_seconds
        batch = Batch(received_at=now, assembled=assembled, postponed=postponed or {}, forget_before=too_late)
        recorded = self._stages.ledger.record(batch)
        self._publisher.report_failures(recorded.failed_traces)
        self._count("traces.assembled", traces=recorded.counted, labelled=recorded.labelled)
        return recorded.closed

    def _log_committed(self, records: int, recorded: Recorded, dead: Sequence[DeadLetterRecord]) -> None:
        self._count(
            "batch.committed",
            records=records,
            traces=recorded.counted,
            duplicates=recorded.duplicates,
            labelled=recorded.labelled,
            dead_letters=len(dead),
        )
        # A flood of such records must not flood the logs; each is in the ledger and the dead-letter topic.
        for letter in dead[:_MOST_LOGGED]:
            _log.warning(
                "record.dead_lettered",
                **letter.record.position._asdict(),
                reason=str(letter.reason),
                detail=letter.detail,
                size_bytes=letter.record.size_bytes,
            )

    def _count(self, event: str, **counts: int) -> None:
        """Each batch at `debug`; what they came to, once a minute, at `info`."""
        _log.debug(event, **counts)
        self._counted.update(counts)
        now = self._stages.clock.monotonic()
        if now - self._said_at >= _SUMMARY_SECONDS:
            _log.info("traffic.recorded", **self._counted)
            self._counted, self._said_at = Counter(), now


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
        judged = (each for each in new if each[1] != REFERENCE_ENVIRONMENT and each[2] != UNRESOLVED)
        return frozenset(filter(self._fits, judged))

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
