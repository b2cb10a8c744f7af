"""Reviews of a replay: at the event times at which the live service would have had more to say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from typing_extensions import override

from monitor.ledger.ledger import PruneSubject, RolloutRecord
from monitor.rollout.deployment import growth_times
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import VerdictState
from monitor.service.review import Reviewer

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

    @override
    def judge(self, *, now: float) -> None:
        records = self._ledger.rollouts()
        for record in records:
            if record.rollout.is_under_way:
                self._judge_until(record, records, now)

    def finish(self, *, now: float) -> None:
        """Judge every rollout under way once more, by everything, and see what live labels say."""
        super().judge(now=now)
        super()._assess_if_due(now)

    @override
    def _assess_if_due(self, now: float) -> None:
        """At the end: until then nobody looks, and no verdict rests on it."""

    @override
    def _before_end(self, rollout: Rollout, ended_at: float) -> None:
        records = self._ledger.rollouts()
        for record in records:
            if record.rollout.rollout_id == rollout.rollout_id:
                self._judge_until(record, records, ended_at)

    def _judge_until(self, record: RolloutRecord, records: Sequence[RolloutRecord], until: float) -> None:
        rollout = record.rollout
        maturity = self.judged_after(rollout.service, rollout.environment, now=until)
        served = (
            version.traffic
            for version in self._ledger.activity()
            if (version.service, version.environment, version.model_version)
            == (rollout.service, rollout.environment, rollout.candidate)
        )
        seen = self._seen.get(rollout.rollout_id, 0.0)
        is_waiting = record.verdict is None or record.verdict.state is VerdictState.WAITING
        growth = _GROWTH if is_waiting else _GROWTH_DECIDED
        looks = growth_times(next(served, ()), rollout.started_at, until - maturity, counted=seen, growth=growth)
        for at, requests in looks:
            record = self._judge(record, records, at + maturity)
            self._seen[rollout.rollout_id] = requests

    @cached_property
    def _seen(self) -> dict[str, float]:
        """Requests of the candidate at the last look, by rollout."""
        return {}
