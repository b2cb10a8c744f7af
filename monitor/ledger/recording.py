"""One batch, one transaction: fence the offsets, join traces with outcomes, move the counters."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tag
from monitor.errors import OffsetFenced
from monitor.ledger.labels import OTHER, DialectInsert, LabelBudget
from monitor.ledger.ledger import (
    DURATION_BUCKETS_SECONDS,
    STEP_BUCKETS,
    Assembled,
    Batch,
    CounterName,
    DeadLetter,
    OffsetMove,
    Recorded,
    TaggedTrace,
)
from monitor.ledger.schema import counter, dead_letter, kafka_offset, model_version, request
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.waiting import add_spans, claim
from monitor.trace.model import Outcome, OutcomeEvent, Trace
from monitor.trace.outcome_policy import resolve, standing
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import Span

_IDS_PER_SELECT = 500  # well below SQLite's limit of bound parameters

_VersionKey = tuple[str, str, str]
_Counted = tuple[str, str, str, str, str, str, str]


class RaceLost(Exception):
    """Another replica inserted one of our trace ids first: roll back and record the batch again, now seeing its row."""


@dataclass(slots=True)
class _Slot:
    """What is known of one trace id while a batch is joined; *stored* says that the ledger has a row for it already."""

    stored: bool = False
    version: _VersionKey | None = None
    counted_tier: str = ""
    capability: str = ""
    standing: tuple[Outcome, ...] = ()
    label: Outcome | None = None
    new_trace: TaggedTrace | None = None
    has_new_outcome: bool = False


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
        self._settings = settings
        self._outcomes = outcomes
        self._labels = LabelBudget(insert)
        self._version_ids: dict[_VersionKey, int] = {}

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
        slots = _load_slots(connection, {_trace_id(event) for event in (*batch.events, *batch.assembled)})
        joining = _Joining(connection, slots, self._labels, self._settings, self._outcomes)
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
        self._write_versions(connection, joining.activity)
        self._write_slots(connection, slots, received_at=batch.received_at)
        self._write_counters(connection, joining.counts)
        return joining.recorded(closed=len(claimed))

    def _let_wait(self, connection: sa.Connection, batch: Batch, joining: _Joining) -> None:
        spans = [event for event in batch.events if isinstance(event, Span)]
        waiting = [span for span in spans if not joining.is_counted(span.trace_id)]
        duplicates = add_spans(connection, self._insert, waiting, received_at=batch.received_at)
        joining.count(CounterName.SPANS, detail="received", by=len(spans))
        joining.count(CounterName.SPANS, detail="late", by=len(spans) - len(waiting))
        joining.count(CounterName.SPANS, detail="duplicate", by=duplicates)

    def _write_versions(self, connection: sa.Connection, activity: dict[_VersionKey, _Activity]) -> None:
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

    def _write_slots(self, connection: sa.Connection, slots: dict[str, _Slot], *, received_at: float) -> None:
        inserts: list[dict[str, Any]] = []
        for trace_id, slot in sorted(slots.items()):
            if not slot.stored:
                if slot.new_trace is None and not slot.standing:
                    continue  # only spans have come
                row = _trace_columns(slot, self._version_ids) | _outcome_columns(slot)
                inserts.append(row | {"trace_id": trace_id, "received_at": received_at})
        if inserts:  # an empty list would run as an insert of defaults
            result = connection.execute(self._insert(request).on_conflict_do_nothing(), inserts)
            if result.rowcount != len(inserts):
                raise RaceLost
        joined = [
            _trace_columns(slot, self._version_ids) | {"_trace_id": trace_id}
            for trace_id, slot in sorted(slots.items())
            if slot.stored and slot.new_trace is not None
        ]
        labelled = [
            _outcome_columns(slot) | {"_trace_id": trace_id}
            for trace_id, slot in sorted(slots.items())
            if slot.stored and slot.has_new_outcome
        ]
        for rows in (joined, labelled):
            if rows:
                columns: dict[str, Any] = {name: sa.bindparam(name) for name in rows[0] if name != "_trace_id"}
                connection.execute(
                    sa.update(request).where(request.c.trace_id == sa.bindparam("_trace_id")).values(columns), rows
                )

    def _write_counters(self, connection: sa.Connection, counts: Counter[_Counted]) -> None:
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


@dataclass(slots=True)
class _Activity:
    """What one batch adds to a model version."""

    first_started_at: float = float("inf")
    last_started_at: float = float("-inf")
    requests: int = 0
    labelled: int = 0


class _Joining:
    """The counts that one batch adds, event by event."""

    def __init__(
        self,
        connection: sa.Connection,
        slots: dict[str, _Slot],
        labels: LabelBudget,
        settings: LedgerSettings,
        outcomes: OutcomeSettings,
    ) -> None:
        self._connection = connection
        self._slots = slots
        self._labels = labels
        self._settings = settings
        self._outcomes = outcomes
        self.counts: Counter[_Counted] = Counter()
        self.activity: dict[_VersionKey, _Activity] = {}

    def is_counted(self, trace_id: str) -> bool:
        """Whether the trace is a request already."""
        return self._slots[trace_id].version is not None

    def add(self, event: TaggedTrace | OutcomeEvent | Span) -> None:
        """Count what one record said; spans are counted as they begin to wait."""
        match event:
            case TaggedTrace():
                self.add_trace(event)
            case OutcomeEvent():
                self.add_outcome(self._slots[event.trace_id], event.outcome)
                self.count(CounterName.UNKNOWN_FIELDS, by=event.unknown_fields)

    def recorded(self, *, closed: int) -> Recorded:
        return Recorded(
            counted=sum(seen.requests for seen in self.activity.values()),
            duplicates=sum(value for key, value in self.counts.items() if key[0] == CounterName.DUPLICATES),
            labelled=sum(seen.labelled for seen in self.activity.values()),
            closed=closed,
        )

    def add_trace(self, tagged: TaggedTrace) -> None:
        """Count a trace once; one that is there already may still bring a newer outcome."""
        slot, trace = self._slots[tagged.trace.trace_id], tagged.trace
        # First, so that of the verdicts which come with a new trace only the one that stands is counted.
        for outcome in tagged.outcomes:
            self.add_outcome(slot, outcome)
        if slot.version is None:
            self._count_new_trace(slot, tagged)
        else:
            self._count_for(slot, CounterName.DUPLICATES, tier="", capability="")
        self.count(CounterName.UNKNOWN_FIELDS, by=trace.unknown_fields)

    def add_assembled(self, assembled: Assembled) -> None:
        """Count a trace that waited for its spans, and what became of them."""
        if assembled.tagged is None:
            became = "foreign"
        elif self.is_counted(assembled.trace_id):
            became = "late"  # they came while another replica was closing the trace
        else:
            became = "joined"
            self.add_trace(assembled.tagged)
        self.count(CounterName.SPANS, detail=became, by=assembled.span_count)

    def add_outcome(self, slot: _Slot, outcome: Outcome) -> None:
        """Add *outcome* to the verdicts on the trace of *slot*; count a first label, or a revision of it."""
        now_standing = standing((*slot.standing, outcome)) if slot.standing else (outcome,)
        if now_standing == slot.standing:
            return
        previous, label = slot.label, resolve(now_standing, self._outcomes)
        slot.standing, slot.label, slot.has_new_outcome = now_standing, label, True
        if slot.version is None or label is None:
            return  # counted when the trace comes, or when somebody who is believed speaks
        if previous is None:
            self._count_label(slot, label)
        elif previous.success != label.success:
            self._count_for(
                slot, CounterName.OUTCOME_REVISIONS, detail=f"{_outcome_label(previous)}>{_outcome_label(label)}"
            )
            self._count_failure_class(slot, label)

    def count(self, name: CounterName, *, detail: str = "", by: int = 1) -> None:
        """Move a counter that belongs to no model version."""
        if by:
            self.counts[name, "", "", "", "", "", detail] += by

    def _count_new_trace(self, slot: _Slot, tagged: TaggedTrace) -> None:
        trace = tagged.trace
        slot.new_trace = tagged
        slot.version = self._admit_version(trace)
        slot.capability = self._admit("capability", slot.version[0], trace.request.capability, "max_capabilities")
        slot.counted_tier = tagged.tag.tier
        seen = self.activity.setdefault(slot.version, _Activity())
        seen.requests += 1
        seen.first_started_at = min(seen.first_started_at, trace.started_at)
        seen.last_started_at = max(seen.last_started_at, trace.started_at)
        self._count_for(slot, CounterName.REQUESTS)
        self._count_work(slot, tagged)
        if slot.label is not None:
            self._count_label(slot, slot.label)

    def _count_work(self, slot: _Slot, tagged: TaggedTrace) -> None:
        """Duration, steps, tokens, cost and tool calls, as far as reported."""
        trace = tagged.trace
        duration, usage = trace.duration_seconds, trace.usage
        if duration is not None:
            bound = _bucket(DURATION_BUCKETS_SECONDS, duration)
            self._count_for(slot, CounterName.DURATION_BUCKET, capability="", detail=bound)
            self._count_for(slot, CounterName.DURATION_MICROSECONDS, capability="", by=round(duration * 1e6))
        if trace.steps is not None:
            self._count_for(slot, CounterName.STEPS_BUCKET, capability="", detail=_bucket(STEP_BUCKETS, trace.steps))
            self._count_for(slot, CounterName.STEPS, capability="", by=trace.steps)
        if usage.input_tokens:
            self._count_for(slot, CounterName.TOKENS, capability="", detail="input", by=usage.input_tokens)
        if usage.output_tokens:
            self._count_for(slot, CounterName.TOKENS, capability="", detail="output", by=usage.output_tokens)
        if usage.cost_usd:
            self._count_for(slot, CounterName.COST_NANODOLLARS, capability="", by=round(usage.cost_usd * 1e9))
        if trace.tool_calls:
            self._count_for(slot, CounterName.TOOL_CALLS, capability="", by=trace.tool_calls)
        if tagged.is_over_budget:
            self._count_for(slot, CounterName.BUDGET_EXCEEDED, capability="")
        if trace.floating_alias:
            self._count_for(slot, CounterName.ALIAS_REQUESTS, tier="", capability="")

    def _count_label(self, slot: _Slot, outcome: Outcome) -> None:
        if slot.version is None:  # pragma: no cover - callers have seen the trace
            return
        self.activity.setdefault(slot.version, _Activity()).labelled += 1
        self._count_for(slot, CounterName.OUTCOMES, detail=_outcome_label(outcome))
        self._count_failure_class(slot, outcome)

    def _count_failure_class(self, slot: _Slot, outcome: Outcome) -> None:
        if outcome.success or slot.version is None:
            return
        name = self._admit("failure_class", slot.version[0], outcome.failure_class or "unknown", "max_failure_classes")
        self._count_for(slot, CounterName.FAILURES_BY_CLASS, capability="", detail=name)

    def _count_for(
        self,
        slot: _Slot,
        name: CounterName,
        *,
        tier: str | None = None,
        capability: str | None = None,
        detail: str = "",
        by: int = 1,
    ) -> None:
        service, environment, version = slot.version or ("", "", "")
        tier = slot.counted_tier if tier is None else tier
        capability = slot.capability if capability is None else capability
        self.counts[name, service, environment, version, tier, capability, detail] += by

    def _admit_version(self, trace: Trace) -> _VersionKey:
        pair = f"{trace.service} {trace.environment}"
        if not self._labels.admit(self._connection, "service", "", pair, cap=self._settings.max_services):
            self.count(CounterName.SERIES_DROPPED, detail="service")
            return (OTHER, OTHER, OTHER)
        version = self._admit("model_version", pair, trace.model_version, "max_model_versions")
        return (trace.service, trace.environment, version)

    def _admit(self, label: str, scope: str, value: str, cap: str) -> str:
        if self._labels.admit(self._connection, label, scope, value, cap=getattr(self._settings, cap)):
            return value
        self.count(CounterName.SERIES_DROPPED, detail=label)
        return OTHER


def _load_slots(connection: sa.Connection, trace_ids: Iterable[str]) -> dict[str, _Slot]:
    """A slot for each trace id, filled from the ledger where it has a row; rows are locked against other replicas."""
    ordered = sorted(trace_ids)
    slots = {trace_id: _Slot() for trace_id in ordered}
    for start in range(0, len(ordered), _IDS_PER_SELECT):
        ids = ordered[start : start + _IDS_PER_SELECT]
        rows = connection.execute(_STORED.where(request.c.trace_id.in_(ids))).all()
        versions = _version_keys(connection, {row.model_version_id for row in rows} - {None})
        for row in rows:
            slot = slots[row.trace_id]
            slot.stored = True
            if row.model_version_id is not None:
                slot.version = versions[row.model_version_id]
                slot.counted_tier, slot.capability = row.counted_tier, row.capability
            if row.success is not None:
                slot.label = Outcome(
                    success=row.success,
                    failure_class=row.failure_class,
                    score=row.outcome_score,
                    source=row.outcome_source,
                    labelled_at=row.labelled_at,
                )
                slot.standing = (slot.label,)
            if row.outcomes is not None:
                slot.standing = _OUTCOMES.validate_json(row.outcomes)
    return slots


def _version_keys(connection: sa.Connection, ids: Iterable[int]) -> dict[int, _VersionKey]:
    columns = model_version.c
    rows = connection.execute(
        sa.select(columns.id, columns.service, columns.environment, columns.model_version).where(columns.id.in_(ids))
    )
    return {version_id: (service, environment, version) for version_id, service, environment, version in rows}


# Joined with the version, PostgreSQL would show a row that another replica has just filled, but without its version: it
# reads again only the table that it locks.
_STORED = (
    sa.select(
        request.c.trace_id,
        request.c.model_version_id,
        request.c.counted_tier,
        request.c.capability,
        request.c.success,
        request.c.failure_class,
        request.c.outcome_score,
        request.c.outcome_source,
        request.c.labelled_at,
        request.c.outcomes,
    )
    .order_by(request.c.trace_id)
    .with_for_update()  # PostgreSQL; SQLite has locked the whole file already
)

_TRACE_COLUMNS = (
    "model_version_id", "started_at", "capability", "item", "tool_set", "prompt_family", "attributes", "counted_tier",
    "tier", "difficulty_logit", "difficulty_variance", "is_known", "bin", "calibration_id",
)  # fmt: skip


def _trace_columns(slot: _Slot, version_ids: dict[_VersionKey, int]) -> dict[str, Any]:
    """Columns that a trace fills; all empty while only an outcome has come."""
    if slot.new_trace is None or slot.version is None:
        return dict.fromkeys(_TRACE_COLUMNS)
    trace, features, tag = slot.new_trace.trace, slot.new_trace.features, slot.new_trace.tag
    return {
        "model_version_id": version_ids[slot.version],
        "started_at": trace.started_at,
        "counted_tier": slot.counted_tier,
        **feature_columns(features),
        "capability": slot.capability,
        **tag_columns(tag),
    }


def feature_columns(features: RequestFeatures) -> dict[str, Any]:
    """Columns that keep the features of a request, so that it can be tagged anew and learnt from without its text."""
    return {
        "capability": features.capability,
        "item": features.item,
        "tool_set": features.tool_set,
        "prompt_family": features.prompt_family,
        "attributes": json.dumps(dict(features.attributes), sort_keys=True) if features.attributes else None,
    }


def tag_columns(tag: Tag) -> dict[str, Any]:
    """Columns that keep a tag."""
    return {
        "tier": tag.tier,
        "difficulty_logit": tag.difficulty_logit,
        "difficulty_variance": tag.difficulty_variance,
        "is_known": tag.is_known,
        "bin": tag.bin,
        "calibration_id": tag.calibration_id,
    }


_LABEL_COLUMNS = ("success", "failure_class", "outcome_source", "outcome_score", "labelled_at")
_OUTCOMES = TypeAdapter(tuple[Outcome, ...])


def _outcome_columns(slot: _Slot) -> dict[str, Any]:
    """The label, and all standing verdicts where it is not the only one or says less than it did."""
    label = slot.label
    columns: dict[str, Any] = dict.fromkeys(_LABEL_COLUMNS)
    if label is not None:
        values = (label.success, label.failure_class, label.source, label.score, label.labelled_at)
        columns = dict(zip(_LABEL_COLUMNS, values, strict=True))
    says_all = label is None or label.evaluation is None
    is_label_all = says_all and slot.standing == (() if label is None else (label,))
    return columns | {"outcomes": None if is_label_all else _OUTCOMES.dump_json(slot.standing).decode()}


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


def _outcome_label(outcome: Outcome) -> str:
    return "success" if outcome.success else "failure"


def _bucket(bounds: Sequence[float], value: float) -> str:
    """Upper bound of the bucket that *value* is in, as Prometheus writes it."""
    bucket = bisect_left(bounds, value)
    return str(float(bounds[bucket])) if bucket < len(bounds) else "+Inf"


__all__: Sequence[str] = ("RaceLost", "Recorder", "feature_columns", "tag_columns")
