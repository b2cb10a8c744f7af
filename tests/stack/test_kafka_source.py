from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition

from monitor.errors import DependencyUnreachable
from monitor.ingest.kafka import KafkaSource
from monitor.ingest.kafka_reader import KafkaReader
from monitor.ingest.settings import KafkaSettings, StartAt
from monitor.ingest.source import Record, Source, TopicPartition
from tests.contracts.source_contract import (
    GroupContract,
    LedgerStub,
    SourceContract,
    read,
    read_and_commit,
    read_once,
    values,
)
from tests.stack.damage import break_compression, break_header_name, damage_log, flip_a_bit
from tests.stack.servers import KafkaServer, free_port, wait_until

pytestmark = pytest.mark.stack


class _KafkaWorld:
    """A fresh topic and the group of the same name."""

    def __init__(self, kafka: KafkaServer, partitions: int, config: dict[str, str] | None = None) -> None:
        self.ledger = LedgerStub()
        self.topic = kafka.new_topic(partitions=partitions, config=config)
        self.settings = KafkaSettings(
            bootstrap_servers=kafka.bootstrap_servers,
            topics=(self.topic,),
            group_id=self.topic,
            session_timeout_seconds=3.0,
        )

    def append(self, values: Collection[bytes], partition: int = 0) -> None:
        with self.producer() as producer:
            for value in values:
                producer.send(self.topic, value, partition=partition)
            producer.flush()

    def append_tombstone(self) -> None:
        with self.producer() as producer:
            producer.send(self.topic, None, key=b"k", partition=0).get(timeout=30)

    def open(self) -> Source:
        return KafkaSource(self.settings, self.ledger)

    def producer(self, **options: object) -> KafkaProducer:
        return KafkaProducer(bootstrap_servers=self.settings.bootstrap_servers, acks="all", **options)


class TestKafkaSource(SourceContract):
    @pytest.fixture
    def world(self, kafka: KafkaServer) -> _KafkaWorld:
        return _KafkaWorld(kafka, partitions=1)


class TestKafkaGroup(GroupContract):
    @pytest.fixture
    def group(self, kafka: KafkaServer) -> _KafkaWorld:
        return _KafkaWorld(kafka, partitions=4)


@pytest.fixture
def world(kafka: KafkaServer) -> _KafkaWorld:
    return _KafkaWorld(kafka, partitions=1)


def test_key_headers_and_timestamp_come_along(world: _KafkaWorld) -> None:
    """A record keeps its key, its headers and its time, in seconds."""
    with world.producer() as producer:
        headers = [("content-type", b"application/json"), ("empty", b"")]
        producer.send(world.topic, b"a", key=b"k", headers=headers, timestamp_ms=1_500).get(timeout=30)

    with closing(world.open()) as source:
        (record,) = read(source, 1)

    assert (b"k", b"a", tuple(headers), 1.5) == (record.key, record.value, record.headers, record.timestamp)


def test_kafkas_own_offsets_are_never_read(world: _KafkaWorld) -> None:
    """A group offset that Kafka holds changes nothing: reading starts where the ledger says."""
    world.append([b"a", b"b", b"c"])
    with closing(world.open()) as source:
        read_and_commit(source, world.ledger, 3)
        wait_until(lambda: _group_offset(world, source) == 3, what="Kafka has the group's offset")
    world.ledger.offsets = {TopicPartition(world.topic, 0): 1}

    with closing(world.open()) as source:
        records = read(source, 2)

    assert [b"b", b"c"] == values(records)


def test_an_empty_ledger_beats_kafkas_own_offsets(world: _KafkaWorld) -> None:
    """Where the ledger is new, everything is read again, although the group had read it all."""
    world.append([b"a", b"b"])
    with closing(world.open()) as source:
        read_and_commit(source, world.ledger, 2)
        wait_until(lambda: _group_offset(world, source) == 2, what="Kafka has the group's offset")
    world.ledger.offsets = {}

    with closing(world.open()) as source:
        records = read(source, 2)

    assert [b"a", b"b"] == values(records)


def test_latest_begins_at_the_end_and_loses_nothing_after_it(world: _KafkaWorld) -> None:
    """With `latest` old records are left out, and a failed batch of new ones is read again."""
    world.append([b"old"])
    settings = KafkaSettings(
        bootstrap_servers=world.settings.bootstrap_servers,
        topics=world.settings.topics,
        group_id=world.topic,
        start=StartAt.LATEST,
    )
    with closing(KafkaSource(settings, world.ledger)) as source:
        _poll_until_assigned(source)
        world.append([b"new"])
        first = read(source, 1)
        source.rewind()
        second = read(source, 1)

    assert [b"new"] == values(first)
    assert [b"new"] == values(second)


