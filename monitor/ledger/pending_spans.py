"""
Spans that are pending in the ledger until their trace is complete.

Each batch packs its spans, those of several traces together, and notes for each trace which of them are in which pack;
no pack is read before a trace in it is put together, and it goes with the last of them. A writer of the pending spans
of a trace locks its row of `waiting_trace` first, in order of trace ids.
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
from monitor.trace.model import TraceId
from monitor.trace.runs import unique_spans
from monitor.trace.settings import AssemblySettings
from monitor.trace.span import Span

_FORGOTTEN_AT_ONCE = 5_000  # traces
_TRACES_PER_PACK = 16  # apart each takes twice the room and, to write and read, four times as long
_LEVEL = 1  # of compression: 3 gains nothing
_MOST_OF_TRACE = 10**9  # spans; an odd row that claims more adds nothing, since the sum would overflow

_encode = Encoder().encode
_open = Decoder(dict[str, Raw]).decode
_decode = Decoder(list[Span]).decode

_Came = dict[TraceId, dict[str, Span]]


class PendingSpanRows:
    """
    Spans that wait, in rows of many.

    Args:
        dialect: How the database takes many rows.

    Attributes:
        postpone: Puts off traces, each until some Unix seconds or until another span comes.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._values = dialect.values
        self._touch = dialect.upserter(pending_trace, become=_touched)
        self._append = dialect.appender(pending_span, pending_span.columns.keys())
        self._append_packs = dialect.appender(span_pack, span_pack.columns.keys())
        self._keep_for = dialect.updater(span_pack, "id", ("traces",))
        self._recount = dialect.updater(pending_trace, "trace_id", ("span_count",))
        self._mark_counted = dialect.updater(pending_trace, "trace_id", ("counted_spans", "counted_heads"))
        self.postpone = dialect.updater(pending_trace, "trace_id", ("not_before",))
        trace, row, pack = pending_trace.c, pending_span.c, span_pack.c
        among, held, packed = map(dialect.among, (trace.trace_id, row.trace_id, pack.id))
        traces = sa.select(*trace["trace_id", "first_received_at", "last_received_at", "counted_heads"])
        self._traces = traces.where(among)
        self._rows = sa.select(pending_span).where(held)
        self._packs = sa.select(pack.id, pack.body).where(packed)
        self._held = sa.select(pack.id, pack.traces).where(packed).order_by(pack.id).with_for_update()
        self._grown = (
            sa.select(*trace["trace_id", "span_count", "counted_spans", "counted_heads"])
            .where(among, IS_PENDING)
            .order_by(trace.trace_id)
            .with_for_update()
        )
        self._forget_traces = sa.delete(pending_trace).where(among)
        self._forget_rows = sa.delete(pending_span).where(held)
        self._forget_packs = sa.delete(span_pack).where(packed)

    def add(self, connection: sa.Connection, spans: Sequence[Span], *, received_at: float) -> int:
        """
        Make *spans* pending; each span id once, and of two that differ the one that `Span.outranks` the other.

        Returns:
            How many of them had come before.
        """
        if not spans:
            return 0
        came = _by_trace(spans)
        self._touch(connection, [_trace_row(of_trace, received_at) for of_trace in came.values()])
        known = self._known(connection, came)
        new = {trace_id: list(of_trace.values()) for trace_id, of_trace in came.items()}
        for trace_id, before in known.items():
            new[trace_id] = [span for span in new[trace_id] if span.span_id not in before]
        again = {trace_id: of_trace for trace_id, of_trace in came.items() if len(new[trace_id]) < len(of_trace)}
        self._recount(connection, [(trace_id, len(known[trace_id]) + len(new[trace_id])) for trace_id in again])
        better = self._better(connection, again) if again else {}
        self._pack(connection, [(trace_id, some) for trace_id, some in {**new, **better}.items() if some])
        return len(spans) - sum(map(len, new.values()))

    def _known(self, connection: sa.Connection, trace_ids: Iterable[str]) -> Mapping[TraceId, AbstractSet[str]]:
        """Ids of the spans that traces have already, of those that have any."""
        known: defaultdict[TraceId, set[str]] = defaultdict(set)
        rows = connection.execute(self._rows, self._among(trace_ids))
        for trace_id, span_ids in readable("pending_span", rows, lambda row: (row[0], text(row[2]).split(" "))):
            known[trace_id].update(span_ids)
        return known

    def _better(self, connection: sa.Connection, again: _Came) -> Mapping[TraceId, Sequence[Span]]:
        """All spans of those traces of which one outranks the span that came before; they must be packed again."""
        better = {}
        for pending in self.of(connection, list(again)):
            spans = unique_spans((*pending.spans, *again[pending.trace_id].values()))
            if any(spans[span.span_id] is not span for span in pending.spans):
                better[pending.trace_id] = list(spans.values())
        self._unpack(connection, better)
        return better

    def _pack(self, connection: sa.Connection, traces: Sequence[tuple[TraceId, Sequence[Span]]]) -> None:
        packs: list[tuple[Any, ...]] = []
        rows = []
        for start in range(0, len(traces), _TRACES_PER_PACK):
            some, pack = dict(traces[start : start + _TRACES_PER_PACK]), token_urlsafe(9)
            packs.append((pack, len(some), zstd.compress(_encode(some), _LEVEL)))
            rows += [(trace_id, pack, " ".join([span.span_id for span in spans])) for trace_id, spans in some.items()]
        self._append_packs(connection, packs)
        self._append(connection, rows)

    def _unpack(self, connection: sa.Connection, trace_ids: Collection[str]) -> None:
        """Take these traces out of their packs; those that are left empty go."""
        if not trace_ids:
            return
        among = self._among(trace_ids)
        taken = Counter(str(pack) for _, pack, _ in connection.execute(self._rows, among))
        connection.execute(self._forget_rows, among)
        held = connection.execute(self._held, self._among(taken)).all()
        left = [*readable("span_pack", held, lambda row: (row[0], whole(row[1]) - taken[row[0]]))]
        self._keep_for(connection, [(pack, traces) for pack, traces in left if traces > 0])
        connection.execute(self._forget_packs, self._among(pack for pack, traces in left if traces <= 0))

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
        # The first whatever it has.
        taken = [trace_id for (trace_id, n), total in zip(due, totals, strict=True) if total <= max(max_spans, n)]
        return self.of(connection, taken)

    def crowding(
        self, connection: sa.Connection, settings: AssemblySettings, *, max_spans: int
    ) -> Sequence[PendingSpans]:
        """While more is pending than may be, the oldest traces of the service that holds most, as in `due`."""
        service = pending_trace.c.service
        held = connection.execute(sa.select(service, _PENDING).where(IS_PENDING).group_by(service))
        spans = dict(readable("waiting_trace", held, lambda row: (text(row[0]), int(row[1]))))
        surplus = sum(spans.values()) - settings.max_pending_spans
        if surplus <= 0:
            return ()
        return self._oldest(connection, service == max(spans, key=spans.__getitem__), min(max_spans, surplus))

    def kept(self, connection: sa.Connection, trace_ids: Collection[str]) -> set[str]:
        """Those of *trace_ids* whose spans are still there, pending or kept."""
        return set(connection.scalars(self._traces, self._among(trace_ids))) if trace_ids else set()

    def forget_counted(self, connection: sa.Connection, *, before: float) -> None:
        """Let go of some traces that were counted and whose last span came *before* those Unix seconds."""
        columns = pending_trace.c
        rows = connection.scalars(
            sa.select(columns.trace_id)
            .where(columns.span_count == columns.counted_spans, columns.last_received_at < before)
            .limit(_FORGOTTEN_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        if rows:
            connection.execute(self._forget_traces, self._among(rows))
        self._unpack(connection, rows)

    def of(self, connection: sa.Connection, trace_ids: Sequence[TraceId]) -> Sequence[PendingSpans]:
        """Pending spans of these traces, in the order of *trace_ids*; traces without any are left out."""
        among = self._among(trace_ids)
        spans: dict[TraceId, list[Span]] = {trace_id: [] for trace_id in trace_ids}
        came = dict(readable("pending_trace", connection.execute(self._traces, among), _came))
        rows: defaultdict[str, list[tuple[TraceId, str]]] = defaultdict(list)
        for trace_id, pack, span_ids in connection.execute(self._rows, among):
            rows[str(pack)].append((trace_id, span_ids))
        # One at a time: few of its traces may be asked for.
        for pack in connection.execute(self._packs, self._among(rows)):
            opened = next(readable("span_pack", [pack], lambda pack: _open(zstd.decompress(pack.body))), {})
            for trace_id, span_ids in rows.pop(pack.id):
                spans[trace_id] += _unpacked(opened, trace_id, span_ids)
        for trace_id, span_ids in chain(*rows.values()):  # whose pack is lost
            spans[trace_id] += _unpacked({}, trace_id, span_ids)
        return [
            PendingSpans(trace_id, sorted(of_trace, key=attrgetter("span_id")), *came.get(trace_id, (0.0, 0.0, ())))
            for trace_id, of_trace in spans.items()
            if of_trace
        ]

    def take_complete(self, connection: sa.Connection, assembled: Sequence[Assembled]) -> dict[TraceId, int]:
        """
        Note that the runs of these traces are counted.

        Args:
            connection: In the transaction that counts them.
            assembled: How many spans each of them had when it was looked at, and its runs.

        Returns:
            Those whose spans no other replica counted and to which no span has come since: spans counted before.
        """
        if not assembled:
            return {}
        looked_at = {each.trace_id: each for each in assembled}
        rows = connection.execute(self._grown, self._among(looked_at)).all()
        ours = [row for row in rows if row[1] == looked_at[row[0]].span_count]
        heads = dict(readable("waiting_trace", ours, lambda row: (row[0], _heads(row[3], looked_at[row[0]]))))
        taken = [(trace_id, spans, counted) for trace_id, spans, counted, _ in ours if trace_id in heads]
        self._mark_counted(connection, [(trace_id, spans, heads[trace_id]) for trace_id, spans, _ in taken])
        return {trace_id: counted for trace_id, _, counted in taken}

    def _among(self, trace_ids: Iterable[str]) -> Mapping[str, object]:
        return {"among": self._values(list(trace_ids))}


IS_PENDING = pending_trace.c.span_count > pending_trace.c.counted_spans
_OF_TRACE = pending_trace.c.span_count - pending_trace.c.counted_spans
_PENDING = sa.func.sum(sa.case((_OF_TRACE < _MOST_OF_TRACE, _OF_TRACE), else_=0))


def count_spans(connection: sa.Connection) -> int:
    """How many spans are pending; those of runs that were counted are kept, and pending no more."""
    return int(connection.scalar(sa.select(_PENDING).where(IS_PENDING)) or 0)


def _touched(added: Any) -> Mapping[str, Any]:
    """A trace that was there, to which spans came; on PostgreSQL this also locks it against other replicas."""
    have = pending_trace.c
    is_later = added.last_received_at > have.last_received_at
    return {
        "last_received_at": sa.case((is_later, added.last_received_at), else_=have.last_received_at),
        "root_ended": sa.or_(have.root_ended, added.root_ended),
        "span_count": have.span_count + added.span_count,
        "not_before": sa.literal_column("0.0", sa.Double),
    }


def _by_trace(spans: Iterable[Span]) -> _Came:
    """The better account of each span, by trace in the order of their ids."""
    came: defaultdict[TraceId, list[Span]] = defaultdict(list)
    for span in spans:
        came[span.trace_id].append(span)
    return {trace_id: unique_spans(came[trace_id]) for trace_id in sorted(came)}


def _trace_row(spans: Mapping[str, Span], received_at: float) -> tuple[Any, ...]:
    """A trace of no more than *spans*; where some of them had come before, the number is put right later."""
    root_ended = any(span.is_ended_root for span in spans.values() if span.parent_span_id is None)
    first = next(iter(spans.values()))
    service = next((span.service for span in spans.values() if span.service), "")
    return first.trace_id, received_at, received_at, root_ended, len(spans), 0, 0.0, "", service


def _unpacked(pack: Mapping[str, Raw], trace_id: TraceId, span_ids: str) -> Sequence[Span]:
    """The spans of a trace out of their *pack*; such as say nothing, and still count, where they cannot be read."""
    spans = next(readable("pending_span", [(trace_id,)], lambda row: _decode(pack[row[0]])), None)
    if spans is not None:
        return spans
    return [Span(trace_id, span_id, started_at=0.0) for span_id in str(span_ids).split(" ")]


def _came(row: Any) -> tuple[TraceId, tuple[float, float, tuple[str, ...]]]:
    trace_id, first, last, heads = row
    return trace_id, (real(first), real(last), tuple(str.split(heads)))


def _heads(counted: Any, assembled: Assembled) -> str:
    """Heads of the runs that are counted by now, in the order in which they were."""
    new = (tagged.trace.head_span_id for tagged in assembled.tagged if tagged.trace.head_span_id)
    return " ".join(dict.fromkeys([*text(counted).split(), *new]))
