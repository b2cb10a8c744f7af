"""A service on fakes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from monitor.clock import EventClock
from monitor.difficulty.settings import DifficultySettings
from monitor.errors import DeadLetterUnavailable, LedgerUnavailable
from monitor.ingest.source import DeadLetterRecord, TopicPartition
from monitor.ledger.ledger import Batch, Recorded
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.rollout.policy import Policy
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from monitor.service.stages import Stages
from monitor.trace.settings import Limits, TraceSettings
from tests.builders import NOON, a_batch
from tests.fakes import FakeBroker, FakeSource


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
    service = Service(stages, rules=DecodeRules(Limits(), TraceSettings()), settings=settings)
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


def counts_by_version(house: House) -> list[tuple[str, int]]:
    return [(version.model_version, version.requests) for version in house.ledger.activity()]
