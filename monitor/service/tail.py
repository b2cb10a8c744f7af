"""Requests as they arrive, for `cliffwatch tail`: assembled in memory, never written to the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tagger import Tagger
from monitor.difficulty.tiers import Tag, Tier
from monitor.ingest.source import Record
from monitor.service.pipeline import DecodeRules, decode_records, latest_event_time, tag_traces
from monitor.trace.assembly import Assembler
from monitor.trace.model import Outcome, OutcomeEvent, Trace, TraceId
from monitor.trace.outcome_policy import resolve, standing
from monitor.trace.served import ServedModels

_REMEMBERED = 20_000
"""Most traces kept in memory for late verdicts, and most verdicts kept for late traces."""

Calibrated = Callable[[], Calibration | None]
"""Returns the calibration in force."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """
    One request as it is shown.

    Attributes:
        tag: Its tag under the calibration in force; a declared tier replaces the learnt one.
        outcome: The outcome that counts now, or None.
        is_revised: Whether it was shown before with another outcome, or with none.
    """

    trace: Trace
    tag: Tag
    outcome: Outcome | None
    is_revised: bool = False


class Watch:
    """
    Turns records into requests for display; only the ledger counts.

    Args:
        rules: How records are decoded.
        calibration: Returns the calibration that tags requests, or None.
        quiet_seconds: A trace is complete once its root has ended and no span has come for this long.

    Attributes:
        unreadable: Number of records that could not be decoded.
        event_time: Latest time of any event, Unix seconds; serves as the clock when reading a file.
    """

    def __init__(self, rules: DecodeRules, calibration: Calibrated, *, quiet_seconds: float) -> None:
        self._rules = rules
        self._calibration = calibration
        self._quiet_seconds = quiet_seconds
        self._assembler = Assembler(rules.traces.outcomes, most_traces=_REMEMBERED)
        self._shown: dict[TraceId, SeenRequest] = {}
        self._verdicts: dict[TraceId, tuple[Outcome, ...]] = {}
        self._served = ServedModels((), rules.traces.served_within_seconds)
        self.unreadable = 0
        self.event_time = 0.0

    def see(self, records: Sequence[Record], *, now: float) -> Iterator[SeenRequest]:
        """
        Yield the complete requests in *records* and those whose outcome they change; spans wait for `due`.

        Args:
            records: In order of arrival.
            now: Seconds, on the same clock as in `due`.
        """
        decoded = decode_records(records, self._rules)
        self.unreadable += sum(record.dead_letter is not None for record in decoded)
        self.event_time = max(self.event_time, latest_event_time(decoded))
        for record in decoded:
            for event in record.events:
                if isinstance(event, Trace):
                    yield self._show(event)
                else:
                    yield from self._judge(event)
            for span in record.spans:
                self._assembler.add(span, now=now)

    def due(self, *, now: float) -> Iterator[SeenRequest]:
        """Requests whose spans are complete at *now*, by start time."""
        return self._show_runs(self._assembler.complete(now=now, quiet_seconds=self._quiet_seconds))

    def rest(self) -> Iterator[SeenRequest]:
        """Requests assembled from all spans still pending, at the end of the source."""
        return self._show_runs(self._assembler.rest())

    def _show_runs(self, runs: Iterable[Trace]) -> Iterator[SeenRequest]:
        ordered = sorted(runs, key=lambda run: run.started_at)
        self._served = self._served.and_taught_by(ordered)
        for run in ordered:
            yield self._show(self._served.resolve(run, is_last_chance=True) or run)

    def _show(self, trace: Trace) -> SeenRequest:
        (tagged,) = tag_traces([trace], Tagger(self._calibration()), self._rules)
        outcome = self._resolved(trace.trace_id, *tagged.outcomes)
        tag = tagged.tag if not tagged.declared_tier else replace(tagged.tag, tier=Tier(tagged.declared_tier))
        seen = SeenRequest(trace, tag, outcome)
        self._shown[trace.trace_id] = seen
        _forget_oldest(self._shown)
        return seen

    def _judge(self, event: OutcomeEvent) -> Iterator[SeenRequest]:
        outcome = self._resolved(event.trace_id, event.outcome)
        seen = self._shown.get(event.trace_id)
        if seen is None or outcome is None or _displayed(outcome) == _displayed(seen.outcome):
            return
        self._shown[event.trace_id] = SeenRequest(seen.trace, seen.tag, outcome, is_revised=True)
        yield self._shown[event.trace_id]

    def _resolved(self, trace_id: TraceId, *new: Outcome) -> Outcome | None:
        verdicts = standing((*self._verdicts.get(trace_id, ()), *new))
        if new:
            self._verdicts[trace_id] = verdicts
            _forget_oldest(self._verdicts)
        return resolve(verdicts, self._rules.traces.outcomes)


def _displayed(outcome: Outcome | None) -> tuple[bool, str | None] | None:
    return None if outcome is None else (outcome.success, outcome.failure_class)


def _forget_oldest(cache: dict[TraceId, Any]) -> None:
    while len(cache) > _REMEMBERED:
        del cache[next(iter(cache))]