def test_a_record_larger_than_any_fetch_limit_comes_through(kafka: KafkaServer) -> None:
    """A 20 MB record, above every fetch limit but the topic's, is read whole and does not stop its neighbours."""
    world = _KafkaWorld(kafka, partitions=1, config={"max.message.bytes": "30000000"})
    large = b"x" * 20_000_000
    with world.producer(max_request_size=30_000_000) as producer:
        for value in (b"before", large, b"after"):
            producer.send(world.topic, value).get(timeout=60)

    with closing(world.open()) as source:
        records = read(source, 3)

    assert [6, 20_000_000, 5] == [record.size_bytes for record in records]
    assert large == records[1].value


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read(world: _KafkaWorld, codec: str) -> None:
    """Every compression that producers use is understood."""
    with world.producer(compression_type=codec, linger_ms=50) as producer:
        for number in range(50):
            producer.send(world.topic, b"%d" % number)
        producer.flush()

    with closing(world.open()) as source:
        records = read(source, 50)

    assert [b"%d" % number for number in range(50)] == values(records)


def test_expired_records_are_passed_over(world: _KafkaWorld) -> None:
    """Where retention has taken the ledger's offset, reading goes on with the first record that is left."""
    world.append([b"a", b"b", b"c"])
    with closing(KafkaAdminClient(bootstrap_servers=world.settings.bootstrap_servers)) as admin:
        admin.delete_records({KafkaPartition(world.topic, 0): 2})
    world.ledger.offsets = {TopicPartition(world.topic, 0): 1}

    with closing(world.open()) as source:
        records = read_and_commit(source, world.ledger, 1)

    assert [b"c"] == values(records)
    assert {TopicPartition(world.topic, 0): 3} == world.ledger.offsets


def test_reading_goes_on_after_a_broker_restart(kafka: KafkaServer) -> None:
    """Records written before and after the broker was killed in the middle of reading are each committed once."""
    world = _KafkaWorld(kafka, partitions=4)
    for partition in range(4):
        world.append([b"%d" % number for number in range(partition, 40, 4)], partition)
    counted: list[Record] = []
    with closing(world.open()) as source:
        counted += read_and_commit(source, world.ledger, 10)

        kafka.kill()
        for _ in range(3):
            counted += _read_through_outage(source, world.ledger)
        kafka.start()
        for partition in range(4):
            world.append([b"%d" % number for number in range(40 + partition, 80, 4)], partition)
        wait_until(
            lambda: (counted.extend(_read_through_outage(source, world.ledger)), len(counted) >= 80)[1],
            what="everything is read after the outage",
        )

    assert sorted(b"%d" % number for number in range(80)) == sorted(value for value in values(counted) if value)


def test_a_killed_member_loses_its_partitions(kafka: KafkaServer) -> None:
    """When a member falls silent, another takes its partitions over and reads what it had not committed."""
    world = _KafkaWorld(kafka, partitions=4)
    for partition in range(4):
        world.append([b"%d" % partition], partition)
    silent = world.open()
    held = {record.position.topic_partition: 1 for record in read(silent, 4)}
    silent._consumer._coordinator._close_heartbeat()

    with closing(world.open()) as survivor:
        records = read_and_commit(survivor, world.ledger, 4)
        late = world.ledger.commit(silent, held)

    assert [b"0", b"1", b"2", b"3"] == sorted(value for value in values(records) if value)
    assert not late
    silent.close()


