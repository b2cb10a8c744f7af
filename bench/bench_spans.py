"""
What a span costs on its way from Kafka to a verdict, beside the OpenTelemetry Collector on the same records.

5,000 agent runs of 8 spans with messages of 2 to 20 kB (`bench.agent_spans`) lie in a topic of four partitions. In one
run, on one core each: a bare poll, a poll and a parse of the protobuf, the Collector with its spanmetrics connector
(where `make collector` built it), Cliffwatch on SQLite, on PostgreSQL, and four replicas of it. Every loop must count
every span. CPU time; that of PostgreSQL's server is shown beside the client's. The clock of a single service goes
by records (four to a second of its own), so that traces are complete, counted and let go while others come.

Prints tables and writes bench/out/spans.json; takes about five minutes. Needs `make servers`.
Run: python -m bench.bench_spans [--runs N] [--quick] [--only sqlite|postgresql|replicas|collector ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from kafka import KafkaConsumer, KafkaProducer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.agent_spans import SPANS_PER_RECORD, SPANS_PER_RUN, span_records
from bench.bench_pipeline import peak_mib
from bench.service_loop import kafka_source, running_service
from bench.stopwatch import STAGES, Stopwatch
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.ledger.ledger import CounterName
from monitor.ledger.sql import SqlLedger
from monitor.service.loop import Service
from tests.stack.servers import KafkaServer, PostgresServer, Server, ServerMissing, find_program, wait_until

OUT = Path(__file__).resolve().parent / "out" / "spans.json"
PARTITIONS = 4
REPLICAS = 4
LOOPS = ("collector", "sqlite", "postgresql", "replicas")
_COLLECTOR = Path(__file__).resolve().parents[1] / ".servers" / "bench-collector"
_RECORDS_PER_SECOND = 4.0
_POLLED = 4_000


@dataclass(slots=True)
class Row:
    """One loop over *spans* spans: CPU seconds of the loop and of the database's server, stages in microseconds."""

    loop: str
    spans: int
    cpu_seconds: float
    wall_seconds: float
    peak_mib: float
    server_seconds: float = 0.0
    wal_bytes: float = 0.0
    dead_rows: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def microseconds(self) -> float:
        """CPU time of one span."""
        return 1e6 * self.cpu_seconds / self.spans


class RecordClock(WallClock):
    """A clock of the service that starts now and advances with the records read."""

    def __init__(self) -> None:
        self._now = time.time()

    def time(self) -> float:
        return self._now

    def skip(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._now += seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5_000, help="agent runs, of 8 spans each")
    parser.add_argument("--quick", action="store_true", help="a fifth of the runs")
    parser.add_argument("--only", nargs="+", choices=LOOPS, default=LOOPS, help="beside the bare loops")
    parser.add_argument("--replica", nargs=4, metavar=("BROKERS", "TOPIC", "LEDGER", "RUNS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.replica:
        brokers, topic, ledger_url, replica_runs = chosen.replica
        print(json.dumps(asdict(_replica(brokers, topic, ledger_url, int(replica_runs)))))
        return
    runs = chosen.runs // 5 if chosen.quick else chosen.runs
    cores = sorted(os.sched_getaffinity(0))
    with KafkaServer() as kafka, PostgresServer() as postgres, tempfile.TemporaryDirectory() as folder:
        topic = kafka.new_topic(partitions=PARTITIONS)
        size = produce(kafka, topic, span_records(runs))
        os.sched_setaffinity(0, cores[:1])  # after the servers, which may use every core
        rows = [
            _bare(kafka, topic, runs, "bare poll", len),
            _bare(kafka, topic, runs, "bare poll and parse", ExportTraceServiceRequest.FromString),
        ]
        if "collector" in chosen.only:
            rows += _collector(kafka, topic, runs)
        if "sqlite" in chosen.only:
            rows.append(_single(kafka, topic, f"sqlite:///{folder}/ledger.db", runs, "Cliffwatch, SQLite"))
        if "postgresql" in chosen.only:
            url = postgres.new_database()
            rows.append(_on_server(postgres, url, lambda: _single(kafka, topic, url, runs, "Cliffwatch, PostgreSQL")))
        if "replicas" in chosen.only:
            url = postgres.new_database()
            os.sched_setaffinity(0, cores)
            rows.append(_on_server(postgres, url, lambda: _replicas(kafka, topic, url, runs)))
    print(f"\n{runs:,} runs of {SPANS_PER_RUN} spans, {size / SPANS_PER_RUN / runs:,.0f} bytes a span\n")
    print("\n".join(table(rows)), end="\n\n")
    print("\n".join(stage_table(rows)))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"load": os.getloadavg(), "rows": [asdict(row) for row in rows]}, indent=2) + "\n")


