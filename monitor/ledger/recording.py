"""One batch, one transaction: fence the offsets, join traces with outcomes, move the counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from monitor.errors import OffsetFenced
from monitor.ledger.joining import Activity, Counted, Joining
from monitor.ledger.labels import DialectInsert, LabelBudget, VersionKey
from monitor.ledger.ledger import Assembled, Batch, CounterName, DeadLetter, OffsetMove, Recorded, TaggedTrace
from monitor.ledger.request_rows import load_slots, write_slots
from monitor.ledger.schema import counter, dead_letter, kafka_offset, model_version
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.waiting import add_spans, claim
from monitor.trace.model import OutcomeEvent
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import Span


class Recorder:
    """
    Writes batches; remembers the ids of model versions and the admitted label values between them.

    Args:
        insert: The dialect's `insert`, which knows `on_conflict_do_update`.
        settings: Caps on label values.
        outcomes: Which of several verdicts on a trace stands.
    """

    def __init__(self, insert: DialectInsert, settings: LedgerSettings, outcomes: OutcomeSettings) -> None:
        self._insert = insert
        self._outcomes = outcomes
        self._labels = LabelBudget(insert, settings)
        self._version_ids: dict[VersionKey, int] = {}

    def record(self, connection: sa.Connection, batch: Batch) -> Recorded:
        """
        Write *batch* inside the transaction of *connection*.

        Raises:
            OffsetFenced: another owner moved one of the offsets.
            RaceLost: another replica inserted one of the trace ids since this transaction began.
        """
        for move in sorted(batch.offsets, key=lambda move: move.partition):  # one order for all, so no deadlock
            self._move_offset(connection, move)
        self._write_dead_letters(connection, batch)
        return self._join(connection, batch)

    def forget(self) -> None:
        """Remember nothing, after a rollback took back what was written."""
        self._labels.forget()
        self._version_ids.clear()

    def _move_offset(self, connection: sa.Connection, move: OffsetMove) -> None:
        topic, partition = move.partition
        if move.expected_offset is None:
            result = connection.execute(
                self._insert(kafka_offset).on_conflict_do_nothing(),
                {"topic": topic, "partition": partition, "next_offset": move.next_offset},
            )
        else:
            result = connection.execute(
                sa.update(kafka_offset)
                .where(kafka_offset.c.topic == topic)
                .where(kafka_offset.c.partition == partition)
                .where(kafka_offset.c.next_offset == move.expected_offset)
                .values(next_offset=move.next_offset)
            )
        if result.rowcount != 1:
            raise OffsetFenced(f"{topic}[{partition}] is no longer at {move.expected_offset}: another owner moved it.")

    def _write_dead_letters(self, connection: sa.Connection, batch: Batch) -> None:
        if not batch.dead_letters:
            return
        connection.execute(
            self._insert(dead_letter).on_conflict_do_nothing(),
            [_dead_letter_row(letter, batch.received_at) for letter in batch.dead_letters],
        )

    def _join(self, connection: sa.Connection, batch: Batch) -> Recorded:
        slots = load_slots(connection, {_trace_id(event) for event in (*batch.events, *batch.assembled)})
        joining = Joining(slots, self._labels.within(connection), self._outcomes)
        # Rows of waiting traces are locked before any label or version is written: one order for all, so no deadlock.
        self._let_wait(connection, batch, joining)
        claimed = claim(connection, {each.trace_id: each.span_count for each in batch.assembled})
        for event in batch.events:
            joining.add(event)
        for assembled in batch.assembled:
            if assembled.trace_id in claimed:
                joining.add_assembled(assembled)
        for what, times in batch.ignored.items():
            joining.count(CounterName.IGNORED, detail=what, by=times)
        for (topic, partition), records in batch.records.items():
            joining.count(CounterName.RECORDS, detail=f"{topic}/{partition}", by=records)
        for letter in batch.dead_letters:
            joining.count(CounterName.DEAD_LETTERS, detail=letter.reason)
        joining.count_dropped()
        self._write_versions(connection, joining.activity)
        write_slots(connection, self._insert, slots, self._version_ids, received_at=batch.received_at)
        self._write_counters(connection, joining.counts)
        return joining.recorded(closed=len(claimed))

    def _let_wait(self, connection: sa.Connection, batch: Batch, joining: Joining) -> None:
        spans = [event for event in batch.events if isinstance(event, Span)]
        waiting = [span for span in spans if not joining.is_counted(span.trace_id)]
        duplicates = add_spans(connection, self._insert, waiting, received_at=batch.received_at)
        joining.count(CounterName.SPANS, detail="received", by=len(spans))
        joining.count(CounterName.SPANS, detail="late", by=len(spans) - len(waiting))
        joining.count(CounterName.SPANS, detail="duplicate", by=duplicates)

    def _write_versions(self, connection: sa.Connection, activity: Mapping[VersionKey, Activity]) -> None:
        for key, seen in sorted(activity.items()):
            service, environment, version = key
            new = {
                "service": service,
                "environment": environment,
                "model_version": version,
                "first_started_at": seen.first_started_at,
                "last_started_at": seen.last_started_at,
                "requests": seen.requests,
                "labelled": seen.labelled,
            }
            statement = self._insert(model_version).values(new)
            have, add = model_version.c, statement.excluded
            self._version_ids[key] = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["service", "environment", "model_version"],
                    set_={
                        "first_started_at": sa.case(
                            (add.first_started_at < have.first_started_at, add.first_started_at),
                            else_=have.first_started_at,
                        ),
                        "last_started_at": sa.case(
                            (add.last_started_at > have.last_started_at, add.last_started_at),
                            else_=have.last_started_at,
                        ),
                        "requests": have.requests + add.requests,
                        "labelled": have.labelled + add.labelled,
                    },
                ).returning(model_version.c.id)
            ).scalar_one()

    def _write_counters(self, connection: sa.Connection, counts: Counter[Counted]) -> None:
        columns = ("name", "service", "environment", "model_version", "tier", "capability", "detail", "value")
        rows = [
            dict(zip(columns, (*key, value), strict=True))
            for key, value in sorted(counts.items())  # one order for all replicas, so no deadlock
            if value
        ]
        if rows:
            statement = self._insert(counter)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=columns[:-1], set_={"value": counter.c.value + statement.excluded.value}
                ),
                rows,
            )


def _dead_letter_row(letter: DeadLetter, received_at: float) -> dict[str, Any]:
    topic, partition, offset = letter.position
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "reason": letter.reason,
        "detail": letter.detail,
        "sha256": letter.sha256,
        "size_bytes": letter.size_bytes,
        "received_at": received_at,
    }


def _trace_id(event: TaggedTrace | OutcomeEvent | Span | Assembled) -> str:
    return event.trace.trace_id if isinstance(event, TaggedTrace) else event.trace_id
