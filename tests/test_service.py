from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from monitor.clock import EventClock
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import DeadLetterUnavailable, LedgerUnavailable
from monitor.ingest.dead_letter import Rejection
from monitor.ledger.ledger import Batch, CounterName, Recorded
from monitor.ledger.sql import SqlLedger
from monitor.metrics.report import replay_json
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.pipeline import Rules
from monitor.review import Review
from monitor.rollout.policy import Policy
from monitor.service import Service, Stages
from monitor.service_settings import ServiceSettings
from monitor.trace.settings import Limits, TraceSettings
from tests.builders import NOON, PARTITION, a_batch
from tests.contracts.ledger_contract import counts
from tests.fakes import FakeBroker, FakeSource


@dataclass
class FakeDeadLetters:
    """Keeps what it is given, or refuses while it is out of order."""

    kept: list[Rejection] = field(default_factory=list)
    is_out_of_order: bool = False

    def write(self, rejections: Sequence[Rejection]) -> None:
        if self.is_out_of_order:
            raise DeadLetterUnavailable("The dead-letter topic cannot be written.")
        self.kept += rejections

    def close(self) -> None:
        """Nothing to release."""


class FlakyLedger(SqlLedger):
    """A ledger in memory that does not answer as often as it is told."""

    outages = 0

    def record(self, batch: Batch) -> Recorded:
        if self.outages:
            self.outages -= 1
            raise LedgerUnavailable("The ledger's database does not answer.")
        return super().record(batch)


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
        self.service.run(is_stopping=lambda: next(turns, None) is None or self._is_quiet(), wait=waits.append)

    def _is_quiet(self) -> bool:
        read = self.ledger.offsets([PARTITION]).get(PARTITION, 0)
        return read == len(self.broker.logs[PARTITION]) and self.snapshots.current.is_ready


@pytest.fixture
def house() -> Iterator[House]:
    ledger = FlakyLedger("sqlite://")
    broker, dead_letters = FakeBroker(), FakeDeadLetters()
    source = FakeSource(broker, ledger.offsets, max_poll_records=3)
    settings, policy = ServiceSettings(), Policy()
    snapshots = SnapshotHolder(Snapshot(now=NOON, policy=policy))
    review = Review(ledger, settings=settings, difficulty=DifficultySettings(), policy=policy)
    stages = Stages(source, dead_letters, ledger, review, EventClock(), snapshots)
    service = Service(stages, rules=Rules(Limits(), TraceSettings()), policy=policy, settings=settings)
    yield House(broker, ledger, dead_letters, snapshots, service, source)
    ledger.close()


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

    house.run_until_quiet()
    house.service.settle(seconds=2)

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
    assert ["not_json", "empty"] == [rejection.reason for rejection in house.dead_letters.kept]
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

    house.service.run(is_stopping=lambda: len(waits) == 3, wait=waits.append)
    assert not house.snapshots.current.is_ready
    assert "does not answer" in house.snapshots.current.not_ready_reason
    house.run_until_quiet()

    assert [0.5, 1.0, 2.0] == waits
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


def test_a_service_that_stops_says_so(house: House) -> None:
    """Before the end, readiness goes away while the counts stay to be scraped."""
    house.broker.append(an_event("t0"))
    house.run_until_quiet()

    house.service.unready()

    assert "stopping" in house.snapshots.current.not_ready_reason
    assert house.snapshots.current.counters
