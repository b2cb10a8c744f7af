"""Writes a batch in one transaction: fences the offsets, joins traces with outcomes, increments the counters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

import sqlalchemy as sa

from monitor.errors import LedgerInvalid, OffsetFenced
from monitor.ingest.source import TopicPartition
from monitor.ledger.cell_memory import CellMemory
from monitor.ledger.counting import HOUR_SECONDS, Activity, CounterDeltas
from monitor.ledger.dialect import Dialect, Excluded, sums_of
from monitor.ledger.joining import Joining, Slot
from monitor.ledger.labels import PENDING_SPANS, Admission, Admitted
from monitor.ledger.ledger import CEILING, Batch, CounterKey, CounterName, OffsetCommit, Recorded, TaggedTrace
from monitor.ledger.pending_spans import PendingSpanRows
from monitor.ledger.request_rows import RequestRows
from monitor.ledger.schema import counter, dead_letter, kafka_offset, model_version, served_model, traffic
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.stored import readable, whole
from monitor.ledger.strata import StratumWriter
from monitor.rollout.tracker import VersionKey
from monitor.trace.model import OutcomeEvent
from monitor.trace.served import taught_by
from monitor.trace.settings import OutcomeSettings


class Recorder:
    """
    Writes batches; caches the IDs of model versions and the admitted label values between them.

    Args:
        dialect: Builds statements for many rows in the SQL of the database.
        settings: Caps on label values.
        outcomes: Which of several outcomes of a trace counts.
        cells: Cache of cells, invalidated where a batch changes them.
    """

    def __init__(
        self, dialect: Dialect, settings: LedgerSettings, outcomes: OutcomeSettings, cells: CellMemory
    ) -> None:
        self._insert = dialect.insert
        self._outcomes = outcomes
        self._settings = settings
        self._admitted, self._loaded_at = Admitted(), 0.0
        self._requests = RequestRows(dialect)
        self._pending = PendingSpanRows(dialect)
        self._strata = StratumWriter(dialect, cells)
        self._write_traffic = dialect.upserter(traffic, _wider(traffic, "requests"))
        self._write_counters = dialect.upserter(counter, _more_counted)
        self._write_activity = dialect.upserter(model_version, _wider(model_version, "requests", "labelled"))
        self._write_served = dialect.upserter(served_model, _wider(served_model))
        self._version_ids: dict[VersionKey, int] = {}
        self._served: set[tuple[str, ...]] = set()

    def record(self, connection: sa.Connection, batch: Batch) -> Recorded:
        """
        Write *batch* inside the transaction of *connection*.

        Raises:
            OffsetFenced: another owner moved one of the offsets.
            RaceLost: another replica inserted one of the trace ids since this transaction began.
        """
        # All replicas lock the rows in the same order, so they cannot deadlock.
        for commit in sorted(batch.offsets, key=lambda commit: commit.partition):
            self._commit_offset(connection, commit)
        if batch.dead_letters:
            rows = [{**letter.facts, "received_at": batch.received_at} for letter in batch.dead_letters]
            connection.execute(self._insert(dead_letter).on_conflict_do_nothing(), rows)
        return self._join(connection, batch)

    def forget(self) -> None:
        """Clear the caches after a rollback: they may hold rows that were never committed."""
        self._admitted = Admitted()
        self._requests.forget()
        self._version_ids.clear()
        self._served.clear()

    def _commit_offset(self, connection: sa.Connection, commit: OffsetCommit) -> None:
        topic, partition = commit.partition
        step: sa.Insert | sa.Update
        if commit.expected_offset is None:
            step = self._insert(kafka_offset).values(topic=topic, partition=partition).on_conflict_do_nothing()
        else:
            update = sa.update(kafka_offset).filter_by(topic=topic, partition=partition)
            step = update.filter_by(next_offset=commit.expected_offset)
        if connection.execute(step.values(next_offset=commit.next_offset)).rowcount != 1:
            raise OffsetFenced(
                f"{topic}[{partition}] is no longer at {commit.expected_offset}: another owner moved it."
            )

    def _join(self, connection: sa.Connection, batch: Batch) -> Recorded:
        # All replicas write the tables in the same order, and the rows of each table in key order, so they cannot
        # deadlock: stored requests, pending traces, label values, versions, new requests, cells, traffic, counters.
        if batch.received_at - self._loaded_at >= HOUR_SECONDS:  # another replica may have expired names since
            self._admitted, self._loaded_at = Admitted(), batch.received_at
        deltas = CounterDeltas()
        trace_ids: set[str] = {span.trace_id for span in batch.spans}
        trace_ids |= {tagged.trace.trace_id for assembled in batch.assembled for tagged in assembled.tagged}
        for event in batch.events:
            trace_ids.add(event.trace.trace_id if isinstance(event, TaggedTrace) else event.trace_id)
            if isinstance(event, OutcomeEvent) and event.outcome.observation is not None:
                trace_ids.add(event.run_id)
        slots = self._requests.load(connection, trace_ids, deltas)
        admission = Admission(connection, self._insert, self._settings, self._admitted)
        joining = Joining(slots, deltas, admission, self._outcomes)
        self._add_pending(connection, batch, joining, deltas)
        taken = self._pending.take_complete(connection, batch.assembled)
        for event in batch.events:
            joining.add(event)
        for assembled in batch.assembled:
            if assembled.trace_id in taken:
                joining.add_assembled(assembled, counted_before=taken[assembled.trace_id])
        joining.count_horizons()
        self._pending.postpone(connection, sorted(batch.postponed.items()))
        if batch.assembled:
            self._pending.expire_counted(connection, before=batch.forget_before)
        _count_records(batch, deltas)
        for cap, times in admission.dropped.items():
            deltas.count(CounterName.SERIES_DROPPED, detail=cap, by=times)
        activity = deltas.activity()
        version_ids = self._write_versions(connection, activity)
        self._requests.write(connection, slots, version_ids, received_at=batch.received_at)
        self._strata.add_slots(connection, slots.values(), version_ids)
        hours = sorted(
            (version_ids[version], hour, len(starts), min(starts), max(starts))
            for version, seen in activity.items()
            for hour, starts in seen.hours()
        )
        self._write_traffic(connection, hours)
        self._write_served(connection, self._served_rows(connection, slots.values()))
        counts = [(*map(str, key), min(value, CEILING)) for key, value in sorted(deltas.counts().items()) if value]
        self._write_counters(connection, counts)
        return Recorded(
            counted=sum(len(seen.starts) for seen in activity.values()),
            duplicates=deltas.duplicates(),
            labelled=sum(seen.labelled for seen in activity.values()),
            closed=len(taken),
            failed_traces=deltas.failed_traces(),
        )

    def _add_pending(self, connection: sa.Connection, batch: Batch, joining: Joining, deltas: CounterDeltas) -> None:
        counted = set(filter(joining.is_counted, {span.trace_id for span in batch.spans}))
        expired = counted - self._pending.stored(connection, counted)
        pending = [span for span in batch.spans if span.trace_id not in expired] if expired else batch.spans
        duplicates = self._pending.add(connection, pending, received_at=batch.received_at)
        deltas.count(CounterName.SPANS, detail="received", by=len(batch.spans))
        deltas.count(CounterName.SPANS, detail="late", by=len(batch.spans) - len(pending))
        deltas.count(CounterName.SPANS, detail="duplicate", by=duplicates)

    def _served_rows(self, connection: sa.Connection, slots: Iterable[Slot]) -> list[tuple[Any, ...]]:
        """Rows of `served_model` from the new runs, without versions counted as `other`, up to `_MOST_SERVED`."""
        new = []
        for slot in slots:
            tagged, delta = slot.new_trace, slot.delta
            if tagged is not None and delta is not None and delta.version[-1] == tagged.trace.model_version:
                new.append(tagged.trace)
        served = taught_by(new)
        if not served.keys() <= self._served:
            self._served = {tuple(row) for row in connection.execute(sa.select(*served_model.primary_key.columns))}
            room = max(0, _MOST_SERVED - len(self._served))
            self._served.update(sorted(served.keys() - self._served)[:room])
        return [(*key, first, last) for key, (first, last) in sorted(served.items()) if key in self._served]

    def _write_versions(
        self, connection: sa.Connection, activity: Mapping[VersionKey, Activity]
    ) -> Mapping[VersionKey, int]:
        """Upsert the rows of the versions in *activity*; returns the IDs of all versions seen so far."""
        rows = [
            (*key, min(added.starts, default=inf), max(added.starts, default=-inf), len(added.starts), added.labelled)
            for key, added in sorted(activity.items())
        ]
        self._write_activity(connection, rows)
        for key in activity.keys() - self._version_ids.keys():
            where = dict(zip(_VERSION_KEY, key, strict=True))
            self._version_ids[key] = connection.execute(_VERSION_ID, where).scalar_one()
        return self._version_ids


def next_offsets(connection: sa.Connection) -> Mapping[TopicPartition, int]:
    """
    Next offset of every partition that was read.

    Raises:
        LedgerInvalid: an offset or a partition is not an integer.
    """
    offsets = {}
    for topic, partition, offset in connection.execute(sa.select(kafka_offset)):
        if type(partition) is not int or type(offset) is not int:
            raise LedgerInvalid(
                f"The ledger's table kafka_offset says {offset!r} for {topic!r}[{partition!r}], which is no offset: "
                "set it to where to read on, or delete the row to read that partition as a new one."
            )
        offsets[TopicPartition(topic, partition)] = offset
    return offsets


def select_counters(connection: sa.Connection) -> Mapping[CounterKey, int]:
    """Every committed counter that is not 0; a counter returns to 0 if the outcomes of its requests change."""
    rows = connection.execute(sa.select(counter).where(counter.c.value != 0)).all()
    return dict(readable("counter", rows, lambda row: (CounterKey(CounterName(row[0]), *row[1:7]), whole(row.value))))


def _more_counted(added: Any) -> Mapping[str, Any]:
    """Update of a counter: adds the value of the batch, but stops at the ceiling, since an overflow would raise."""
    value, ceiling = counter.c.value, sa.literal_column(str(CEILING), sa.BigInteger)
    return {"value": sa.case((value < ceiling, value + added.value), else_=value)}


def _wider(table: sa.Table, *counts: str) -> Excluded:
    """Update of a row that widens its period to the added one and adds the columns *counts*."""
    stored = table.c

    def become(added: Any) -> Mapping[str, Any]:
        first, last = added.first_started_at, added.last_started_at
        return {
            "first_started_at": sa.case((first < stored.first_started_at, first), else_=stored.first_started_at),
            "last_started_at": sa.case((last > stored.last_started_at, last), else_=stored.last_started_at),
            **sums_of(table, counts)(added),
        }

    return become


_VERSION_KEY = ("service", "environment", "model_version")
_VERSION_ID = sa.select(model_version.c.id).filter_by(**{name: sa.bindparam(name) for name in _VERSION_KEY})
_MOST_SERVED = 10_000
"""Most rows of `served_model`: hostile names could be endless."""


def _count_records(batch: Batch, deltas: CounterDeltas) -> None:
    for reason, count in batch.ignored.items():
        deltas.count(CounterName.IGNORED, detail=reason, by=count)
    for (topic, partition), records in batch.records.items():
        deltas.count(CounterName.RECORDS, detail=f"{topic}/{partition}", by=records)
    deltas.count(CounterName.SERIES_DROPPED, detail=PENDING_SPANS, by=batch.early_spans)
    for letter in batch.dead_letters:
        deltas.count(CounterName.DEAD_LETTERS, detail=letter.reason)