@pytest.mark.parametrize(
    ("codec", "damage", "said"),
    [
        pytest.param(None, flip_a_bit, "crc check", id="a broken checksum"),
        pytest.param("gzip", break_compression, "", id="compressed bytes that nothing unpacks"),
        pytest.param(None, break_header_name, "utf-8", id="a header name that is no UTF-8"),
    ],
)
def test_what_the_client_cannot_read_is_passed_over_after_some_tries(
    kafka: KafkaServer, codec: str | None, damage: Callable[[bytearray], None], said: str
) -> None:
    """Just that batch is told with its range of offsets, after the records before it and before those behind it."""
    world = _KafkaWorld(kafka, partitions=2)
    world.settings = world.settings.model_copy(update={"unreadable_tries": 2})
    world.append([b"before-0", b"before-1"])
    with world.producer(compression_type=codec, linger_ms=100) as producer:
        for number in range(20):
            producer.send(world.topic, b"bad-%d" % number * 20, headers=[("header", b"")], partition=0)
        producer.flush()
    world.append([b"behind"])
    world.append([b"%d" % number for number in range(30)], partition=1)
    damage_log(kafka, world.topic, b"bad-0" if codec is None else None, damage)

    with closing(KafkaReader(world.settings)) as reader:
        looked_at = {record.value for record in reader.last(world.topic, 200)}
        others = _KafkaWorld(kafka, partitions=1)
        others.append([b"fine"])
        assert [b"fine"] == values(reader.last(others.topic, 200))
    with closing(world.open()) as source:
        records = read_and_commit(source, world.ledger, 2 + 1 + 1 + 30)
        blocked = source.blocked()

    bad = [record for record in records if record.position.partition == 0]
    assert looked_at <= {record.value for record in records}
    assert [b"before-0", b"before-1", None, b"behind"] == values(bad)
    assert bad[2].corrupt_batch is not None
    assert "offsets 2 to 21 cannot be read" in bad[2].corrupt_batch.detail
    assert said in bad[2].corrupt_batch.detail
    assert 30 == len(records) - len(bad)
    assert {23, 30} == set(world.ledger.offsets.values())
    assert "" == blocked


def test_a_partition_waits_for_a_person_where_nothing_may_be_passed_over(kafka: KafkaServer) -> None:
    """Told so, its partition stands still and says where, the others go on, and it is read on when it can be read."""
    world = _KafkaWorld(kafka, partitions=2)
    world.settings = world.settings.model_copy(update={"unreadable_tries": 0})
    world.append([b"one-bit-is-wrong"])
    world.append([b"other"], partition=1)
    damage_log(kafka, world.topic, b"one-bit", flip_a_bit)

    with closing(world.open()) as source:
        (other,) = read_and_commit(source, world.ledger, 1)
        said = wait_until(lambda: (read_once(source, world.ledger), source.blocked())[1], what="it stands still")
        damage_log(kafka, world.topic, b"one-bit", flip_a_bit)  # back again, as from a healthy copy of the log
        healed: list[Record] = []
        wait_until(lambda: (healed.extend(_read_through_outage(source, world.ledger)), healed)[1], what="it is read")

    assert b"other" == other.value
    assert f"{world.topic}[0] cannot be read at offset 0" in said
    assert "it waits, since kafka.unreadable_tries is 0" in said
    assert [b"one-bit-is-wrong"] == values(healed)


def test_a_broker_that_is_away_is_named() -> None:
    """Where nothing listens, one sentence names the address and what to check."""
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(DependencyUnreachable, match=f"No Kafka broker answers at {address}; check"):
        KafkaSource(KafkaSettings(bootstrap_servers=address, request_timeout_seconds=1.0), LedgerStub())


def test_a_missing_topic_is_named(world: _KafkaWorld) -> None:
    """A topic that does not exist is found at start, and is not created by looking for it."""
    settings = KafkaSettings(
        bootstrap_servers=world.settings.bootstrap_servers, topics=(world.topic, "nowhere"), group_id="missing"
    )

    with closing(KafkaSource(settings, LedgerStub())) as source:
        with pytest.raises(DependencyUnreachable, match="has no topic nowhere; create it"):
            source.check_topics()
        with pytest.raises(DependencyUnreachable, match="has no topic nowhere; create it"):
            source.check_topics()


def test_present_topics_pass(world: _KafkaWorld) -> None:
    """Topics that exist are no problem."""
    with closing(KafkaSource(world.settings, LedgerStub())) as source:
        source.check_topics()


def _poll_until_assigned(source: Source) -> None:
    wait_until(lambda: (source.poll(0.2), source.assignment())[1], what="partitions are assigned")


def _group_offset(world: _KafkaWorld, source: Source) -> int | None:
    source.poll(0.1)
    with closing(KafkaConsumer(bootstrap_servers=world.settings.bootstrap_servers, group_id=world.topic)) as consumer:
        offset: int | None = consumer.committed(KafkaPartition(world.topic, 0))
    return offset


def _read_through_outage(source: Source, ledger: LedgerStub) -> list[Record]:
    """One poll as the service makes it: an outage is followed by a rewind and another try."""
    try:
        return read_once(source, ledger)
    except DependencyUnreachable:
        source.rewind()
        return []
