"""A replay: the loop over a source that ends, and what only then is done."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from math import inf

from monitor.service.loop import Service, Turn
from monitor.trace.model import TraceId
from monitor.trace.span import Span

_TRACES_PER_ASSEMBLY = 500


class Replay:
    """
    Reads a source to its end.

    Args:
        service: The loop over that source.
    """

    def __init__(self, service: Service) -> None:
        self.stages = service.stages
        self._service = service
        self._open_traces: dict[TraceId, float] = {}  # with their starts

    def read(self, *, progress: Callable[[int], None]) -> None:
        """
        Poll and record until the source is exhausted, and assemble the traces whose spans it held.

        Args:
            progress: Called with the number of records of each turn.
        """
        at_end = False
        while not at_end:
            turn = self._service.run_once()
            self._note_open(turn)
            progress(len(turn.records))
            at_end = turn.at_end
        self._close_open()

    def finish(self, *, seconds: float) -> None:
        """Let *seconds* of event time pass with no event, then review and publish."""
        clock, assembly = self.stages.clock, self._service.rules.traces.assembly
        # Also what an earlier replay read and did not stay to assemble.
        while self._service.assemble_due(now=clock.time() + assembly.max_age_seconds + 1.0):
            pass
        clock.observe(clock.time() + seconds)
        self._service.review()
        self.stages.reviewer.finish(now=clock.time())
        self._service.publish()

    def _note_open(self, turn: Turn) -> None:
        for event in (event for record in turn.records for event in record.events if isinstance(event, Span)):
            started_at = self._open_traces.get(event.trace_id, event.started_at)
            self._open_traces[event.trace_id] = min(started_at, event.started_at)
        for trace_id in turn.assembled:
            self._open_traces.pop(trace_id, None)

    def _close_open(self) -> None:
        """Assemble what this replay left open, and only that: another service on the ledger waits for its own."""
        for is_last_chance in (False, True):  # answered calls first: they tell the versions of the others
            left = iter(sorted(self._open_traces, key=lambda trace_id: (self._open_traces[trace_id], trace_id)))
            while some := list(islice(left, _TRACES_PER_ASSEMBLY)):
                pending = self.stages.ledger.spans_of(some)
                self._service.assemble(pending, now=inf, is_last_chance=is_last_chance)
        self._open_traces.clear()
