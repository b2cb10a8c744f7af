"""The promise of the product: whatever dies, whenever, each event is counted once."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from random import Random

import psycopg
import pytest
import yaml

from tests.faults.counted import by_family, counted
from tests.faults.events import OUTCOMES, TRACES, Line, Stream, Truth
from tests.faults.faults import Chaos, Fault, Plan, Replicas, replica_settings, slices
from tests.stack.monitor_process import CLIFFWATCH, MonitorProcess
from tests.stack.servers import KafkaServer, PostgresServer, find_program, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(7_200)]

_NEVER = 1e6  # seconds: no trace is put together while its spans may still be held up by a fault
_AT_ONCE = 0.5
_LINES_PER_CALL = 5_000
_LAST_SECONDS = 600.0
_LOGGED = ("batch.fenced", "service.paused", "partitions.assigned", "job.postponed")

Progress = partial[tuple[int, int] | None]


class Producer(threading.Thread):
    """
    Writes the stream while it is read, always a tenth of it ahead, and never while the broker is away.

    Random partitions: the spans of a trace, its copies and its verdicts are scattered over all of them.
    """

    def __init__(self, kafka: KafkaServer, stream: Stream, plan: Plan, recorded: Progress) -> None:
        super().__init__(name="producer", daemon=True)
        self._kafka = kafka
        self._stream = stream
        self._ahead = max(2_000, plan.events // 10)
        self._slice = min(_LINES_PER_CALL, self._ahead // 2)
        self._recorded = recorded
        self.broker_lock = threading.Lock()
        self.written = 0
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            for lines in slices(iter(self._stream), self._slice):
                while self.written > self._ahead + (self._recorded() or (self.written, 0))[0]:
                    time.sleep(0.1)
                for topic in (TRACES, OUTCOMES):
                    self._write(topic, [line for line in lines if line.topic == topic])
        except BaseException as problem:  # noqa: BLE001  (told by the test)
            self.problem = problem

    def _write(self, topic: str, lines: list[Line]) -> None:
        sure = ["enable.idempotence=true", "acks=all", "message.timeout.ms=600000"]
        scattered = ["topic.partitioner=random", "sticky.partitioning.linger.ms=0"]
        options = [part for option in (*sure, *scattered) for part in ("-X", option)]
        program = find_program("kcat", "kafkacat")
        with self.broker_lock:
            subprocess.run(
                [program, "-P", "-E", "-b", self._kafka.bootstrap_servers, "-t", topic, *options],
                input=b"\n".join(line.value for line in lines),
                check=True,
                capture_output=True,
                timeout=600,
            )
            self.written += len(lines)


def ask_postgres(url: str) -> tuple[int, int] | None:
    """Records recorded and spans that wait; None while the database is away."""
    try:
        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2) as connection:
            return _ask(connection)
    except psycopg.Error:
        return None


def ask_sqlite(path: Path) -> tuple[int, int] | None:
    """Records recorded and spans that wait; None before there is a ledger."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return _ask(connection)
    except sqlite3.Error:
        return None


def _ask(connection: psycopg.Connection | sqlite3.Connection) -> tuple[int, int]:
    records = connection.execute("SELECT coalesce(sum(next_offset), 0) FROM kafka_offset").fetchone()
    # Those of counted runs stay for a while, and wait for nothing.
    spans = connection.execute("SELECT coalesce(sum(span_count - counted_spans), 0) FROM waiting_trace").fetchone()
    assert records is not None
    assert spans is not None
    return int(records[0]), int(spans[0])


@pytest.fixture
def topics(kafka: KafkaServer) -> Iterator[KafkaServer]:
    """A broker with the two topics of the stream."""
    kafka.create_topic(TRACES, partitions=12)
    kafka.create_topic(OUTCOMES, partitions=4)
    yield kafka
    kafka.ensure_running()
    kafka.delete_topics(TRACES, OUTCOMES)


def test_three_replicas_on_postgresql_count_everything_once(topics: KafkaServer, postgres: PostgresServer) -> None:
    """Killed, stopped, joining, leaving, without broker and without database: every count is the truth."""
    plan = Plan.from_environment(
        replicas=3,
        events=10_000,
        faults={Fault.KILL: 4, Fault.PAUSE: 1, Fault.BROKER: 1, Fault.DATABASE: 1, Fault.JOIN: 1, Fault.LEAVE: 1},
    )
    url = postgres.new_database()

    judge(plan, topics, postgres, url, partial(ask_postgres, url))


def test_one_replica_on_sqlite_counts_everything_once(topics: KafkaServer, tmp_path: Path) -> None:
    """Killed, restarted and without broker: every count is the truth."""
    plan = Plan.from_environment(
        replicas=1, events=6_000, faults={Fault.KILL: 3, Fault.PAUSE: 0, Fault.BROKER: 1, Fault.LEAVE: 1}
    )
    path = tmp_path / "ledger.db"

    judge(plan, topics, None, f"sqlite:///{path}", partial(ask_sqlite, path))


