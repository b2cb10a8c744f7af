from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from monitor.clock import EventClock
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import DeadLetterUnavailable, LedgerUnavailable
from monitor.ingest.dead_letter import DeadLetterRecord
from monitor.ingest.source import TopicPartition
from monitor.ledger.ledger import Batch, CounterName, Recorded
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.output.rollouts import replay_json
from monitor.rollout.policy import Policy
from monitor.service.loop import Service
from monitor.service.pipeline import Rules
from monitor.service.replay import Replay
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from monitor.service.stages import Stages
from monitor.trace.settings import Limits, TraceSettings
from tests.builders import NOON, PARTITION, a_batch, a_trace, tagged
from tests.fakes import FakeBroker, FakeSource
from tests.ledgers import counts


@dataclass
class FakeDeadLetters:
    """Keeps what it is given, or refuses while it is out of order."""

    kept: list[DeadLetterRecord] = field(default_factory=list)
    is_out_of_order: bool = False

    def write(self, letters: Sequence[DeadLetterRecord]) -> None:
        if self.is_out_of_order:
            raise DeadLetterUnavailable("The dead-letter topic cannot be written.")
        self.kept += letters

    def close(self) -> None:
        """Nothing to release."""


class FlakyLedger(SqlLedger):
    """A ledger in memory that does not answer as often as it is told."""

    outages = 0
    intrude_after = -1

    def record(self, batch: Batch) -> Recorded:
        if self.outages:
            self.outages -= 1
            raise LedgerUnavailable("The ledger's database does not answer.")
        if batch.offsets:
            self.intrude_after -= 1
        recorded = super().record(batch)
        if self.intrude_after == 0:  # another replica has the partition now, and records one more
            at = batch.offsets[0].next_offset
            super().record(a_batch(expected_offset=at, next_offset=at + 1))
        return recorded


@dataclass
class House:
    """A service on fakes, with the parts that a test looks at."""

    broker: FakeBroker
    ledger: FlakyLedger
    dead_letters: FakeDeadLetters
    snapshots: SnapshotHolder
    service: Service
    source: FakeSource

    def run_until_quiet(self) -> None:
        """Turn until nothing is left to read, through outages; at most 50 turns."""
        waits: list[float] = []
        turns = iter(range(50))
        self.service.run(is_stopping=lambda: next(turns, None) is None or self.is_quiet(), wait=waits.append)

    def broker_ends(self) -> dict[TopicPartition, int]:
        """End of every log that holds something."""
        return {partition: len(log) for partition, log in self.broker.logs.items() if log}

    def is_quiet(self) -> bool:
        """Whether everything is read and shown."""
        return self.ledger.offsets(self.broker.logs) == self.broker_ends() and self.snapshots.current.is_ready


@contextmanager
def a_house(*, partitions: int = 1, max_poll_records: int = 3) -> Iterator[House]:
    ledger = FlakyLedger("sqlite://")
    broker, dead_letters = FakeBroker(partitions=partitions), FakeDeadLetters()
    source = FakeSource(broker, ledger.offsets, max_poll_records=max_poll_records)
    settings, policy = ServiceSettings(), Policy()
    snapshots = SnapshotHolder(Snapshot(now=NOON, policy=policy))
    reviewer = Reviewer(ledger, settings=settings, difficulty=DifficultySettings(), policy=policy)
    stages = Stages(source, dead_letters, ledger, reviewer, EventClock(), snapshots)
    service = Service(stages, rules=Rules(Limits(), TraceSettings()), settings=settings)
    yield House(broker, ledger, dead_letters, snapshots, service, source)
    ledger.close()


@pytest.fixture
def house() -> Iterator[House]:
    with a_house() as house:
        yield house


def an_event(trace_id: str, **fields: object) -> bytes:
    return json.dumps(
        {
            "schema": "cliffwatch.trace/v1",
            "trace_id": trace_id,
            "service": "shop",
            "model_version": "model-1",
            "started_at": "2026-09-21T14:13:20Z",
        }
        | fields
    ).encode()


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


def history_events(versions: int = 8, items: int = 60) -> list[bytes]:
    """Labelled reference requests that a calibration can learn from."""
    return [
        an_event(
            f"old-{version}-{item}",
            environment="reference",
            model_version=f"old-{version}",
            request_id=f"item-{item}",
            started_at=f"2026-08-{version + 1:02}T00:{item:02}:00Z",
            outcome={"success": item < 45 - version},
        )
        for version in range(versions)
        for item in range(items)
    ]


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


def counts_by_version(house: House) -> list[tuple[str, int]]:
    return [(version.model_version, version.requests) for version in house.ledger.activity()]
