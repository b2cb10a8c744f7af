from __future__ import annotations

import pytest

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.metrics.snapshot import MOST_EXEMPLARS, HealthFact, SnapshotHolder, TraceExemplar, with_failures
from tests.metrics.snapshots import a_snapshot

LEDGER_DOWN = HealthFact("ledger", is_ok=False, sentence="The ledger is out of reach:\nconnection refused.")
KAFKA_UP = HealthFact("consumer", is_ok=True, sentence="The consumer polls.")


def test_a_published_snapshot_replaces_the_one_before() -> None:
    """A reader sees the old snapshot or the new one, never a mixture."""
    first, second = a_snapshot(now=1.0), a_snapshot(now=2.0)
    holder = SnapshotHolder(first)
    before = holder.current

    holder.current = second

    assert first is before
    assert second is holder.current


@pytest.mark.parametrize(
    ("is_ready", "health", "reason"),
    [
        (True, (LEDGER_DOWN,), ""),
        (False, (KAFKA_UP, LEDGER_DOWN), "The ledger is out of reach: connection refused."),
        (False, (KAFKA_UP,), "still starting; try again in a few seconds."),
    ],
    ids=["a ready replica has no reason", "a failed check is the reason, on one line", "without one it is starting"],
)
def test_why_a_replica_is_not_ready(is_ready: bool, health: tuple[HealthFact, ...], reason: str) -> None:  # noqa: FBT001 - a case of the table
    """The reason is one line, for a probe's log."""
    assert reason == a_snapshot(is_ready=is_ready, health=health).not_ready_reason


def test_the_latest_failures_keep_their_exemplars() -> None:
    """However many counters there are, as many as the limit show a trace: those that moved last."""
    keys = [CounterKey(CounterName.OUTCOMES, capability=str(number)) for number in range(MOST_EXEMPLARS + 2)]
    exemplars = with_failures({}, {key: f"old-{key.capability}" for key in keys[:-1]}, at=1.0)

    exemplars = with_failures(exemplars, {keys[1]: "new-1", keys[-1]: "new-last"}, at=2.0)

    assert MOST_EXEMPLARS == len(exemplars)
    assert {keys[0], keys[2]}.isdisjoint(exemplars)
    assert TraceExemplar("old-3", 1.0) == exemplars[keys[3]]
    assert [TraceExemplar("new-1", 2.0), TraceExemplar("new-last", 2.0)] == [exemplars[keys[1]], exemplars[keys[-1]]]
