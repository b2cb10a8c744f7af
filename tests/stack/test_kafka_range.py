from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from monitor.cli import run_command
from monitor.errors import DependencyUnreachable
from monitor.ingest.kafka_reader import KafkaRange, KafkaRangeSource
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import Record
from tests.builders import NOON
from tests.histories import DAY, roll_out_events
from tests.stack.servers import KafkaServer

pytestmark = pytest.mark.stack


@pytest.fixture
def topic(kafka: KafkaServer) -> str:
    return kafka.new_topic(partitions=3)


@pytest.fixture
def producer(kafka: KafkaServer) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=20)
    yield producer
    producer.close()


def read(kafka: KafkaServer, kafka_range: KafkaRange, *, batch_records: int = 500) -> Sequence[Record]:
    """Every record of a range, committed batch by batch."""
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, request_timeout_seconds=5.0)
    source = KafkaRangeSource(settings, kafka_range, batch_records=batch_records)
    records: list[Record] = []
    at_end = False
    while not at_end:
        poll = source.poll(0.5)
        records += poll.records
        source.committed(poll.next_offsets)
        at_end = poll.at_end
    assert not any(source.lag().values()) or kafka_range.until is None
    source.close()
    return records


def produce(producer: KafkaProducer, topic: str, seconds: Sequence[int]) -> None:
    """A record for each of *seconds*, which is its time and its value, spread over three partitions."""
    for second in seconds:
        producer.send(topic, str(second).encode(), partition=second % 3, timestamp_ms=second * 1_000)
    producer.flush()


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        pytest.param(None, None, range(100, 160), id="everything"),
        pytest.param(120.0, None, range(120, 160), id="from a time on"),
        pytest.param(None, 120.0, range(100, 120), id="until a time"),
        pytest.param(110.0, 140.0, range(110, 140), id="between two times"),
        pytest.param(1.0, 5_000.0, range(100, 160), id="times around everything"),
        pytest.param(200.0, None, (), id="a time after everything"),
        pytest.param(None, 50.0, (), id="a time before everything"),
        pytest.param(140.0, 110.0, (), id="a range that ends before it begins"),
    ],
)
def test_exactly_the_records_of_a_range_are_read_in_the_order_of_time(
    *,
    kafka: KafkaServer,
    topic: str,
    producer: KafkaProducer,
    since: float | None,
    until: float | None,
    expected: Sequence[int],
) -> None:
    """Whatever partition they are in, and however small the batches."""
    produce(producer, topic, range(100, 160))

    records = read(kafka, KafkaRange([topic], since, until), batch_records=7)

    assert list(expected) == [int(record.value or b"") for record in records]
    assert [float(second) for second in expected] == [record.timestamp for record in records]


def test_several_topics_are_merged(kafka: KafkaServer, topic: str, producer: KafkaProducer) -> None:
    """Traces and their outcomes come in the order of time."""
    other = kafka.new_topic(partitions=3)
    produce(producer, topic, range(100, 130, 2))
    produce(producer, other, range(101, 131, 2))

    assert list(range(100, 130)) == [int(record.value or b"") for record in read(kafka, KafkaRange([topic, other]))]


def test_what_was_not_committed_is_read_again(kafka: KafkaServer, topic: str, producer: KafkaProducer) -> None:
    """After a rewind the source goes on from what was committed last."""
    produce(producer, topic, range(100, 120))
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    source = KafkaRangeSource(settings, KafkaRange([topic]), batch_records=10)
    first = source.poll(1.0)
    source.committed(first.next_offsets)
    second = source.poll(1.0)

    source.rewind()

    assert second.records == source.poll(1.0).records
    source.close()


def test_nothing_is_left_behind_in_kafka(kafka: KafkaServer, topic: str, producer: KafkaProducer) -> None:
    """Reading a range joins no group and commits no offset."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    before = admin.list_groups()
    produce(producer, topic, range(100, 120))

    read(kafka, KafkaRange([topic]))

    assert before == admin.list_groups()
    admin.close()


def test_a_topic_that_is_not_there_is_named(kafka: KafkaServer) -> None:
    """Rather than waited for."""
    settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)

    with pytest.raises(DependencyUnreachable, match="has no topic nobody-made-it"):
        KafkaRangeSource(settings, KafkaRange(["nobody-made-it"]))


def test_policies_are_back_tested_on_a_range_of_a_topic(
    kafka: KafkaServer, topic: str, producer: KafkaProducer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said of a topic is what is said of a file with the same events, and the range decides what is read."""
    events = list(roll_out_events(fails_from=60))
    for number, event in enumerate(events):
        started_at = datetime.fromisoformat(event["started_at"]).timestamp()
        value = json.dumps(event).encode()
        producer.send(topic, value, partition=number % 3, timestamp_ms=int(started_at * 1_000))
    producer.flush()
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    config = tmp_path / "cliffwatch.yaml"
    config.write_text(
        f"kafka: {{bootstrap_servers: '{kafka.bootstrap_servers}'}}\n"
        "rollout: {min_labelled_requests: 100, min_hard_failures: 10, maturity_seconds: 60}\n"
    )
    options = ["--config.file", str(config), "--policy", f"same={config}", "--output", "json"]

    assert 0 == run_command(["replay", str(file), *options])
    of_file = json.loads(capsys.readouterr().out)
    assert 0 == run_command(["replay", "--from-kafka", topic, *options])
    of_topic = json.loads(capsys.readouterr().out)
    cutover = datetime.fromtimestamp(NOON + DAY, UTC).isoformat()
    assert 0 == run_command(["replay", "--from-kafka", topic, "--until", cutover, *options])
    before = json.loads(capsys.readouterr().out)

    assert "regression" == of_topic["policies"][1]["rollouts"][0]["verdict"]
    assert _verdicts(of_file) == _verdicts(of_topic)
    assert [[], []] == [policy["rollouts"] for policy in before["policies"]]


def _verdicts(told: dict[str, list[dict[str, list[dict[str, object]]]]]) -> list[object]:
    return [
        {key: rollout[key] for key in ("verdict", "share", "aggregate", "tiers", "started_at")}
        for policy in told["policies"]
        for rollout in policy["rollouts"]
    ]
