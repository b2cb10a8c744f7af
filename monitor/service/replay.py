"""A replay: runs the loop over a source that ends, and reviews at the event times of its records."""

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
    Reads a finite source to its end.

    Args:
        service: The loop that polls the source.
    """

    def __init__(self, service: Service) -> None:
        self.stages = service.stages
        self._service = service
        self._open_traces: dict[TraceId, float] = {}  # start of each trace, Unix seconds

    def read(self, *, progress: Callable[[int], None]) -> None:
        """
        Poll and record until the source is exhausted, then assemble the traces whose spans it contained.

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
        """Advance event time by *seconds*, then review and publish."""
        clock, assembly = self.stages.clock, self._service.rules.traces.assembly
        for version in self.stages.ledger.activity():  # this replay may add nothing to what an earlier one recorded
            clock.observe(version.last_started_at)
        # Includes spans of an earlier replay that was interrupted before it assembled them.
        while self._service.assemble_due(now=clock.time() + assembly.max_age_seconds + 1.0):
            pass
        clock.observe(clock.time() + seconds)
        self._service.review()
        self.stages.reviewer.finish(now=clock.time())
        self._service.publish()

    def _close_open(self) -> None:
        """Assemble this replay's open traces only: a live service on the same ledger still waits for its own."""
        for is_last_chance in (False, True):  # successful calls first: failed ones take their model version from them
            trace_ids = iter(sorted(self._open_traces, key=lambda trace_id: (self._open_traces[trace_id], trace_id)))
            while chunk := list(islice(trace_ids, _TRACES_PER_ASSEMBLY)):
                self._service.assemble(self.stages.ledger.spans_of(chunk), now=inf, is_last_chance=is_last_chance)
        self._open_traces.clear()


# Growth of the candidate's requests between two looks. A live service looks every few seconds; a replay finds a verdict
# at most 5 % of the requests later, and a change of a verdict at most 10 % later.
_GROWTH = 0.05
_GROWTH_DECIDED = 0.1


class ReplayReviewer(Reviewer):
    """
    Judges at event times, not at the ends of batches, since one batch may hold days of traffic.

    Judges each rollout whenever the mature requests of its candidate have grown by 5 % (by 10 % once it has a verdict),
    with the data known at that time, as the live service would have done.
    """

    _prune_interval_seconds = 86_400.0  # event time; one batch may cover hours of it
    _never_pruned = (PruneSubject.NAMES,)  # the summary at the end counts all names

    _is_over = False

    @cached_property
    def _seen(self) -> dict[str, float]:
        """Requests of the candidate at the last look, by rollout ID."""
        return {}

    @override
    def finish(self, *, now: float) -> None:
        """Judge every rollout under way once more with all data, and check the calibration against live labels."""
        self._is_over = True
        self.judge(now=now)
        super()._assess_if_due(now)

    @override
    def _assess_if_due(self, now: float) -> None:
        """Do nothing: `finish` does this once, since no verdict depends on it."""

    @override
    def _review(self, now: float) -> None:
        self._traffic = {(v.service, v.environment, v.model_version): v.traffic for v in self._ledger.activity()}
        super()._review(now)

    @override
    def _before_end(self, rollout: Rollout, ended_at: float) -> None:
        records = self._ledger.rollouts()
        for record in records:
            if record.rollout.rollout_id == rollout.rollout_id:
                self._judge(record, records, ended_at)

    @override
    def _judge(self, record: RolloutRecord, records: Sequence[RolloutRecord], now: float) -> RolloutRecord:
        """Judge at every look that is due until *now*; once the replay is over, judge once with all data."""
        if self._is_over:
            return super()._judge(record, records, now)
        rollout = record.rollout
        traffic = self._traffic.get((rollout.service, rollout.environment, rollout.candidate), ())
        seen = self._seen.get(rollout.rollout_id, 0.0)
        growth = _GROWTH if record.verdict is None or record.verdict.state is VerdictState.WAITING else _GROWTH_DECIDED
        looks_until = partial(growth_times, traffic, rollout.started_at, counted=seen, growth=growth)
        if not any(looks_until(now - self.policy.judged_after())):  # none is due even at the shortest possible maturity
            return record
        maturity = self.judged_after(rollout.service, rollout.environment, now=now)
        for at, requests in looks_until(now - maturity):
            if not record.changes or at + maturity >= record.changes[-1][0]:  # an earlier replay judged older looks
                record = super()._judge(record, records, at + maturity)
            self._seen[rollout.rollout_id] = requests
        return record
