from __future__ import annotations

from monitor.output.rollouts import replay_json
from monitor.service.replay import Replay
from tests.builders import PARTITION
from tests.service.houses import (
    House,
    an_event,
)


def test_records_are_counted_and_shown(house: House) -> None:
    """What was read is in the ledger, on the next scrape, and the offset has moved past it."""
    for number in range(7):
        house.broker.append(an_event(f"t{number}", outcome={"success": number > 0}))

    while not house.is_quiet():
        house.service.run_once()
    Replay(house.service).finish(seconds=2)

    assert {PARTITION: 7} == house.ledger.offsets([PARTITION])
    records = replay_json(house.snapshots.current)["records"]
    assert {"read": 7, "counted": 7, "duplicate": 0, "dead_lettered": 0, "unlabelled": 0} == records
    assert house.snapshots.current.is_ready
