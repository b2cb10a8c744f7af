"""Spans that wait in the ledger until their trace is complete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from monitor.ledger.labels import DialectInsert
from monitor.ledger.ledger import WaitingSpans
from monitor.ledger.schema import waiting_span, waiting_trace
from monitor.trace.model import TraceId
from monitor.trace.settings import AssemblySettings
from monitor.trace.span import Span


def add_spans(connection: sa.Connection, insert: DialectInsert, spans: Iterable[Span], *, received_at: float) -> int:
    """
    Let *spans* wait for their traces; each span id once, of two that differ the one with the greater JSON.

    Returns:
        How many of them had come before.
    """
    came: dict[TraceId, list[Span]] = defaultdict(list)
    for span in spans:
        came[span.trace_id].append(span)
    duplicates = 0
    for trace_id, of_trace in sorted(came.items()):  # one order for all replicas, so no deadlock
        duplicates += _add_to_trace(connection, insert, trace_id, of_trace, received_at)
    return duplicates


def _add_to_trace(
    connection: sa.Connection, insert: DialectInsert, trace_id: TraceId, spans: Sequence[Span], received_at: float
) -> int:
    _touch_trace(connection, insert, trace_id, spans, received_at)
    rows = connection.execute(
        sa.select(waiting_span.c.span_id, waiting_span.c.body).where(waiting_span.c.trace_id == trace_id)
    )
    stored = {row.span_id: row.body for row in rows}
    kept = dict(stored)
    for span in spans:
        kept[span.span_id] = max(kept.get(span.span_id, ""), span.to_json())
    changed = [
        {"trace_id": trace_id, "span_id": span_id, "body": body}
        for span_id, body in sorted(kept.items())
        if stored.get(span_id) != body
    ]
    if changed:
        statement = insert(waiting_span)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["trace_id", "span_id"], set_={"body": statement.excluded.body}
            ),
            changed,
        )
    new = len(kept) - len(stored)
    if new:
        connection.execute(
            sa.update(waiting_trace)
            .where(waiting_trace.c.trace_id == trace_id)
            .values(span_count=waiting_trace.c.span_count + new)
        )
    return len(spans) - new


def _touch_trace(
    connection: sa.Connection, insert: DialectInsert, trace_id: TraceId, spans: Sequence[Span], received_at: float
) -> None:
    """Note that spans came, which on PostgreSQL also locks the trace against other replicas until the end."""
    statement = insert(waiting_trace).values(
        trace_id=trace_id,
        first_received_at=received_at,
        last_received_at=received_at,
        root_ended=any(span.is_ended_root for span in spans),
        span_count=0,
    )
    have, add = waiting_trace.c, statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["trace_id"],
            set_={
                "last_received_at": sa.case(
                    (add.last_received_at > have.last_received_at, add.last_received_at), else_=have.last_received_at
                ),
                "root_ended": sa.or_(have.root_ended, add.root_ended),
            },
        )
    )


def due_spans(
    connection: sa.Connection, settings: AssemblySettings, *, now: float, limit: int
) -> Sequence[WaitingSpans]:
    """Spans of traces that are due at *now* (Unix seconds), those that wait longest first."""
    columns = waiting_trace.c
    due = connection.scalars(
        sa.select(columns.trace_id)
        .where(
            sa.or_(
                sa.and_(columns.root_ended, columns.last_received_at <= now - settings.quiet_seconds),
                columns.last_received_at <= now - settings.idle_seconds,
                columns.first_received_at <= now - settings.max_age_seconds,
                columns.span_count >= settings.max_spans_per_trace,
            )
        )
        .order_by(columns.last_received_at, columns.trace_id)
        .limit(limit)
    ).all()
    spans: dict[str, list[Span]] = {trace_id: [] for trace_id in due}
    rows = connection.execute(
        sa.select(waiting_span).where(waiting_span.c.trace_id.in_(due)).order_by(waiting_span.c.span_id)
    )
    for row in rows:
        spans[row.trace_id].append(Span.from_json(row.body))
    return [WaitingSpans(TraceId(trace_id), of_trace) for trace_id, of_trace in spans.items()]


def claim(connection: sa.Connection, trace_id: TraceId, *, span_count: int) -> bool:
    """Take a trace out of waiting; False where another replica did, or another span has come since it was looked at."""
    claimed = connection.execute(
        sa.delete(waiting_trace)
        .where(waiting_trace.c.trace_id == trace_id)
        .where(waiting_trace.c.span_count == span_count)
    )
    if claimed.rowcount != 1:
        return False
    connection.execute(sa.delete(waiting_span).where(waiting_span.c.trace_id == trace_id))
    return True
