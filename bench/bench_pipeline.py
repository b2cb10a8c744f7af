"""
Records per second of the whole pipeline, beside a bare poll loop and a poll with a JSON parse over the same topic.

Loops run one after the other in one process on one core; Kafka and PostgreSQL, which this script starts, may use the
others. Two replicas are two processes on two cores, which they share with the servers. Needs `make servers`.

(b) is `KafkaConsumer.poll` and `pydantic_core.from_json`, and is what the targets are shares of: 40 % for SQLite, 30 %
for PostgreSQL. Both polls are shown a second time with kafka-python's own checksums in Python, as one reads without
its extra `crc32c`: the product ships with the extra, so the targets hold it against the fast poll.

Prints tables and writes bench/out/pipeline.json; takes about five minutes on two idle cores.
Run: python -m bench.bench_pipeline [--records N] [--events lean|full] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from kafka import KafkaConsumer, KafkaProducer
from kafka.record import default_records
from kafka.record._crc32c import crc as crc32c_in_python
from pydantic_core import from_json

from bench.native_events import EVENTS
from bench.service_loop import BATCH_RECORDS, kafka_source, running_service
from bench.stopwatch import STAGES, Stopwatch
from tests.stack.servers import KafkaServer, PostgresServer

OUT = Path(__file__).resolve().parent / "out" / "pipeline.json"
PARTITIONS = 4
REPLICAS = 2
PARSE = "(b) poll and JSON parse"
SQLITE, POSTGRES = "(c) pipeline, SQLite", "(d) pipeline, PostgreSQL"
TARGET_SHARES = {SQLITE: 0.40, POSTGRES: 0.30}


@dataclass(frozen=True, slots=True)
class Row:
    """One loop over the topic; *stages* holds microseconds of CPU time per record, *rest* those of no stage."""

    loop: str
    records: int
    cpu_seconds: float
    wall_seconds: float
    peak_mib: float
    stages: Mapping[str, float]

    @property
    def microseconds(self) -> float:
        """CPU time of one record."""
        return 1e6 * self.cpu_seconds / self.records

    @property
    def rest(self) -> float:
        """CPU time outside all stages."""
        return self.microseconds - sum(self.stages.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000, help="records in the topic")
    parser.add_argument(
        "--events", choices=EVENTS, help="lean: 0.5 kB, full: 1.6 kB with text and tools; default: both"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the records")
    arguments = parser.parse_args()
    records = arguments.records // 10 if arguments.quick else arguments.records
    every_core = sorted(os.sched_getaffinity(0))
    tables = {}
    with KafkaServer() as kafka, PostgresServer() as postgres:
        os.sched_setaffinity(0, every_core[:1])  # after the servers, which may use every core
        for kind in [arguments.events] if arguments.events else EVENTS:
            topic = kafka.new_topic(partitions=PARTITIONS)
            size = produce(kafka, topic, EVENTS[kind](records))
            rows = [
                *_loops(kafka, postgres, topic, records),
                _replicas(kafka, topic, postgres.new_database(), records, cores=every_core),
            ]
            print(f"\n{records:,} {kind} events of {size:.0f} bytes in {PARTITIONS} partitions\n")
            print("\n".join(table(rows)))
            print()
            print("\n".join(stage_table(rows)))
            tables[kind] = [asdict(row) for row in rows]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"load": os.getloadavg(), "tables": tables}, indent=2) + "\n")


def produce(kafka: KafkaServer, topic: str, events: Iterable[bytes]) -> float:
    """Append *events* to *topic*, with kcat if it is installed; returns their mean size in bytes."""
    lines, length = 0, 0
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        for event in events:
            file.write(event + b"\n")
            lines, length = lines + 1, length + len(event)
        file.flush()
        if kcat := shutil.which("kcat"):
            command = [kcat, "-P", "-b", kafka.bootstrap_servers, "-t", topic, "-l", file.name]
            subprocess.run([*command, "-X", "sticky.partitioning.linger.ms=10"], check=True)
        else:
            _produce_slowly(kafka, topic, Path(file.name))
    return length / lines


def _produce_slowly(kafka: KafkaServer, topic: str, file: Path) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=20)) as producer:
        with file.open("rb") as lines:
            for number, line in enumerate(lines):
                producer.send(topic, line.rstrip(b"\n"), partition=number % PARTITIONS)
        producer.flush()


def _loops(kafka: KafkaServer, postgres: PostgresServer, topic: str, records: int) -> Sequence[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [
            _measured("(a) bare poll", records, lambda _: _poll(kafka, topic, records, len)),
            _measured(PARSE, records, lambda _: _poll(kafka, topic, records, from_json)),
            _measured("(a) with checksums in Python", records, lambda _: _poll_slowly(kafka, topic, records, len)),
            _measured(
                "(b) with checksums in Python", records, lambda _: _poll_slowly(kafka, topic, records, from_json)
            ),
            _measured(SQLITE, records, lambda w: _pipeline(kafka, topic, records, f"sqlite:///{folder}/ledger.db", w)),
            _measured(POSTGRES, records, lambda w: _pipeline(kafka, topic, records, postgres.new_database(), w)),
        ]


def _measured(name: str, records: int, loop: Callable[[Stopwatch], None]) -> Row:
    print(f"{name} ...", file=sys.stderr)
    watch = Stopwatch()
    Path("/proc/self/clear_refs").write_text("5")  # so that the peak of memory is that of this loop
    cpu, wall = time.process_time(), time.perf_counter()
    loop(watch)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    stages = {stage: 1e6 * watch.seconds[stage] / records for stage in STAGES if stage in watch.seconds}
    return Row(name, records, cpu, wall, peak_mib(), stages)


def peak_mib() -> float:
    """Peak memory of this process since the peak was last cleared."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(status["VmHWM"].split()[0]) / 1024


