from __future__ import annotations

from monitor.ledger.ledger import CounterName
from tests.builders import NOON, a_batch, a_trace, tagged
from tests.service.houses import (
    House,
    an_event,
)


def test_what_the_ledger_holds_is_shown_before_anything_is_read(house: House) -> None:
    """A replica that starts again shows its counters where they were, and is not ready for that."""
    house.ledger.record(a_batch(tagged(a_trace("t1"))))

    house.service.begin()

    shown = house.snapshots.current
    assert 1 == sum(value for key, value in shown.counters.items() if key.name is CounterName.REQUESTS)
    assert not shown.is_ready


def test_a_service_that_stops_says_so(house: House) -> None:
    """Before the end, readiness goes away while the counts stay to be scraped."""
    house.broker.append(an_event("t0"))

    house.run_until_quiet()

    assert "stopping" in house.snapshots.current.not_ready_reason
    assert house.snapshots.current.counters


def test_a_frontier_probe_that_falls_is_shown_once_it_is_read(house: House) -> None:
    """The runs of probes are gone over when there are new ones, and what was found stays until then."""
    declared = {"request": {"attributes": {"tier": "frontier"}}, "request_id": "probe-1", "environment": "probes"}
    house.broker.append(an_event("t1", **declared, outcome={"success": False}))
    house.run_until_quiet()
    assert {} == house.snapshots.current.frontier_solved

    fallen = {"started_at": "2026-09-21T14:13:50Z", "model_version": "model-2", "outcome": {"success": True}}
    house.broker.append(an_event("t2", **declared, **fallen))
    house.run_until_quiet()

    assert {("shop", "model-2", "unclassified"): NOON + 30} == house.snapshots.current.frontier_solved
    house.broker.append(an_event("t3"))
    house.run_until_quiet()
    assert {("shop", "model-2", "unclassified"): NOON + 30} == house.snapshots.current.frontier_solved
