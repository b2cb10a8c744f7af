"""Assembles traces in memory, for readers that keep no ledger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from monitor.trace.assembly import build_traces
from monitor.trace.model import Trace, TraceId
from monitor.trace.settings import OutcomeSettings
from monitor.trace.span import Span


@dataclass(slots=True)
class _Pending:
    """Spans of one trace, when the last of them came, and whether the root has ended."""

    spans: list[Span] = field(default_factory=list)
    last_came_at: float = 0.0
    root_ended: bool = False


class Assembler:
    """
    Holds spans until their trace is complete.

    Args:
        settings: What a status says of a trace.
        most_traces: Traces whose spans are held, the latest ones; None for all.
    """

    def __init__(self, settings: OutcomeSettings, *, most_traces: int | None = None) -> None:
        self._settings = settings
        self._most_traces = most_traces
        self._pending: dict[TraceId, _Pending] = {}

    def add(self, span: Span, *, now: float = 0.0) -> None:
        """Hold *span*, which came at *now* (seconds on any clock)."""
        pending = self._pending.setdefault(span.trace_id, _Pending())
        pending.spans.append(span)
        pending.last_came_at = now
        pending.root_ended = pending.root_ended or span.is_ended_root
        if self._most_traces is not None and len(self._pending) > self._most_traces:
            del self._pending[next(iter(self._pending))]

    def complete(self, *, now: float, quiet_seconds: float) -> list[Trace]:
        """Traces whose root has ended and of which no span came for *quiet_seconds*; they are no longer held."""
        return self._build(
            trace_id
            for trace_id, pending in self._pending.items()
            if pending.root_ended and now - pending.last_came_at >= quiet_seconds
        )

    def rest(self) -> list[Trace]:
        """Traces out of all spans that are still held, in the order in which their first spans came."""
        return self._build(self._pending)

    def _build(self, trace_ids: Iterable[TraceId]) -> list[Trace]:
        spans = [self._pending.pop(trace_id).spans for trace_id in list(trace_ids)]
        return [run for each in spans for run in build_traces(each, self._settings)]
