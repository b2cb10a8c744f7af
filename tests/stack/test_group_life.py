"""Members of a consumer group that restart, wait, hang and end, on a real Kafka."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition

from monitor.errors import ConfigInvalid, LedgerUnavailable
from monitor.ingest.kafka import KafkaSource
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Source, TopicPartition
from tests.contracts.source_contract import LedgerStub, read_once, settle
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, PostgresServer, ask, wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(kafka: KafkaServer) -> KafkaSettings:
    """A fresh topic of four partitions, and a group whose members are missed after a few seconds."""
    topic = kafka.new_topic(partitions=4)
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        topics=(topic,),
        group_id=topic,
        session_timeout_seconds=20.0,
        max_poll_interval_seconds=10.0,
    )


def produce(settings: KafkaSettings, count: int) -> None:
    """Write *count* traces over all partitions."""
    event = (
        '{"schema": "cliffwatch.trace/v1", "trace_id": "t%d", "service": "shop", "model_version": "m", '
        '"started_at": "2026-11-01T00:00:00Z"}'
    )
    with KafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all") as producer:
        for number in range(count):
            producer.send(settings.topics[0], (event % number).encode(), partition=number % 4)
        producer.flush()


def test_a_named_member_that_restarts_moves_no_partition(settings: KafkaSettings) -> None:
    """A replica with a name of its own that is back within its session timeout finds its partitions as they were."""
    ledger = LedgerStub()
    first, second = (
        KafkaSource(settings.model_copy(update={"group_instance_id": name}), ledger) for name in ("a", "b")
    )
    settle(first, second, ledger)
    had = set(first.assignment())
    read_from_ledger: list[set[TopicPartition]] = []

    first.close()
    with closing(second), closing(KafkaSource(settings.model_copy(update={"group_instance_id": "a"}), ledger)) as again:
        second._ledger_offsets = lambda partitions: (read_from_ledger.append(set(partitions)), ledger(partitions))[1]
        wait_until(
            lambda: (read_once(second, ledger), read_once(again, ledger), again.assignment())[2], what="it is back"
        )

        assert had == set(again.assignment())
        assert [] == read_from_ledger


def test_a_name_that_is_taken_twice_is_an_error_for_whoever_had_it(settings: KafkaSettings) -> None:
    """The replica that lost its name ends with a sentence, instead of fighting for it for ever."""
    produce(settings, 4)
    ledger, named = LedgerStub(), settings.model_copy(update={"group_instance_id": "a", "session_timeout_seconds": 3.0})
    with closing(KafkaSource(named, ledger)) as first, closing(KafkaSource(named, ledger)) as second:
        wait_until(lambda: (read_once(first, ledger), first.assignment())[1], what="the first has joined")
        wait_until(lambda: (read_once(second, ledger), second.assignment())[1], what="the second has joined")

        with pytest.raises(ConfigInvalid, match="another replica runs as a; give each its own"):
            wait_until(lambda: read_once(first, ledger), what="the first member hears of it")


@pytest.mark.parametrize("away", ["the ledger", "the dead-letter topic"])
def test_an_outage_longer_than_the_poll_interval_costs_no_partition(settings: KafkaSettings, away: str) -> None:
    """A replica that waits for its ledger or its dead letters stays in the group, and goes on when they are back."""
    ledger, others = LedgerStub(), LedgerStub()
    first, second = KafkaSource(settings, ledger), KafkaSource(settings, others)
    with closing(first), closing(second):
        settle(first, second, ledger)
        had = set(second.assignment())
        produce(settings, 40)
        until = time.monotonic() + 1.3 * settings.max_poll_interval_seconds

        while time.monotonic() < until:
            if away == "the ledger":
                ledger.outages = 1
                wait_out(first)
            else:
                first.poll(0.2)
                first.rewind()  # what the service does with a batch whose dead letters cannot be written
            second.poll(0.2)
            time.sleep(1.0)
        ledger.outages = 0
        records = [record for _ in range(20) for record in read_once(first, ledger)]

        assert had == set(second.assignment())
        assert 20 == len(records)


def wait_out(source: Source) -> None:
    """One turn of the service while the ledger is away."""
    try:
        source.rewind()
        source.poll(0.2)
    except LedgerUnavailable:
        source.rewind()


def test_a_replica_that_is_asked_to_end_leaves_everything_in_order(settings: KafkaSettings) -> None:
    """After SIGTERM it exits 0, the group is empty before any timeout, and Kafka has the ledger's offsets."""
    topic = settings.topics[0]
    kafka = {"bootstrap_servers": settings.bootstrap_servers, "topics": [topic], "group_id": topic}
    with MonitorProcess(kafka) as monitor:
        produce(settings, 400)
        wait_until(lambda: monitor.total("cliffwatch_requests_total") == 400, what="everything is counted")
        process = monitor.process
        assert process is not None

        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        monitor.process = None
        with closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)) as admin:
            group = admin.describe_groups([topic])[topic]
        with closing(KafkaConsumer(bootstrap_servers=settings.bootstrap_servers, group_id=topic)) as consumer:
            offsets = [consumer.committed(KafkaPartition(topic, partition)) for partition in range(4)]

    assert 0 == code
    assert [] == list(group["members"])
    assert [100] * 4 == offsets


def test_a_loop_that_hangs_in_the_database_is_said_and_ended(settings: KafkaSettings, postgres: PostgresServer) -> None:
    """Health fails with a sentence, then the process ends with its stacks in the log; what it held is counted once."""
    topic = settings.topics[0]
    kafka = {"bootstrap_servers": settings.bootstrap_servers, "topics": [topic], "group_id": topic}
    kafka["session_timeout_seconds"] = 6.0  # whoever ends so does not leave the group, and is waited for
    service = {"poll_timeout_seconds": 0.2, "stall_unhealthy_seconds": 3.0, "stall_exit_seconds": 8.0}
    produce(settings, 200)
    with MonitorProcess(kafka, ledger={"url": postgres.new_database()}, service=service) as monitor:
        wait_until(lambda: monitor.total("cliffwatch_requests_total") == 200, what="everything is counted")
        process = monitor.process
        assert process is not None
        with standing_still(postgres):
            told = wait_until(lambda: unhealthy(monitor), what="health fails")
            code = process.wait(30)
        log = monitor.log()
        monitor.process = None
        monitor.start()
        produce(settings, 240)
        wait_until(lambda: monitor.total("cliffwatch_records_consumed_total") == 440, what="it is read on")
        counted = monitor.total("cliffwatch_requests_total"), monitor.total("cliffwatch_duplicate_records_total")

    assert "has made no progress for" in told
    assert 3 == code
    assert "loop.stalled" in log
    assert "run_once" in log
    assert (240, 200) == counted


def unhealthy(monitor: MonitorProcess) -> str:
    """What `/-/healthy` says, where it fails."""
    try:
        answer = ask(f"{monitor.url}/-/healthy")
    except httpx.TransportError:
        return ""
    return "" if answer.is_success else answer.text


@contextmanager
def standing_still(server: PostgresServer) -> Iterator[None]:
    """A database that answers nothing, and closes nothing."""
    assert server.process is not None
    pids = [server.process.pid, *children_of(server.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def children_of(parent: int) -> list[int]:
    """Processes that *parent* started; PostgreSQL gives each a group of its own."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found
