"""
Spans that are pending in the ledger until their trace is complete.

A writer of the pending spans of a trace locks its row of `waiting_trace` first, in order of trace ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from monitor.ledger.labels import DialectInsert
from monitor.ledger.ledger import Assembled, PendingSpans
from monitor.ledger.schema import pending_span, pending_trace
from monitor.ledger.stored import readable, real
from monitor.trace.model import TraceId
from monitor.trace.settings import AssemblySettings
from monitor.trace.span import OperationKind, Span

_IDS_PER_STATEMENT = 400  # two to a span; well below SQLite's limit of bound parameters

_SpanKey = tuple[TraceId, str]
_Key = TypeVar("_Key")


def add_spans(connection: sa.Connection, insert: DialectInsert, spans: Sequence[Span], *, received_at: float) -> int:
    """
    Make *spans* pending; each span id once, and of two that differ the one that `Span.outranks` the other.

    Returns:
        How many of them had come before.
    """
    if not spans:
        return 0
    _touch_traces(connection, insert, spans, received_at)
    came: dict[_SpanKey, Span] = {}
    for span in spans:
        _keep_better(came, span)
    stored = _stored(connection, sorted(came))
    changed = [(key, span) for key, span in sorted(came.items()) if key not in stored or span.outranks(stored[key])]
    if changed:
        statement = insert(pending_span)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["trace_id", "span_id"], set_={"body": statement.excluded.body}
            ),
            [{"trace_id": key[0], "span_id": key[1], "body": span.to_json()} for key, span in changed],
        )
    new = Counter(trace_id for trace_id, span_id in came if (trace_id, span_id) not in stored)
    if new:
        columns = pending_trace.c
        connection.execute(
            sa.update(pending_trace)
            .where(columns.trace_id == sa.bindparam("_trace_id"))
            .values(span_count=columns.span_count + sa.bindparam("_new")),
            [{"_trace_id": trace_id, "_new": count} for trace_id, count in sorted(new.items())],
        )
    return len(spans) - new.total()


def _keep_better(kept: dict[_SpanKey, Span], span: Span) -> None:
    key = (span.trace_id, span.span_id)
    if key not in kept or span.outranks(kept[key]):
        kept[key] = span


def _touch_traces(connection: sa.Connection, insert: DialectInsert, spans: Iterable[Span], received_at: float) -> None:
    """Note that spans came, which on PostgreSQL also locks their traces against other replicas until the end."""
    root_ended: dict[TraceId, bool] = {}
    for span in spans:
        root_ended[span.trace_id] = root_ended.get(span.trace_id, False) or span.is_ended_root
    statement = insert(pending_trace)
    have, add = pending_trace.c, statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["trace_id"],
            set_={
                "last_received_at": sa.case(
                    (add.last_received_at > have.last_received_at, add.last_received_at), else_=have.last_received_at
                ),
                "root_ended": sa.or_(have.root_ended, add.root_ended),
                "not_before": 0.0,
            },
        ),
        [
            {
                "trace_id": trace_id,
                "first_received_at": received_at,
                "last_received_at": received_at,
                "root_ended": ended,
                "span_count": 0,
            }
            for trace_id, ended in sorted(root_ended.items())
        ],
    )


def _stored(connection: sa.Connection, keys: Sequence[_SpanKey]) -> dict[_SpanKey, Span]:
    """Those of the spans that are pending already; never the whole trace, which may have thousands."""
    columns = pending_span.c
    stored: dict[_SpanKey, Span] = {}
    for part in _parts(keys):
        trace_ids, span_ids = ({key[place] for key in part} for place in (0, 1))
        rows = connection.execute(
            sa.select(pending_span)  # by pairs, SQLite would read the whole table
            .where(columns.trace_id.in_(trace_ids))
            .where(columns.span_id.in_(span_ids))
        )
        stored.update(((TraceId(row.trace_id), row.span_id), _span(row)) for row in rows)
    return stored


def due_spans(
    connection: sa.Connection, settings: AssemblySettings, *, now: float, max_spans: int
) -> Sequence[PendingSpans]:
    """Spans of traces that are due at *now* (Unix seconds), the oldest first; a trace is never split."""
    columns = pending_trace.c
    due = connection.execute(
        sa.select(columns.trace_id, columns.span_count)
        .where(columns.span_count > columns.counted_spans)
        .where(columns.not_before <= now)
        .where(
            sa.or_(
                sa.and_(columns.root_ended, columns.last_received_at <= now - settings.quiet_seconds),
                columns.last_received_at <= now - settings.idle_seconds,
                columns.first_received_at <= now - settings.max_age_seconds,
                columns.span_count - columns.counted_spans >= settings.max_spans_per_trace,
            )
        )
        .order_by(columns.last_received_at, columns.trace_id)
        .limit(max_spans)
    ).all()
    taken: list[TraceId] = []
    spans = 0
    for trace_id, span_count in due:
        spans += span_count
        if taken and spans > max_spans:
            break
        taken.append(TraceId(trace_id))
    return spans_of(connection, taken)


def count_spans(connection: sa.Connection) -> int:
    """How many spans are pending; those of runs that were counted are kept, and pending no more."""
    columns = pending_trace.c
    return connection.scalar(sa.select(sa.func.sum(columns.span_count - columns.counted_spans))) or 0


def kept_traces(connection: sa.Connection, trace_ids: Iterable[str]) -> set[str]:
    """Those of *trace_ids* whose spans are still there, pending or kept."""
    found: set[str] = set()
    for part in _parts(sorted(trace_ids)):
        found.update(
            connection.scalars(sa.select(pending_trace.c.trace_id).where(pending_trace.c.trace_id.in_(part))).all()
        )
    return found


def postpone(connection: sa.Connection, until: Mapping[TraceId, float]) -> None:
    """Put off traces until those Unix seconds, or until another span comes."""
    if until:
        columns = pending_trace.c
        connection.execute(
            sa.update(pending_trace)
            .where(columns.trace_id == sa.bindparam("_id"))
            .values(not_before=sa.bindparam("_to")),
            [{"_id": trace_id, "_to": at} for trace_id, at in sorted(until.items())],
        )


def forget_counted(connection: sa.Connection, *, before: float) -> None:
    """Let go of some traces that were counted and whose last span came *before* those Unix seconds."""
    columns = pending_trace.c
    rows = connection.scalars(
        sa.select(columns.trace_id)
        .where(columns.span_count == columns.counted_spans)
        .where(columns.last_received_at < before)
        .order_by(columns.trace_id)
        .limit(_IDS_PER_STATEMENT)
        .with_for_update(skip_locked=True)
    ).all()
    for table in (pending_trace, pending_span) if rows else ():
        connection.execute(sa.delete(table).where(table.c.trace_id.in_(rows)))


def spans_of(connection: sa.Connection, trace_ids: Sequence[TraceId]) -> Sequence[PendingSpans]:
    """Pending spans of these traces, in the order of *trace_ids*; traces without any are left out."""
    spans: dict[TraceId, list[Span]] = {trace_id: [] for trace_id in trace_ids}
    came: dict[TraceId, tuple[float, float, tuple[str, ...]]] = {}
    columns = pending_trace.c
    for part in _parts(trace_ids):
        times = connection.execute(sa.select(pending_trace).where(columns.trace_id.in_(part)))
        came |= readable("pending_trace", times, _came)
        rows = connection.execute(
            sa.select(pending_span).where(pending_span.c.trace_id.in_(part)).order_by(pending_span.c.span_id)
        )
        for row in rows:
            spans[row.trace_id].append(_span(row))
    return [
        PendingSpans(trace_id, of_trace, *came.get(trace_id, (0.0, 0.0, ())))
        for trace_id, of_trace in spans.items()
        if of_trace
    ]


def _came(row: Any) -> tuple[TraceId, tuple[float, float, tuple[str, ...]]]:
    return row.trace_id, (real(row.first_received_at), real(row.last_received_at), tuple(row.counted_heads.split()))


def _span(row: Any) -> Span:
    """The span that *row* keeps; one that says nothing, and still counts, where it cannot be read."""
    blank = Span(TraceId(row.trace_id), row.span_id, kind=OperationKind.OTHER, started_at=0.0)
    return next(readable("pending_span", [row], lambda row: Span.from_json(row.body)), blank)


def take_complete(connection: sa.Connection, assembled: Iterable[Assembled]) -> dict[TraceId, int]:
    """
    Note that the runs of these traces are counted.

    Args:
        connection: In the transaction that counts them.
        assembled: How many spans each of them had when it was looked at, and its runs.

    Returns:
        Those whose spans no other replica counted and to which no span has come since: spans that were counted before.
    """
    taken: dict[TraceId, int] = {}
    columns = pending_trace.c
    looked_at = {each.trace_id: each for each in assembled}
    for part in _parts(sorted(looked_at)):
        rows = connection.execute(
            sa.select(columns.trace_id, columns.span_count, columns.counted_spans, columns.counted_heads)
            .where(columns.trace_id.in_(part))
            .where(columns.span_count > columns.counted_spans)
            .order_by(columns.trace_id)
            .with_for_update()
        )
        ours = [row for row in rows if row.span_count == looked_at[row.trace_id].span_count]
        if ours:
            connection.execute(
                sa.update(pending_trace)
                .where(columns.trace_id == sa.bindparam("_id"))
                .values(counted_spans=columns.span_count, counted_heads=sa.bindparam("_heads")),
                [{"_id": row.trace_id, "_heads": _heads(row, looked_at[row.trace_id])} for row in ours],
            )
        taken.update((TraceId(row.trace_id), row.counted_spans) for row in ours)
    return taken


def _heads(row: Any, assembled: Assembled) -> str:
    """Heads of the runs that are counted by now, in the order in which they were."""
    heads = dict.fromkeys(row.counted_heads.split())
    heads.update(dict.fromkeys(tagged.trace.head_span_id for tagged in assembled.tagged if tagged.trace.head_span_id))
    return " ".join(heads)


def _parts(keys: Sequence[_Key]) -> Iterator[Sequence[_Key]]:
    rest = iter(keys)
    while part := list(islice(rest, _IDS_PER_STATEMENT)):
        yield part
