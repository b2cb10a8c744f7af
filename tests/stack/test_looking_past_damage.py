"""Those who only look, and those who read a range, go on behind a batch that no client can read, and say so."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from kafka import KafkaProducer

from monitor.cli import run_command
from monitor.ingest.kafka_reader import KafkaRange, KafkaRangeSource, KafkaReader
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Record
from tests.histories import roll_out_events
from tests.stack.damage import break_header_name, damage_log
from tests.stack.servers import KafkaServer, wait_until

pytestmark = pytest.mark.stack

EVENTS = [json.dumps(event).encode() for event in islice(roll_out_events(), 9)]


@pytest.fixture
def topic(kafka: KafkaServer) -> str:
    """Three good events, three in a batch whose header is no UTF-8, and three good ones; a partition without damage."""
    topic = kafka.new_topic(partitions=2, prefix="damaged")
    for at, headers in ((0, []), (3, [("header", b"")]), (6, [])):
        with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=200) as producer:
            for number, event in enumerate(EVENTS[at : at + 3]):
                stamp = 1_000 * (at + number)
                producer.send(topic, event, partition=0, headers=headers, timestamp_ms=stamp)
    with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all") as producer:
        producer.send(topic, b"{}", partition=1, timestamp_ms=1)
    damage_log(kafka, topic, b"header", break_header_name)
    return topic


@pytest.fixture
def settings(kafka: KafkaServer, topic: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, topics=(topic,), request_timeout_seconds=30.0)


def assert_all_but_the_damaged(topic: str, records: list[Record]) -> None:
    (stand_in,) = [record for record in records if record.corrupt_batch is not None]
    read = {record.value for record in records if record is not stand_in}
    assert {b"{}", *EVENTS[:3], *EVENTS[6:]} == read
    assert (topic, 0, 3) == stand_in.position
    assert stand_in.corrupt_batch is not None
    assert "offsets 3 to 5 cannot be read" in stand_in.corrupt_batch.detail
    assert 8 == len(records)


def test_a_look_at_the_last_records_passes_it_over(settings: KafkaSettings, topic: str) -> None:
    """Once, with its offsets; what stands behind it is seen."""
    with closing(KafkaReader(settings)) as reader:
        assert_all_but_the_damaged(topic, list(reader.last(topic, 100)))


def test_who_follows_a_topic_is_told_once_and_goes_on(settings: KafkaSettings, topic: str) -> None:
    """As `tail` does, from the beginning."""
    records: list[Record] = []
    with closing(KafkaReader(settings)) as reader:
        reader.follow([topic], from_beginning=True)
        wait_until(lambda: (records.extend(reader.fetch(0.2)), len(records) >= 8)[1], what="all is seen")
        records += reader.fetch(0.5)

    assert_all_but_the_damaged(topic, records)


def test_a_range_is_read_to_its_end(settings: KafkaSettings, topic: str) -> None:
    """As `replay --from-kafka` does; the offset after it is that of the next record that can be read."""
    records: list[Record] = []
    with closing(KafkaRangeSource(settings, KafkaRange((topic,)), batch_records=2)) as source:
        while True:
            poll = source.poll(0.5)
            records += poll.records
            source.committed(poll.next_offsets)
            if poll.at_end:
                break
        lag = source.lag()

    assert_all_but_the_damaged(topic, records)
    assert {0} == set(lag.values())


def test_init_says_what_else_the_topic_holds(settings: KafkaSettings, topic: str, tmp_path: Path) -> None:
    """And does not stumble over it."""
    file = tmp_path / "cliffwatch.yaml"

    assert 0 == run_command(["init", "--yes", "-b", settings.bootstrap_servers, "-t", topic, "-f", str(file)])

    assert topic in file.read_text()
