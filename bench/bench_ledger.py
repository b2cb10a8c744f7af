"""
What one record costs in the ledger, and how that grows with its rows, on SQLite and on PostgreSQL.

Batches of new traces with random ids are recorded until the ledger holds a number of rows; at each size the next
batches are timed, and so is what a running service asks of the ledger every second or at every review. PostgreSQL is
started by this script and needs `make servers`. Prints a table and writes bench/out/ledger.json.
Run: python -m bench.bench_ledger [--rows N ...] [--database sqlite|postgresql ...]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tag, Tier
from monitor.ingest.source import TopicPartition
from monitor.ledger.ledger import Batch, OffsetCommit, TaggedTrace
from monitor.ledger.sql import SqlLedger
from monitor.rollout.tracker import Rollout
from monitor.trace.model import ModelVersion, Outcome, OutcomeEvent, Request, Trace, TraceId, Usage
from tests.stack.servers import PostgresServer

OUT = Path(__file__).resolve().parent / "out" / "ledger.json"
BATCH_RECORDS = 4_000
BATCHES_TIMED = 10
PARTITIONS = [TopicPartition("agent-traces", number) for number in range(4)]
CAPABILITIES = ("search", "book", "pay", "refund")
VERSIONS = ("gpt-4-0613", "gpt-4-0125-preview")
CALIBRATION = "c" * 16
START = 1_790_000_000.0
ROLLOUT = Rollout("r", "support-agent", "production", *VERSIONS, started_at=START, calibration_id=CALIBRATION)
LOGITS = {Tier.EASY: -3.0, Tier.MEDIUM: -1.0, Tier.HARD: 1.0, Tier.FRONTIER: 3.0}
TAGS = [
    Tag(tier, logit, 0.25, is_known=True, bin=place, calibration_id=CALIBRATION)
    for place, (tier, logit) in enumerate(LOGITS.items())
]


@dataclass(frozen=True, slots=True)
class Row:
    """Costs of one database at one size; microseconds of this process's CPU and of wall time."""

    database: str
    rows: int
    what: str
    cpu_microseconds: float
    wall_microseconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="sizes to time")
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    chosen = parser.parse_args()
    found: list[Row] = []
    print(f"{'database':<12}{'rows':>12}  {'what':<34}{'CPU us':>14}{'wall us':>14}")
    for database in chosen.database:
        with ExitStack() as stack:
            if database == "sqlite":
                url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/ledger.db"
            else:
                url = stack.enter_context(PostgresServer()).new_database()
            ledger = stack.enter_context(closing(SqlLedger(url)))
            for row in costs(ledger, database, sorted(chosen.rows)):
                found.append(row)
                print(
                    f"{row.database:<12}{row.rows:>12,}  {row.what:<34}"
                    f"{row.cpu_microseconds:>14,.1f}{row.wall_microseconds:>14,.1f}",
                    flush=True,
                )
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n")


def costs(ledger: SqlLedger, database: str, sizes: list[int]) -> Iterator[Row]:
    """Costs of the ledger at each of *sizes*, filled one after the other."""
    stream = batches()
    recorded = 0
    for size in sizes:
        while recorded < size - BATCHES_TIMED * BATCH_RECORDS:
            ledger.record(next(stream))
            recorded += BATCH_RECORDS
        some = [next(stream) for _ in range(BATCHES_TIMED)]
        recorded += BATCHES_TIMED * BATCH_RECORDS
        ways: dict[str, list[Batch]] = {
            "record, per new trace": some,
            "record, per later outcome": [later_outcomes(batch) for batch in some],
            "record, per duplicate": [replace(batch, offsets=()) for batch in some],
        }
        for what, same in ways.items():
            cpu, wall = timed(partial(record_all, ledger, same))
            yield Row(database, recorded, what, cpu / recorded_by(same), wall / recorded_by(same))
        for what, ask in queries(ledger, matured_before=START + 2 * recorded).items():
            ask()  # once before, so that what is read is in memory
            yield Row(database, recorded, what, *timed(ask))


def queries(ledger: SqlLedger, *, matured_before: float) -> dict[str, Callable[[], object]]:
    """The queries of a service each second, and of a review."""
    return {
        "counters": ledger.counters,
        "activity": ledger.activity,
        "pending_spans": ledger.pending_spans,
        "cohort": partial(ledger.cohort, ROLLOUT, matured_before=matured_before),
        "labels_of, 5,000": partial(ledger.labels_of, VERSIONS[0], matured_before=matured_before, limit=5_000),
        "cases, 100": partial(ledger.cases, ROLLOUT, limit=100),
    }


def later_outcomes(batch: Batch) -> Batch:
    """A person's verdict on every trace of *batch*, which overrules the one that it came with."""
    events = [
        OutcomeEvent(event.trace.trace_id, structs.replace(outcome, source="human"))
        for event in batch.events
        if isinstance(event, TaggedTrace)
        for outcome in event.outcomes
    ]
    return replace(batch, events=events, offsets=())


def record_all(ledger: SqlLedger, some: list[Batch]) -> None:
    for batch in some:
        ledger.record(batch)


def recorded_by(some: list[Batch]) -> int:
    return sum(len(batch.events) for batch in some)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Microseconds of CPU of this process and of wall time; a database server's CPU is not in the former."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return 1e6 * (time.process_time() - cpu), 1e6 * (time.perf_counter() - wall)


def batches(seed: int = 1) -> Iterator[Batch]:
    """Batches of new traces with random ids, half of each model version, every one with an outcome."""
    dice = random.Random(seed)
    offset = 0
    while True:
        number = offset
        events = [a_trace(dice, number + place) for place in range(BATCH_RECORDS)]
        step = BATCH_RECORDS // len(PARTITIONS)
        expected = None if offset == 0 else offset // len(PARTITIONS)
        moves = [OffsetCommit(each, expected, offset // len(PARTITIONS) + step) for each in PARTITIONS]
        offset += BATCH_RECORDS
        yield Batch(events, (), moves, dict.fromkeys(PARTITIONS, step), received_at=START + offset)


def a_trace(dice: random.Random, number: int) -> TaggedTrace:
    """One agent run as the pipeline passes it to the ledger."""
    item, capability = number % 500, CAPABILITIES[number % len(CAPABILITIES)]
    started_at = START + number + dice.random()
    failed = dice.random() < 0.2
    outcome = Outcome(
        success=not failed,
        failure_class="wrong_tool" if failed else None,
        source="judge",
        labelled_at=started_at + 2,
    )
    trace = Trace(
        trace_id=TraceId(f"{dice.getrandbits(128):032x}"),
        service="support-agent",
        environment="production",
        model_version=ModelVersion(VERSIONS[dice.random() < 0.5]),
        request=Request(capability=capability, request_id=f"probe-{item}"),
        started_at=started_at,
        ended_at=started_at + dice.expovariate(0.2),
        usage=Usage(input_tokens=812, output_tokens=90, cost_usd=0.0041),
        tool_calls=2,
        steps=3,
        outcome=outcome,
    )
    features = RequestFeatures(capability, item=f"probe-{item}", tool_set="0123456789abcdef", attributes={"scope": 2.0})
    return TaggedTrace(trace, features, TAGS[item % len(TAGS)], (outcome,))


if __name__ == "__main__":
    main()