def produce(kafka: KafkaServer, topic: str, records: Iterable[bytes]) -> int:
    """Append *records* to the partitions of *topic* in turn; returns their size in bytes."""
    size = 0
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, linger_ms=20)) as producer:
        for number, record in enumerate(records):
            producer.send(topic, record, partition=number % PARTITIONS)
            size += len(record)
        producer.flush()
    return size


def _bare(kafka: KafkaServer, topic: str, runs: int, name: str, handle: Callable[[bytes], Any]) -> Row:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=_POLLED,
    )

    def loop() -> None:
        read = 0
        with closing(consumer):
            while read < _records(runs):
                for batch in consumer.poll(timeout_ms=1_000).values():
                    read += len(batch)
                    for record in batch:
                        handle(record.value)

    return _measured(name, runs, loop)


def _records(runs: int) -> int:
    return -(-runs * SPANS_PER_RUN // SPANS_PER_RECORD)


def _measured(name: str, runs: int, loop: Callable[[], None], watch: Stopwatch | None = None) -> Row:
    print(f"{name} ...", file=sys.stderr)
    spans, seconds = runs * SPANS_PER_RUN, {} if watch is None else watch.seconds
    seconds.clear()
    Path("/proc/self/clear_refs").write_text("5")  # so that the peak of memory is that of this loop
    cpu, wall = time.process_time(), time.perf_counter()
    loop()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    stages = {stage: 1e6 * seconds[stage] / spans for stage in STAGES if stage in seconds}
    return Row(name, spans, cpu, wall, peak_mib(), stages=stages)


def _single(kafka: KafkaServer, topic: str, ledger_url: str, runs: int, name: str) -> Row:
    """One service that reads all records and counts all runs, checked against the generated runs."""
    source = kafka_source(kafka.bootstrap_servers, topic, group_id=f"{topic}-{hash(ledger_url)}")
    watch, clock = Stopwatch(), RecordClock()
    with running_service(ledger_url, source, watch, config=_config(), clock=clock) as (service, _, ledger):
        service.begin()

        def loop() -> None:
            read = 0
            while read < _records(runs):
                records = len(service.run_once().records)
                read += records
                clock.skip(records / _RECORDS_PER_SECOND)
            _assemble_rest(service, clock)

        row = _measured(name, runs, loop, watch)
        _check(ledger, runs)
    return row


def _config(quiet_seconds: float = 30.0) -> Config:
    assembly = {"quiet_seconds": quiet_seconds, "late_seconds": 2 * quiet_seconds, "idle_seconds": 10 * quiet_seconds}
    return Config.model_validate({"traces": {"assembly": assembly}})


def _assemble_rest(service: Service, clock: RecordClock) -> None:
    clock.skip(3_600.0)
    while service.assemble_due(now=clock.time()):
        pass


def _check(ledger: SqlLedger, runs: int, *, late: bool = False) -> None:
    counters = ledger.counters()
    spans = {key.detail: value for key, value in counters.items() if key.name is CounterName.SPANS}
    counted = sum(value for key, value in counters.items() if key.name is CounterName.REQUESTS)
    fates = spans.get("joined", 0) + (spans.get("late", 0) if late else 0)
    everything = runs * SPANS_PER_RUN
    if (counted, spans.get("received"), fates, ledger.pending_spans()) != (runs, everything, everything, 0):
        raise SystemExit(f"{counted} of {runs} runs, spans {spans}, {ledger.pending_spans()} pending.")


def _replicas(kafka: KafkaServer, topic: str, ledger_url: str, runs: int) -> Row:
    name = f"{REPLICAS} replicas, PostgreSQL"
    print(f"{name} ...", file=sys.stderr)
    command = [sys.executable, "-m", "bench.bench_spans", "--replica", kafka.bootstrap_servers, topic, ledger_url]
    replicas = [subprocess.Popen([*command, str(runs)], stdout=subprocess.PIPE) for _ in range(REPLICAS)]
    found = [Row(**json.loads(replica.communicate()[0])) for replica in replicas]
    with closing(SqlLedger(ledger_url)) as ledger:
        _check(ledger, runs, late=True)  # one may count before another has read
    return Row(
        name,
        runs * SPANS_PER_RUN,
        sum(each.cpu_seconds for each in found),
        max(each.wall_seconds for each in found),
        max(each.peak_mib for each in found),
    )


def _replica(brokers: str, topic: str, ledger_url: str, runs: int) -> Row:
    """Read and assemble together with other replicas, by the machine's clock, until all runs are counted."""
    spent, began = 0.0, time.perf_counter()
    source = kafka_source(brokers, topic, group_id=f"{topic}-replicas")
    with running_service(ledger_url, source, Stopwatch(), config=_config(quiet_seconds=2.0)) as (service, _, ledger):
        service.begin()
        while True:
            before = time.process_time()
            turn = service.run_once()
            if turn.records or turn.assembled:
                spent += time.process_time() - before
                continue
            received = sum(n for key, n in ledger.counters().items() if (key.name, key.detail) == _RECEIVED)
            if received >= runs * SPANS_PER_RUN and not ledger.pending_spans():
                break
    return Row("", 1, spent, time.perf_counter() - began, peak_mib())


_RECEIVED = (CounterName.SPANS, "received")


def _on_server(postgres: PostgresServer, ledger_url: str, loop: Callable[[], Row]) -> Row:
    """Runs *loop* and adds the CPU time of the PostgreSQL server."""
    with psycopg.connect(ledger_url.replace("+psycopg", ""), autocommit=True) as connection:
        before, wal = _server_seconds(postgres), _wal_bytes(connection)
        row = loop()
        row.server_seconds = _server_seconds(postgres) - before
        row.wal_bytes = (_wal_bytes(connection) - wal) / row.spans
        row.dead_rows = _dead_rows(connection) / row.spans
    return row


def _server_seconds(postgres: PostgresServer) -> float:
    """CPU time of the server and all its processes, those that have ended too."""
    process = postgres.process
    if process is None:
        return 0.0
    pids = [process.pid, *map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())]
    return _cpu_seconds(pids[:1], children=True) + _cpu_seconds(pids[1:])


