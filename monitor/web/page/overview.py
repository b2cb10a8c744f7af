"""What the overview shows: the worst rollout first, what changed since yesterday, how the monitor fares."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.ledger.ledger import CounterName, RolloutRecord
from monitor.metrics.snapshot import Snapshot
from monitor.output.rollouts import story, urgency
from monitor.rollout.verdict import VerdictState

_DAY_SECONDS = 86_400.0
_ALARMS = (VerdictState.REGRESSION, VerdictState.CLIFF)


def under_way(snapshot: Snapshot) -> Sequence[RolloutRecord]:
    """Rollouts that are watched, the worst first: by verdict, by the rise that is shown, the latest first."""
    watched = [record for record in snapshot.rollouts if record.rollout.is_under_way]
    return sorted(watched, key=lambda record: (urgency(record), -_shown_rise(record), -record.rollout.started_at))


def _shown_rise(record: RolloutRecord) -> float:
    """The largest rise of a failure rate that is shown, with tiers or without; 0 where none is."""
    if record.verdict is None or not record.verdict.scope:
        return 0.0
    compared = (record.verdict.aggregate, record.verdict.easier_tiers, record.verdict.hard_tier)
    return max((each.change.lower for each in compared if each is not None and each.change is not None), default=0.0)


def ended(snapshot: Snapshot) -> Sequence[RolloutRecord]:
    """Rollouts that are not watched any more, the latest first."""
    over = [record for record in snapshot.rollouts if not record.rollout.is_under_way]
    return sorted(over, key=lambda record: -(record.rollout.ended_at or 0.0))


def alarms(records: Sequence[RolloutRecord]) -> Sequence[RolloutRecord]:
    """Those of *records* that raise an alert."""
    return [
        record
        for record in records
        if record.state in _ALARMS or (record.verdict is not None and record.verdict.regressed_capabilities)
    ]


def since(record: RolloutRecord) -> float | None:
    """When the verdict became what it is, Unix seconds; None before the first look."""
    return record.changes[-1][0] if record.changes else None


def since_yesterday(snapshot: Snapshot) -> Sequence[tuple[float, str, RolloutRecord]]:
    """When (Unix seconds), what and to which rollout, in the last 24 hours before the snapshot, the latest first."""
    told = [
        (at, what, record)
        for record in snapshot.rollouts
        for at, what in reversed(story(record, snapshot.rollouts))
        if snapshot.now - _DAY_SECONDS <= at <= snapshot.now
    ]
    return sorted(told, key=lambda each: -each[0])


def dead_letters(snapshot: Snapshot) -> Sequence[tuple[str, int]]:
    """Records that could not be read, by reason, the most frequent first."""
    letters = {
        key.detail: value
        for key, value in snapshot.counters.items()
        if key.name is CounterName.DEAD_LETTERS and value > 0
    }
    return sorted(letters.items(), key=lambda letter: (-letter[1], letter[0]))