def judge(plan: Plan, kafka: KafkaServer, postgres: PostgresServer | None, url: str, recorded: Progress) -> None:
    """Carry out *plan* and compare what every replica shows with the truth."""
    stream, began = Stream(plan.events, plan.seed), time.monotonic()
    _say(f"\nseed {plan.seed}: {plan.events:,} events, {plan.replicas} replicas")
    producer = Producer(kafka, stream, plan, recorded)
    with ExitStack() as stack:
        # One place more for those that join and leave.
        count = plan.replicas + bool(plan.faults.get(Fault.JOIN))
        sections = replica_settings(kafka, url, quiet_seconds=_NEVER)
        places = [MonitorProcess(**sections) for _ in range(count)]
        for place in places:
            stack.callback(shutil.rmtree, place.directory, ignore_errors=True)
            stack.callback(place.stop)
            place.prepare()
        replicas = Replicas(places, plan.replicas, Random(plan.seed + 2))
        for place in places[: plan.replicas]:
            place.start()
        chaos = Chaos(plan, replicas, kafka, postgres, partial(_share, recorded, plan.events), producer.broker_lock)

        producer.start()
        chaos.run()
        producer.join()
        assert producer.problem is None, producer.problem
        _wait_for(lambda at: at[0] == stream.written, recorded, replicas, "everything is recorded")
        _put_spans_together(places, replicas, recorded)
        shown = [_when_shown(place, stream) for place in replicas.running()]
        _say(f"{stream.written:,} records in {time.monotonic() - began:,.0f} s")
        _say(tally(chaos, "".join(place.log() for place in places), stream.truth, shown[0]))
        _say(_checked(url))

    assert dict(plan.faults) == {fault: chaos.done[fault] for fault in plan.faults}, "not every fault was injected"
    # 3: a dependency was away when it started.
    assert set(replicas.exit_codes) <= {0, 3}, f"replicas ended with {dict(replicas.exit_codes)}"
    for each in shown:
        assert stream.truth == each


def _share(recorded: Progress, events: int) -> float | None:
    at = recorded()
    return None if at is None else at[0] / events


def _wait_for(is_there: Callable[[tuple[int, int]], bool], recorded: Progress, replicas: Replicas, what: str) -> None:
    def look() -> bool:
        replicas.running()
        at = recorded()
        return at is not None and is_there(at)

    wait_until(look, _LAST_SECONDS, what, interval_seconds=0.2)


def _put_spans_together(places: list[MonitorProcess], replicas: Replicas, recorded: Progress) -> None:
    """Restart every replica with little patience, and kill some while they close what waits."""
    for place in places:
        place.stop()
        path = place.directory / "cliffwatch.yaml"
        config = yaml.safe_load(path.read_text())
        config["traces"]["assembly"]["quiet_seconds"] = _AT_ONCE
        path.write_text(yaml.safe_dump(config))
    for place in places[: replicas.least]:
        place.start(wait=False)
    replicas.kill()
    _wait_for(lambda at: at[1] == 0, recorded, replicas, "no span waits any longer")


def _when_shown(place: MonitorProcess, stream: Stream) -> Truth:
    """What *place* shows once a snapshot is younger than the last commit."""
    requests = sum(value for key, value in stream.truth.items() if key[0] == "requests")
    with suppress(AssertionError):  # the comparison says more
        wait_until(lambda: place.is_ready() and place.total("cliffwatch_requests_total") >= requests, 60)
    return counted(place.samples())


def tally(chaos: Chaos, log: str, truth: Truth, found: Truth) -> str:
    """What was done to the replicas, what they said of it, and what came of it, for a person to read."""
    expected, shown = by_family(truth), by_family(found)
    endings = ", ".join(f"{code} ({times})" for code, times in sorted(chaos.replicas.exit_codes.items()))
    return "\n".join(
        [
            *(f"  {fault:<46}{chaos.done[fault]:>6} of {planned}" for fault, planned in chaos.plan.faults.items()),
            f"  replicas ended by themselves with exit codes  {endings or 'none'}",
            *(f"  logged {event:<39}{log.count(event):>6}" for event in _LOGGED),
            f"  {'family':<24}{'truth':>14}{'counted':>14}",
            *(
                f"  {family:<24}{expected.get(family, 0):>14,}{shown.get(family, 0):>14,}"
                for family in sorted({*expected, *shown})
            ),
            *(
                f"  WRONG {key}: {found[key]:,} counted, {truth[key]:,} are true"
                for key in sorted({*truth, *found})
                if truth[key] != found[key]
            ),
        ]
    )


def _checked(url: str) -> str:
    """What the product's own check of counts against rows says."""
    done = subprocess.run([CLIFFWATCH, "ledger", "check", "--ledger", url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is what the target is for


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    """Faults come in the same order at the same shares of the stream, joins and leaves in turn."""
    plan = Plan(7, 1_000, 3, {Fault.KILL: 20, Fault.JOIN: 5, Fault.LEAVE: 5})

    moments = plan.moments()

    assert moments == plan.moments()
    assert dict(plan.faults) == Counter(fault for _, fault in moments)
    assert [Fault.JOIN, Fault.LEAVE] * 5 == [fault for _, fault in moments if fault is not Fault.KILL]
