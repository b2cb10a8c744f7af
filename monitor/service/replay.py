"""A replay: the loop over a source that ends, what only then is done, and reviews at the times of its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import islice
from math import inf

from typing_extensions import override

from monitor.ledger.ledger import PruneSubject, RolloutRecord
from monitor.rollout.deployment import growth_times
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import VerdictState
from monitor.service.loop import Service
from monitor.service.review import Reviewer
from monitor.trace.model import TraceId

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
            for span in (span for record in turn.records for span in record.spans):
                started_at = self._open_traces.get(span.trace_id, span.started_at)
                self._open_traces[span.trace_id] = min(started_at, span.started_at)
            for trace_id in turn.assembled:
                self._open_traces.pop(trace_id, None)
            progress(len(turn.records))
            at_end = turn.at_end
        self._close_open()

    def finish(self, *, seconds: float) -> None:
        """Let *seconds* of event time pass with no event, then review and publish."""
        clock, assembly = self.stages.clock, self._service.rules.traces.assembly
        for version in self.stages.ledger.activity():  # also of earlier replays: this one may bring nothing new
            clock.observe(version.last_started_at)
        # Also what an earlier replay read and did not stay to assemble.
        while self._service.assemble_due(now=clock.time() + assembly.max_age_seconds + 1.0):
            pass
        clock.observe(clock.time() + seconds)
        self._service.review()
        self.stages.reviewer.finish(now=clock.time())
        self._service.publish()

    def _close_open(self) -> None:
        """Assemble what this replay left open, and only that: another service on the ledger waits for its own."""
        for is_last_chance in (False, True):  # answered calls first: they tell the versions of the others
            left = iter(sorted(self._open_traces, key=lambda trace_id: (self._open_traces[trace_id], trace_id)))
            while some := list(islice(left, _TRACES_PER_ASSEMBLY)):
                self._service.assemble(self.stages.ledger.spans_of(some), now=inf, is_last_chance=is_last_chance)
        self._open_traces.clear()


_GROWTH = 0.05  # a verdict is found at most a twentieth of its requests later than by looking every few seconds...
_GROWTH_DECIDED = 0.1  # ... and what changes one at most a tenth later


class ReplayReviewer(Reviewer):
    """
    Judges at the event times at which there was more to say, not where batches happen to end.

    A batch may hold days. Each rollout is judged whenever the matured requests of its candidate have grown by a
    twentieth, or by a tenth once there is a verdict, by what was known at that time, as the live service would have
    judged it.
    """

    _prune_interval_seconds = 86_400.0  # no reader waits for it, and a batch may hold hours
    _kept = (PruneSubject.NAMES,)  # what is printed at the end counts them all

    _is_over = False

    @cached_property
    def _seen(self) -> dict[str, float]:
        """Requests of the candidate at the last look, by rollout."""
        return {}

    @override
    def finish(self, *, now: float) -> None:
        """Judge every rollout under way once more, by everything, and see what live labels say."""
        self._is_over = True
        self.judge(now=now)
        super()._assess_if_due(now)

    @override
    def _assess_if_due(self, now: float) -> None:
        """Done at the end: no verdict rests on it."""

    @override
    def _review(self, now: float) -> None:
        self._traffic = {(of.service, of.environment, of.model_version): of.traffic for of in self._ledger.activity()}
        super()._review(now)

    @override
    def _before_end(self, rollout: Rollout, ended_at: float) -> None:
        records = self._ledger.rollouts()
        for record in records:
            if record.rollout.rollout_id == rollout.rollout_id:
                self._judge(record, records, ended_at)

    @override
    def _judge(self, record: RolloutRecord, records: Sequence[RolloutRecord], now: float) -> RolloutRecord:
        """At each time until *now* at which there was more to say, but once by everything when the replay is over."""
        if self._is_over:
            return super()._judge(record, records, now)
        rollout = record.rollout
        served = self._traffic.get((rollout.service, rollout.environment, rollout.candidate), ())
        seen = self._seen.get(rollout.rollout_id, 0.0)
        growth = _GROWTH if record.verdict is None or record.verdict.state is VerdictState.WAITING else _GROWTH_DECIDED
        looks_of = partial(growth_times, served, rollout.started_at, counted=seen, growth=growth)
        if not any(looks_of(now - self.policy.judged_after())):  # before that it does not matter how long labels take
            return record
        maturity = self.judged_after(rollout.service, rollout.environment, now=now)
        for at, requests in looks_of(now - maturity):
            if not record.changes or at + maturity >= record.changes[-1][0]:  # before, an earlier replay judged it
                record = super()._judge(record, records, at + maturity)
            self._seen[rollout.rollout_id] = requests
        return record
