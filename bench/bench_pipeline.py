"""
Records per second of the whole pipeline, beside a bare poll loop and a poll with a JSON parse over the same topic.

Everything runs in one process on one core, against a real Kafka and a real PostgreSQL that this script starts; it needs
`make servers`. Prints a table and writes bench/out/pipeline.json.
Run: python -m bench.bench_pipeline [--records N]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer
from pydantic_core import from_json

from monitor.clock import WallClock
from monitor.config import Config
from monitor.ingest.dead_letter import NoDeadLetters
from monitor.ingest.kafka import KafkaSource
from monitor.ingest.settings import KafkaSettings
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.pipeline import Rules
from monitor.review import Review
from monitor.service import Service, Stages
from tests.stack.servers import KafkaServer, PostgresServer

OUT = Path(__file__).resolve().parent / "out" / "pipeline.json"
PARTITIONS = 4
BATCH_RECORDS = 2_000
CAPABILITIES = ("search", "book", "pay", "refund")


@dataclass(frozen=True, slots=True)
class Row:
    """One loop over the topic: records per CPU second and per wall second, and against the poll with a JSON parse."""

    loop: str
    records: int
    records_per_cpu_second: float
    microseconds_per_record: float
    records_per_wall_second: float
    share_of_parse: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="records in the topic")
    records = parser.parse_args().records
    with KafkaServer() as kafka, PostgresServer() as postgres, tempfile.TemporaryDirectory() as folder:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # after the servers, which may use every core
        topic = kafka.new_topic(partitions=PARTITIONS)
        _produce(kafka, topic, records)
        loops: dict[str, Callable[[], None]] = {
            "(a) bare poll": lambda: _poll(kafka, topic, records, len),
            "(b) poll and JSON parse": lambda: _poll(kafka, topic, records, from_json),
            "(c) pipeline, SQLite": lambda: _pipeline(kafka, topic, records, f"sqlite:///{folder}/ledger.db"),
            "(d) pipeline, PostgreSQL": lambda: _pipeline(kafka, topic, records, postgres.new_database()),
        }
        timed = {name: _timed(loop) for name, loop in loops.items()}
    parse_cpu = timed["(b) poll and JSON parse"][0]
    rows = [
        Row(name, records, records / cpu, 1e6 * cpu / records, records / wall, parse_cpu / cpu)
        for name, (cpu, wall) in timed.items()
    ]
    _print(rows)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak_mib:.0f} MiB")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"rows": [asdict(row) for row in rows], "peak_mib": peak_mib}, indent=2) + "\n")


def _timed(loop: Callable[[], None]) -> tuple[float, float]:
    """CPU and wall seconds of *loop*; the server's CPU is not ours."""
    cpu, wall = time.process_time(), time.perf_counter()
    loop()
    return time.process_time() - cpu, time.perf_counter() - wall


def _events(records: int) -> Iterator[bytes]:
    start = time.time() - 86_400
    for number in range(records):
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + number / 10))
        yield json.dumps(
            {
                "schema": "cliffwatch.trace/v1",
                "trace_id": f"{number:032x}",
                "service": "support-agent",
                "environment": "production",
                "model_version": "gpt-4-0613",
                "capability": CAPABILITIES[number % len(CAPABILITIES)],
                "request_id": f"probe-{number % 500}",
                "started_at": started,
                "ended_at": started,
                "usage": {"input_tokens": 812, "output_tokens": 90, "cost_usd": 0.0041},
                "tool_calls": 2,
                "steps": 3,
                "outcome": {"success": number % 5 > 0, "failure_class": "wrong_tool", "source": "judge"},
            }
        ).encode()


def _produce(kafka: KafkaServer, topic: str, records: int) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=20)) as producer:
        for number, value in enumerate(_events(records)):
            producer.send(topic, value, partition=number % PARTITIONS)
        producer.flush()


def _poll(kafka: KafkaServer, topic: str, records: int, handle: Callable[[bytes], object]) -> None:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=BATCH_RECORDS,
    )
    with closing(consumer):
        read = 0
        while read < records:
            for batch in consumer.poll(timeout_ms=1_000).values():
                read += len(batch)
                for record in batch:
                    handle(record.value)


def _pipeline(kafka: KafkaServer, topic: str, records: int, ledger_url: str) -> None:
    config = Config()
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        topics=(topic,),
        group_id=f"{topic}-{hash(ledger_url)}",
        max_poll_records=BATCH_RECORDS,
    )
    clock = WallClock()
    with closing(SqlLedger(ledger_url)) as ledger, closing(KafkaSource(settings, ledger.offsets)) as source:
        review = Review(ledger, settings=config.service, difficulty=config.difficulty, policy=config.rollout)
        snapshots = SnapshotHolder(Snapshot(now=clock.time(), policy=config.rollout))
        service = Service(
            Stages(source, NoDeadLetters(), ledger, review, clock, snapshots),
            rules=Rules(config.limits, config.traces),
            policy=config.rollout,
            settings=config.service,
        )
        read = 0
        while read < records:
            read += len(service.run_once().records)


def _print(rows: list[Row]) -> None:
    print(f"{'loop':<28}{'records/CPU s':>15}{'us/record':>12}{'records/wall s':>16}{'of (b)':>9}")
    for row in rows:
        print(
            f"{row.loop:<28}{row.records_per_cpu_second:>15,.0f}{row.microseconds_per_record:>12.1f}"
            f"{row.records_per_wall_second:>16,.0f}{row.share_of_parse:>9.0%}"
        )


if __name__ == "__main__":
    main()
