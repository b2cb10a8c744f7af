"""Reviews of a replay: at the event times at which the live service would have had more to say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from typing_extensions import override

from monitor.ledger.ledger import RolloutRecord
from monitor.rollout.deployment import growth_times
from monitor.rollout.tracker import Rollout
from monitor.service.review import Reviewer

_GROWTH = 0.05  # a verdict is found at most a twentieth of its requests later than by looking every few seconds


class ReplayReviewer(Reviewer):
    """
    Judges at the event times at which there was more to say, not where batches happen to end.

    A batch may hold days. Each rollout is judged whenever the matured requests of its candidate have grown by a
    twentieth, by what was known at that time, as the live service would have judged it.
    """

    @override
    def judge(self, *, now: float) -> None:
        records = self._ledger.rollouts()
        for record in records:
            if record.rollout.is_under_way:
                self._judge_until(record, records, now)

    def finish(self, *, now: float) -> None:
        """Judge every rollout under way once more, by everything."""
        super().judge(now=now)

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
        looks = growth_times(next(served, ()), rollout.started_at, until - maturity, counted=seen, growth=_GROWTH)
        for at, requests in looks:
            record = self._judge(record, records, at + maturity)
            self._seen[rollout.rollout_id] = requests

    @cached_property
    def _seen(self) -> dict[str, float]:
        """Requests of the candidate at the last look, by rollout."""
        return {}
