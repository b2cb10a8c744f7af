from __future__ import annotations

import pytest
import structlog

from monitor.errors import DeadLetterUnavailable
from monitor.ledger.ledger import CounterName
from tests.builders import PARTITION
from tests.ledgers import counts
from tests.service.houses import (
    House,
    a_house,
    an_event,
    counts_by_version,
    history_events,
)


def test_a_record_that_says_nothing_is_set_aside_and_the_rest_is_counted(house: House) -> None:
    """A bad record goes to the dead letters with its reason, and its neighbours are counted."""
    for value in (an_event("t0"), b"{not json", None, an_event("t1")):
        house.broker.append(value)

    house.run_until_quiet()

    assert {"not_json": 1, "empty": 1} == counts(house.ledger, CounterName.DEAD_LETTERS)
    assert ["not_json", "empty"] == [letter.reason for letter in house.dead_letters.kept]
    assert {"": 2} == counts(house.ledger, CounterName.REQUESTS)


def test_a_dead_letter_topic_that_cannot_be_written_holds_everything_back(house: House) -> None:
    """Nothing moves on before the dead letter is kept, and nothing is lost or doubled afterwards."""
    house.broker.append(an_event("t0"))
    house.broker.append(b"{not json")
    house.dead_letters.is_out_of_order = True

    with pytest.raises(DeadLetterUnavailable):
        house.service.run_once()
    assert {} == house.ledger.offsets([PARTITION])
    house.dead_letters.is_out_of_order = False
    house.run_until_quiet()

    assert {"": 1} == counts(house.ledger, CounterName.REQUESTS)
    assert {"not_json": 1} == counts(house.ledger, CounterName.DEAD_LETTERS)


@pytest.mark.parametrize("partitions", [1, 3])
def test_history_in_the_batch_of_the_first_live_request_teaches_what_tags_it(partitions: int) -> None:
    """However history and the first live requests fall into one poll, what stands before them was learnt."""
    with a_house(partitions=partitions, max_poll_records=10_000) as house:
        history = history_events()
        for number, event in enumerate(history):
            house.broker.append(event, number % partitions)
        for partition in range(partitions):
            house.broker.append(an_event(f"live-{partition}", request_id="item-59"), partition)
            house.broker.append(an_event(f"new-{partition}", model_version="model-2"), partition)

        house.run_until_quiet()

        (calibration,) = house.ledger.calibrations()
        live = [row for row in counts_by_version(house) if row[0] in {"model-1", "model-2"}]
        assert len(history) == calibration.history_labels
        assert [("model-1", partitions), ("model-2", partitions)] == live
        assert house.broker_ends() == house.ledger.offsets(house.broker.logs)


def test_a_batch_that_is_recorded_in_parts_is_fenced_in_parts(house: House) -> None:
    """Where another owner moves on between the parts of one poll, what is left is read from where that one is."""
    house.source._max_poll_records = 100
    for event in (an_event("t0"), an_event("t1", model_version="model-2"), an_event("t2", model_version="model-2")):
        house.broker.append(event)
    house.ledger.intrude_after = 1

    house.run_until_quiet()

    assert {PARTITION: 3} == house.ledger.offsets([PARTITION])
    assert {"": 2} == counts(house.ledger, CounterName.REQUESTS)


def test_what_is_recorded_is_said_once_a_minute(house: House) -> None:
    """Each batch is for debugging; the sums of a minute are news."""
    clock = house.service.stages.clock
    with structlog.testing.capture_logs() as told:
        for second in range(0, 130, 5):
            house.broker.append(an_event(f"t{second}"))
            house.service.run_once()
            clock.observe(clock.time() + 5)

    summaries = [each for each in told if each["event"] == "traffic.recorded"]
    assert [1, 12, 12] == [each["records"] for each in summaries]
    assert {"info"} == {each["log_level"] for each in summaries}
    assert {"debug"} == {each["log_level"] for each in told if each["event"] == "batch.committed"}
