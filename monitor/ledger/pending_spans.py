"""
Spans that are pending in the ledger until their trace is complete.

Each batch stores its spans in compressed packs of several traces, with one row per trace that says which of its spans
are in which pack. A pack is read only to assemble one of its traces, and deleted with the last of them. Whoever writes
pending spans of a trace first locks its row of `waiting_trace`, in order of trace IDs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate, chain
from operator import attrgetter
from secrets import token_urlsafe
from typing import Any

import sqlalchemy as sa
from backports import zstd
from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder

from monitor.ledger.dialect import Dialect
from monitor.ledger.ledger import Assembled, PendingSpans
from monitor.ledger.schema import pending_span, pending_trace, span_pack
from monitor.ledger.stored import readable, real, text, whole
from monitor.trace.grouping import grouped
from monitor.trace.model import TraceId
from monitor.trace.runs import unique_spans
from monitor.trace.settings import AssemblySettings
from monitor.trace.span import Span

_EXPIRED_AT_ONCE = 5_000  # traces
_TRACES_PER_PACK = 16  # a pack per trace would take twice the space and four times as long to write and read
_COMPRESSION_LEVEL = 1  # level 3 is no smaller
_MOST_OF_TRACE = 10**9  # spans; a corrupt row with more counts as 0, since the sum could overflow

_encode = Encoder().encode
_open = Decoder(dict[str, Raw]).decode
_decode = Decoder(list[Span]).decode

_SpansByTrace = dict[TraceId, dict[str, Span]]


class PendingSpanRows:
    """
    Reads and writes pending spans.

    Args:
        dialect: Builds statements for many rows in the SQL of the database.

    Attributes:
        postpone: Postpones traces, each until a given time (Unix seconds) or until its next span.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._values = dialect.values
        self._touch = dialect.upserter(pending_trace, _touched)
        self._append = dialect.appender(pending_span, pending_span.columns.keys())
        self._append_packs = dialect.appender(span_pack, span_pack.columns.keys())
        self._update_packs = dialect.updater(span_pack, "id", ("traces",))
        self._recount = dialect.updater(pending_trace, "trace_id", ("span_count",))
        self._mark_counted = dialect.updater(pending_trace, "trace_id", ("counted_spans", "counted_heads"))
        self.postpone = dialect.updater(pending_trace, "trace_id", ("not_before",))
        trace, row, pack = pending_trace.c, pending_span.c, span_pack.c
        is_trace, is_row, is_pack = map(dialect.among, (trace.trace_id, row.trace_id, pack.id))
        traces = sa.select(*trace["trace_id", "first_received_at", "last_received_at", "counted_heads"])
        self._traces = traces.where(is_trace)
        self._rows = sa.select(pending_span).where(is_row)
        self._packs = sa.select(pack.id, pack.body).where(is_pack)
        self._lock_packs = sa.select(pack.id, pack.traces).where(is_pack).order_by(pack.id).with_for_update()
        self._lock_pending = (
            sa.select(*trace["trace_id", "span_count", "counted_spans", "counted_heads"])
            .where(is_trace, IS_PENDING)
            .order_by(trace.trace_id)
            .with_for_update()
        )
        self._delete_traces = sa.delete(pending_trace).where(is_trace)
        self._delete_rows = sa.delete(pending_span).where(is_row)
        self._delete_packs = sa.delete(span_pack).where(is_pack)

    def add(self, connection: sa.Connection, spans: Sequence[Span], *, received_at: float) -> int:
        """
        Store *spans* as pending: one per span ID, of duplicates the one that `Span.outranks` the others.

        Returns:
            The number of duplicates.
        """
        if not spans:
            return 0
        received = _by_trace(spans)
        self._touch(connection, [_trace_row(of_trace, received_at) for of_trace in received.values()])
        stored = self._stored_ids(connection, received)
        new = {trace_id: list(of_trace.values()) for trace_id, of_trace in received.items()}
        for trace_id, span_ids in stored.items():
            new[trace_id] = [span for span in new[trace_id] if span.span_id not in span_ids]
        repeated = {trace_id: of_trace for trace_id, of_trace in received.items() if len(new[trace_id]) < len(of_trace)}
        self._recount(connection, [(trace_id, len(stored[trace_id]) + len(new[trace_id])) for trace_id in repeated])
        replaced = self._take_outranked(connection, repeated) if repeated else {}
        self._pack(connection, [(trace_id, of_trace) for trace_id, of_trace in {**new, **replaced}.items() if of_trace])
        return len(spans) - sum(map(len, new.values()))

    def _stored_ids(self, connection: sa.Connection, trace_ids: Iterable[str]) -> Mapping[TraceId, AbstractSet[str]]:
        """Span IDs that the ledger has of each trace; traces without any are left out."""
        stored: defaultdict[TraceId, set[str]] = defaultdict(set)
        rows = connection.execute(self._rows, self._among(trace_ids))
        for trace_id, span_ids in readable("pending_span", rows, lambda row: (row[0], text(row[2]).split(" "))):
            stored[trace_id].update(span_ids)
        return stored

    def _take_outranked(self, connection: sa.Connection, repeated: _SpansByTrace) -> Mapping[TraceId, Sequence[Span]]:
        """Unpack the traces in which a repeated span outranks the stored one; returns all their spans, to pack anew."""
        replaced = {}
        for pending in self.of(connection, list(repeated)):
            spans = unique_spans((*pending.spans, *repeated[pending.trace_id].values()))
            if any(spans[span.span_id] is not span for span in pending.spans):
                replaced[pending.trace_id] = list(spans.values())
        self._unpack(connection, replaced)
        return replaced

    def _pack(self, connection: sa.Connection, traces: Sequence[tuple[TraceId, Sequence[Span]]]) -> None:
        packs: list[tuple[Any, ...]] = []
        rows = []
        for start in range(0, len(traces), _TRACES_PER_PACK):
            packed, pack = dict(traces[start : start + _TRACES_PER_PACK]), token_urlsafe(9)
            packs.append((pack, len(packed), zstd.compress(_encode(packed), _COMPRESSION_LEVEL)))
            rows += [(trace_id, pack, " ".join([span.span_id for span in spans])) for trace_id, spans in packed.items()]
        self._append_packs(connection, packs)
        self._append(connection, rows)

    def _unpack(self, connection: sa.Connection, trace_ids: Collection[str]) -> None:
        """Remove these traces from their packs, and delete packs that no trace needs any more."""
        if not trace_ids:
            return
        among = self._among(trace_ids)
        removed = Counter(str(pack) for _, pack, _ in connection.execute(self._rows, among))
        connection.execute(self._delete_rows, among)
        packs = connection.execute(self._lock_packs, self._among(removed)).all()
        remaining = [*readable("span_pack", packs, lambda row: (row[0], whole(row[1]) - removed[row[0]]))]
        self._update_packs(connection, [(pack, traces) for pack, traces in remaining if traces > 0])
        connection.execute(self._delete_packs, self._among(pack for pack, traces in remaining if traces <= 0))

    def due(
        self, connection: sa.Connection, settings: AssemblySettings, *, now: float, max_spans: int
    ) -> Sequence[PendingSpans]:
        """Spans of traces that are due at *now* (Unix seconds), the oldest first; a trace is never split."""
        columns = pending_trace.c
        is_due = sa.or_(
            sa.and_(columns.root_ended, columns.last_received_at <= now - settings.quiet_seconds),
            columns.last_received_at <= now - settings.idle_seconds,
            columns.first_received_at <= now - settings.max_age_seconds,
            columns.span_count - columns.counted_spans >= settings.max_spans_per_trace,
        )
        return self._oldest(connection, sa.and_(columns.not_before <= now, is_due), max_spans)

    def _oldest(
        self, connection: sa.Connection, which: sa.ColumnElement[bool], max_spans: int
    ) -> Sequence[PendingSpans]:
        columns = pending_trace.c
        traces = sa.select(columns.trace_id, columns.span_count).where(IS_PENDING, which)
        rows = connection.execute(traces.order_by(columns.last_received_at, columns.trace_id).limit(max_spans)).all()
        due = list(readable("waiting_trace", rows, lambda row: (TraceId(text(row[0])), whole(row[1]))))
        totals = accumulate(n for _, n in due)
        # The first trace is taken however many spans it has.
        taken = [trace_id for (trace_id, n), total in zip(due, totals, strict=True) if total <= max(max_spans, n)]
        return self.of(connection, taken)

    def crowding(
        self, connection: sa.Connection, settings: AssemblySettings, *, max_spans: int
    ) -> Sequence[PendingSpans]:
        """If too many spans are pending, the oldest traces of the service that has the most, as in `due`."""
        service = pending_trace.c.service
        rows = connection.execute(sa.select(service, _PENDING).where(IS_PENDING).group_by(service))
        spans = dict(readable("waiting_trace", rows, lambda row: (text(row[0]), int(row[1]))))
        surplus = sum(spans.values()) - settings.max_pending_spans
        if surplus <= 0:
            return ()
        return self._oldest(connection, service == max(spans, key=spans.__getitem__), min(max_spans, surplus))

    def stored(self, connection: sa.Connection, trace_ids: Collection[str]) -> set[str]:
        """Those of *trace_ids* whose spans are still in the ledger, pending or already counted."""
        return set(connection.scalars(self._traces, self._among(trace_ids))) if trace_ids else set()

    def expire_counted(self, connection: sa.Connection, *, before: float) -> None:
        """Delete some counted traces whose last span came *before* that time, Unix seconds."""
        columns = pending_trace.c
        rows = connection.scalars(
            sa.select(columns.trace_id)
            .where(columns.span_count == columns.counted_spans, columns.last_received_at < before)
            .limit(_EXPIRED_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        if rows:
            connection.execute(self._delete_traces, self._among(rows))
        self._unpack(connection, rows)

    def of(self, connection: sa.Connection, trace_ids: Sequence[TraceId]) -> Sequence[PendingSpans]:
        """Pending spans of these traces, in the order of *trace_ids*; traces without any are left out."""
        among = self._among(trace_ids)
        spans: dict[TraceId, list[Span]] = {trace_id: [] for trace_id in trace_ids}
        received = dict(readable("pending_trace", connection.execute(self._traces, among), _received))
        by_pack = grouped(connection.execute(self._rows, among), lambda row: str(row.pack))
        # Decode trace by trace, since a pack may hold many traces that are not asked for.
        for pack in connection.execute(self._packs, self._among(by_pack)):
            opened = next(readable("span_pack", [pack], lambda pack: _open(zstd.decompress(pack.body))), {})
            for trace_id, _, span_ids in by_pack.pop(pack.id):
                spans[trace_id] += _unpacked(opened, trace_id, span_ids)
        for trace_id, _, span_ids in chain(*by_pack.values()):  # their pack is lost
            spans[trace_id] += _unpacked({}, trace_id, span_ids)
        return [
            PendingSpans(trace_id, sorted(of_trace, key=attrgetter("span_id")), *received.get(trace_id, (0.0, 0.0, ())))
            for trace_id, of_trace in spans.items()
            if of_trace
        ]

    def take_complete(self, connection: sa.Connection, assembled: Sequence[Assembled]) -> dict[TraceId, int]:
        """
        Mark these traces as counted, unless another replica counted them or a span has come since they were read.

        Args:
            connection: In the transaction that counts them.
            assembled: The number of spans that each trace had when it was read, and its runs.

        Returns:
            The traces marked here, each with the number of its spans that were counted before.
        """
        if not assembled:
            return {}
        read = {trace.trace_id: trace for trace in assembled}
        rows = connection.execute(self._lock_pending, self._among(read)).all()
        unchanged = [row for row in rows if row.span_count == read[row.trace_id].span_count]
        heads = dict(readable("waiting_trace", unchanged, lambda row: (row[0], _heads(row[3], read[row[0]]))))
        taken = [(trace_id, spans, counted) for trace_id, spans, counted, _ in unchanged if trace_id in heads]
        self._mark_counted(connection, [(trace_id, spans, heads[trace_id]) for trace_id, spans, _ in taken])
        return {trace_id: counted for trace_id, _, counted in taken}

    def _among(self, trace_ids: Iterable[str]) -> Mapping[str, object]:
        return {"among": self._values(list(trace_ids))}


IS_PENDING = pending_trace.c.span_count > pending_trace.c.counted_spans
_OF_TRACE = pending_trace.c.span_count - pending_trace.c.counted_spans
_PENDING = sa.func.sum(sa.case((_OF_TRACE < _MOST_OF_TRACE, _OF_TRACE), else_=0))


def count_spans(connection: sa.Connection) -> int:
    """Number of pending spans; spans of counted runs are stored for a while, but not pending."""
    return int(connection.scalar(sa.select(_PENDING).where(IS_PENDING)) or 0)


def _touched(added: Any) -> Mapping[str, Any]:
    """Update of a trace that has spans already; on PostgreSQL it also locks the row against other replicas."""
    have = pending_trace.c
    is_later = added.last_received_at > have.last_received_at
    return {
        "last_received_at": sa.case((is_later, added.last_received_at), else_=have.last_received_at),
        "root_ended": sa.or_(have.root_ended, added.root_ended),
        "span_count": have.span_count + added.span_count,
        "not_before": sa.literal_column("0.0", sa.Double),
    }


def _by_trace(spans: Iterable[Span]) -> _SpansByTrace:
    """The spans by trace and span ID, without duplicates, in the order of trace IDs."""
    by_trace = grouped(spans, lambda span: span.trace_id)
    return {trace_id: unique_spans(by_trace[trace_id]) for trace_id in sorted(by_trace)}


def _trace_row(spans: Mapping[str, Span], received_at: float) -> tuple[Any, ...]:
    """Row of a trace with *spans*, as if all were new; `add` corrects the count if some are stored already."""
    root_ended = any(span.is_ended_root for span in spans.values() if span.parent_span_id is None)
    first = next(iter(spans.values()))
    service = next((span.service for span in spans.values() if span.service), "")
    return first.trace_id, received_at, received_at, root_ended, len(spans), 0, 0.0, "", service


def _unpacked(pack: Mapping[str, Raw], trace_id: TraceId, span_ids: str) -> Sequence[Span]:
    """The spans of a trace in *pack*; placeholders with only their IDs if it is corrupt, so that they still count."""
    spans = next(readable("pending_span", [(trace_id,)], lambda row: _decode(pack[row[0]])), None)
    if spans is not None:
        return spans
    return [Span(trace_id, span_id, started_at=0.0) for span_id in str(span_ids).split(" ")]


def _received(row: Any) -> tuple[TraceId, tuple[float, float, tuple[str, ...]]]:
    trace_id, first, last, heads = row
    return trace_id, (real(first), real(last), tuple(str.split(heads)))


def _heads(counted: Any, assembled: Assembled) -> str:
    """Span IDs of the heads of all runs counted so far, in the order in which they were counted."""
    new = (tagged.trace.head_span_id for tagged in assembled.tagged if tagged.trace.head_span_id)
    return " ".join(dict.fromkeys([*text(counted).split(), *new]))