def _cpu_seconds(pids: Sequence[int], *, children: bool = False) -> float:
    """User and system time of processes, or with that of their ended *children*."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11 : 15 if children else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _wal_bytes(connection: psycopg.Connection[Any]) -> float:
    row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    return float(row[0]) if row else 0.0


def _dead_rows(connection: psycopg.Connection[Any]) -> float:
    """Dead rows of updates and deletes, for vacuum."""
    time.sleep(1.5)  # until every backend has reported
    row = connection.execute("SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables").fetchone()
    return float(row[0]) if row else 0.0


class CollectorServer(Server):
    """The OpenTelemetry Collector that makes metrics of the spans of one topic."""

    def __init__(self, kafka: KafkaServer, topic: str) -> None:
        own = _COLLECTOR / "otelcol"
        self._program = str(own) if own.exists() else find_program("otelcol-contrib", "otelcol")
        super().__init__()
        self._kafka, self._topic = kafka, topic

    def prepare(self) -> None:
        config = {
            "receivers": {
                "kafka": {
                    "brokers": [self._kafka.bootstrap_servers],
                    "group_id": f"collector-{self._topic}",
                    "initial_offset": "earliest",
                    "traces": {"topics": [self._topic], "encoding": "otlp_proto"},
                }
            },
            "connectors": {"span_metrics": {"metrics_flush_interval": "1s"}},
            "exporters": {"prometheus": {"endpoint": self.address}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
                "pipelines": {
                    "traces": {"receivers": ["kafka"], "exporters": ["span_metrics"]},
                    "metrics": {"receivers": ["span_metrics"], "exporters": ["prometheus"]},
                },
            },
        }
        (self.directory / "collector.json").write_text(json.dumps(config))

    def command(self) -> Sequence[str]:
        return [self._program, f"--config=file:{self.directory / 'collector.json'}"]

    def spans(self) -> int:
        """Spans counted in its metrics."""
        import httpx  # noqa: PLC0415

        lines = httpx.get(f"http://{self.address}/metrics", trust_env=False).text.splitlines()
        counts = [line.rpartition(" ")[2] for line in lines if line.startswith("traces_span_metrics_calls_total")]
        return int(sum(map(float, counts)))

    def cpu_seconds(self) -> float:
        """CPU time since its start."""
        return _cpu_seconds([self.process.pid]) if self.process else 0.0

    def peak_mib(self) -> float:
        """Peak memory."""
        if self.process is None:
            return 0.0
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return float(status.partition("VmHWM:")[2].split()[0]) / 1024


def _collector(kafka: KafkaServer, topic: str, runs: int) -> Sequence[Row]:
    print("Collector ...", file=sys.stderr)
    spans = runs * SPANS_PER_RUN
    try:
        with CollectorServer(kafka, kafka.new_topic(partitions=PARTITIONS)) as idle:
            time.sleep(5.0)
            start = idle.cpu_seconds()
    except ServerMissing:
        print("no Collector here; `make collector` builds one", file=sys.stderr)
        return []
    began = time.perf_counter()
    with CollectorServer(kafka, topic) as collector:
        wait_until(lambda: collector.spans() >= spans, 300.0, "the Collector has counted every span", 0.5)
        if collector.spans() != spans:
            raise SystemExit(f"The Collector counts {collector.spans()} of {spans} spans.")
        cpu, peak = collector.cpu_seconds() - start, collector.peak_mib()
    return [Row("Collector, spanmetrics", spans, cpu, time.perf_counter() - began, peak)]


def table(rows: Sequence[Row]) -> Sequence[str]:
    """Cost of every loop, and its ratio to the Collector's."""
    collector = next((row.microseconds for row in rows if row.loop.startswith("Collector")), None)
    names = "us/span", "us/run", "x Collector", "server us", "WAL bytes", "dead rows", "spans/wall s", "peak MiB"
    lines = [f"{'loop':<26}" + "".join(f"{name:>13}" for name in names)]
    for row in rows:
        times = "" if collector is None else f"{row.microseconds / collector:.1f}"
        lines.append(
            f"{row.loop:<26}{row.microseconds:>13.1f}{row.microseconds * SPANS_PER_RUN:>13.0f}{times:>13}"
            f"{1e6 * row.server_seconds / row.spans:>13.1f}{row.wal_bytes:>13.0f}{row.dead_rows:>13.2f}"
            f"{row.spans / row.wall_seconds:>13,.0f}{row.peak_mib:>13.0f}"
        )
    return lines


def stage_table(rows: Sequence[Row]) -> Sequence[str]:
    """Microseconds of CPU time per span and stage."""
    staged = [row for row in rows if row.stages]
    lines = [f"{'us/span':<26}" + "".join(f"{stage:>18}" for stage in (*STAGES, "the rest"))]
    for row in staged:
        rest = row.microseconds - sum(row.stages.values())
        shown = [*(row.stages.get(stage, 0.0) for stage in STAGES), rest]
        lines.append(f"{row.loop:<26}" + "".join(f"{value:>18.1f}" for value in shown))
    return lines


if __name__ == "__main__":
    main()
