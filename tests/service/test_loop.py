from __future__ import annotations

import json

from monitor.ledger.ledger import CounterName
from tests.builders import PARTITION, a_batch
from tests.ledgers import counts
from tests.service.houses import (
    House,
    an_event,
)


def test_an_outage_of_the_ledger_is_waited_out(house: House) -> None:
    """While the ledger does not answer the replica is not ready and says why; then it reads everything again."""
    for number in range(5):
        house.broker.append(an_event(f"t{number}"))
    house.ledger.outages = 3
    waits: list[float] = []
    reasons: list[str] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        reasons.append(house.snapshots.current.not_ready_reason)

    house.service.run(is_stopping=lambda: len(waits) == 3, wait=wait)
    house.run_until_quiet()

    assert [0.5, 1.0, 2.0] == waits
    assert ["The ledger's database does not answer."] * 3 == reasons
    assert {"": 5} == counts(house.ledger, CounterName.REQUESTS)
    assert {} == counts(house.ledger, CounterName.DUPLICATES)


def test_a_fenced_batch_is_forgotten_and_read_from_where_the_other_owner_is(house: House) -> None:
    """A batch whose offset another owner moved is dropped; reading goes on after what that owner recorded."""
    for number in range(3):
        house.broker.append(an_event(f"t{number}"))
    house.service.run_once()
    for number in range(3, 5):
        house.broker.append(an_event(f"t{number}"))
    house.ledger.record(a_batch(expected_offset=3, next_offset=4))

    house.run_until_quiet()

    assert {PARTITION: 5} == house.ledger.offsets([PARTITION])
    assert {"": 4} == counts(house.ledger, CounterName.REQUESTS)


def test_a_late_outcome_finds_its_trace(house: House) -> None:
    """An outcome that travels on its own is joined by its trace id."""
    house.broker.append(an_event("t0"))
    outcome = {"schema": "cliffwatch.outcome/v1", "trace_id": "t0", "outcome": {"success": False}}
    house.broker.append(json.dumps(outcome).encode())

    house.run_until_quiet()

    assert {"failure": 1} == counts(house.ledger, CounterName.OUTCOMES)
    assert ["t0"] == [exemplar.trace_id for exemplar in house.snapshots.current.exemplars.values()]
    assert house.snapshots.current.exemplars.keys() <= house.snapshots.current.counters.keys()
