"""
Tags decoded records and assembled traces, and writes them to the ledger in one transaction with their offsets.

A batch in which a new model version appears is split: the records before its first request are written, and a
calibration is frozen, before that request is tagged.
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

_MOST_LOGGED = 10  # dead letters per batch; batch.committed logs how many there were in all
_SUMMARY_SECONDS = 60.0
_MOST_NEW_VERSIONS = 8  # a batch with more is not split: such names are hostile or careless, not rollouts


class BatchWriter:
    """
    Writes batches, each split at the first request of every new version so that a calibration is frozen before it.

    Args:
        stages: Source, dead letters, ledger and the reviewer that freezes calibrations.
        publisher: Publishes the time of the last commit and the exemplars of failed traces.
        rules: How records are decoded.
        caps: Most versions and services that the ledger counts separately.
    """

    def __init__(self, stages: Stages, publisher: Publisher, rules: pipeline.DecodeRules, caps: LedgerSettings) -> None:
        self._stages = stages
        self._publisher = publisher
        self._rules = rules
        self._caps = caps
        self._counts_to_log: Counter[str] = Counter()
        self._logged_at = -_SUMMARY_SECONDS

    def write(self, records: Sequence[DecodedRecord], next_offsets: Mapping[TopicPartition, int]) -> None:
        """
        Write *records* and, for each of their partitions, the offset to read next.

        Raises:
            DependencyUnreachable: the ledger or the dead-letter topic cannot be written; the remaining parts were not.
            OffsetFenced: another owner moved one of the offsets; the remaining parts were not written.
        """
        while records:
            new = self._versions.new_in(traces_in(records))
            if len(new) > _MOST_NEW_VERSIONS:
                self._freeze_before(new, records)
                continue
            # Earlier records may be history that the calibration learns from, so they must be in the ledger first.
            before, remaining = split_before(records, new) if new else (records, ())
            if before:
                next_of_split = {first.partition: first.record.position.offset for first in first_records(remaining)}
                self._write(before, {**next_offsets, **next_of_split})
            else:
                first = first_records(records)
                self._freeze_before(self._versions.new_in(traces_in(first)), first)
            records = remaining

    def write_assembled(self, built: Sequence[BuiltTrace], postponed: Mapping[TraceId, float]) -> int:
        """Write the *built* traces and postpone others; returns how many traces have no pending spans any more."""
        closed = 0
        if postponed:
            self._write_assembled((), postponed=postponed)
        while built:
            known = list(takewhile(lambda trace: not self._versions.new_in(trace.runs), built))
            if known:
                closed += self._write_assembled(known)
            else:
                self._freeze_before(self._versions.new_in(built[0].runs))
            built = built[len(known) :]
        return closed

    @cached_property
    def _versions(self) -> SeenVersions:
        activity, names = self._stages.ledger.activity(), {row.name for row in self._stages.ledger.names()}
        self._stages.reviewer.load()
        seen = [(version.service, version.environment, version.model_version) for version in activity]
        return SeenVersions([key for key in seen if " ".join(key) in names], self._caps)

    def _freeze_before(self, versions: frozenset[VersionKey], records: Collection[DecodedRecord] = ()) -> None:
        clock = self._stages.clock
        clock.observe(pipeline.latest_event_time(records))
        if versions:
            self._stages.reviewer.freeze_before({model_version for _, _, model_version in versions}, now=clock.time())
            self._versions.register(versions)

    def _write(self, records: Sequence[DecodedRecord], ends: Mapping[TopicPartition, int]) -> None:
        stages = self._stages
        assigned = stages.source.assignment()
        counts = Counter([decoded.record.position[:2] for decoded in records])
        next_offsets = {partition: ends[partition] for partition in ends if partition in counts}
        stages.clock.observe(pipeline.latest_event_time(records))
        dead = [decoded.dead_letter for decoded in records if decoded.dead_letter is not None]
        if dead:
            stages.dead_letters.write(dead)
        events = [event for record in records for event in record.events]
        recorded = stages.ledger.record(
            Batch(
                events=pipeline.tag_events(events, stages.reviewer.tagger, self._rules),
                spans=[span for record in records for span in record.spans],
                dead_letters=dead,
                offsets=[OffsetCommit(part, assigned[part], offset) for part, offset in next_offsets.items()],
                records={TopicPartition(*partition): count for partition, count in counts.items()},
                received_at=stages.clock.time(),
                ignored=sum((Counter(decoded.ignored) for decoded in records if decoded.ignored), Counter[Ignored]()),
            )
        )
        stages.source.committed(next_offsets)
        self._publisher.report_failures(recorded.failed_traces)
        self._publisher.report(last_commit_at=stages.clock.time())
        self._log_committed(len(records), recorded, dead)

    def _write_assembled(self, built: Sequence[BuiltTrace], *, postponed: Mapping[TraceId, float] | None = None) -> int:
        runs = [run for trace in built for run in trace.runs]
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
        # A flood of bad records must not flood the log; the ledger counts and the dead-letter topic stores every one.
        for letter in dead[:_MOST_LOGGED]:
            _log.warning(
                "record.dead_lettered",
                **letter.record.position._asdict(),
                reason=str(letter.reason),
                detail=letter.detail,
                size_bytes=letter.record.size_bytes,
            )

    def _count(self, event: str, **counts: int) -> None:
        """Log each batch at `debug`, and once a minute their sums at `info`."""
        _log.debug(event, **counts)
        self._counts_to_log.update(counts)
        now = self._stages.clock.monotonic()
        if now - self._logged_at >= _SUMMARY_SECONDS:
            _log.info("traffic.recorded", **self._counts_to_log)
            self._counts_to_log, self._logged_at = Counter(), now


class SeenVersions:
    """
    The live versions seen so far. Versions of the reference environment are never new: they are not judged.

    A version over the caps is not new either: the ledger counts it as `other`, so it never gets a verdict. The caps
    therefore bound how many calibrations a flood of hostile names can cause.

    Args:
        known: Versions seen before.
        caps: Most versions and services that the ledger counts separately.
    """

    def __init__(self, known: Iterable[VersionKey], caps: LedgerSettings) -> None:
        self._caps = caps
        self._seen: set[VersionKey] = set()
        self._series: Counter[str] = Counter()
        for version in known:
            self._add(version)

    def new_in(self, traces: Iterable[Trace]) -> frozenset[VersionKey]:
        """Versions of *traces* that are live, not seen before and within the caps."""
        live = (trace for trace in traces if trace.environment != REFERENCE_ENVIRONMENT)
        versions = {(t.service, t.environment, t.model_version) for t in live if t.model_version != UNRESOLVED}
        return frozenset(filter(self._fits, versions - self._seen))

    def register(self, versions: Iterable[VersionKey]) -> None:
        """Mark *versions* as seen, as far as the caps allow."""
        for version in sorted(versions):
            if self._fits(version):
                self._add(version)

    def _fits(self, version: VersionKey) -> bool:
        service = " ".join(version[:2])  # with its environment
        versions = self._series.get(service, 0) // SERIES_OF_VERSION
        within = versions < self._caps.max_model_versions if versions else len(self._series) < self._caps.max_services
        return within and has_room(self._series, service, SERIES_OF_VERSION, self._caps)

    def _add(self, version: VersionKey) -> None:
        if version not in self._seen:
            self._seen.add(version)
            self._series[" ".join(version[:2])] += SERIES_OF_VERSION


def split_before(
    records: Sequence[DecodedRecord], versions: frozenset[VersionKey]
) -> tuple[Sequence[DecodedRecord], Sequence[DecodedRecord]]:
    """
    Split *records* in each partition before the first request of *versions*; both parts keep their order.

    Kafka orders records within a partition only, so all records of a partition without such a request count as earlier.
    """
    before: list[DecodedRecord] = []
    rest: list[DecodedRecord] = []
    split: set[TopicPartition] = set()
    for record in records:
        partition = record.partition
        if partition not in split and any(
            (trace.service, trace.environment, trace.model_version) in versions for trace in traces_in([record])
        ):
            split.add(partition)
        (rest if partition in split else before).append(record)
    return before, rest


def first_records(records: Iterable[DecodedRecord]) -> Sequence[DecodedRecord]:
    """The first record of each partition."""
    first: dict[TopicPartition, DecodedRecord] = {}
    for record in records:
        first.setdefault(record.partition, record)
    return list(first.values())