def _poll_slowly(kafka: KafkaServer, topic: str, records: int, handle: Callable[[bytes], object]) -> None:
    with mock.patch.object(default_records, "calc_crc32c", crc32c_in_python):
        _poll(kafka, topic, records, handle)


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


def _pipeline(kafka: KafkaServer, topic: str, records: int, ledger_url: str, watch: Stopwatch) -> None:
    source = kafka_source(kafka.bootstrap_servers, topic, group_id=f"{topic}-{hash(ledger_url)}")
    with running_service(ledger_url, source, watch) as (service, _, _):
        read = 0
        while read < records:
            read += len(service.run_once().records)


def _replicas(kafka: KafkaServer, topic: str, ledger_url: str, records: int, *, cores: Sequence[int]) -> Row:
    name = f"(e) {REPLICAS} replicas, PostgreSQL"
    print(f"{name} ...", file=sys.stderr)
    command = [sys.executable, "-m", "bench.replica", kafka.bootstrap_servers, topic, ledger_url, str(records)]
    replicas = [
        subprocess.Popen([*command, str(cores[number % len(cores)])], stdout=subprocess.PIPE)
        for number in range(REPLICAS)
    ]
    reports = [json.loads(replica.communicate()[0]) for replica in replicas]
    worked = [each for each in reports if each["read"]]
    return Row(
        name,
        records,
        cpu_seconds=sum(each["cpu_seconds"] for each in worked),
        wall_seconds=max(each["ended"] for each in worked) - min(each["began"] for each in worked),
        peak_mib=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        stages={},
    )


def table(rows: Sequence[Row]) -> Sequence[str]:
    """Speed and memory of every loop, and whether the targets are met."""
    parse = next(row for row in rows if row.loop == PARSE)
    lines = [
        f"{'loop':<30}{'records/CPU s':>15}{'us/record':>11}{'records/wall s':>16}{'of (b)':>8}{'peak MiB':>10}  target"
    ]
    for row in rows:
        share, target = parse.microseconds / row.microseconds, TARGET_SHARES.get(row.loop)
        verdict = "" if target is None else f"  {target:.0%} {'reached' if share >= target else 'missed'}"
        lines.append(
            f"{row.loop:<30}{row.records / row.cpu_seconds:>15,.0f}{row.microseconds:>11.1f}"
            f"{row.records / row.wall_seconds:>16,.0f}{share:>8.0%}{row.peak_mib:>10.0f}{verdict}"
        )
    return lines


def stage_table(rows: Sequence[Row]) -> Sequence[str]:
    """Microseconds of CPU time per record and stage."""
    lines = [f"{'us/record':<30}" + "".join(f"{stage:>18}" for stage in (*STAGES, "the rest"))]
    lines += [
        f"{row.loop:<30}" + "".join(f"{row.stages.get(stage, 0.0):>18.1f}" for stage in STAGES) + f"{row.rest:>18.1f}"
        for row in rows
        if row.stages
    ]
    return lines


if __name__ == "__main__":
    main()
