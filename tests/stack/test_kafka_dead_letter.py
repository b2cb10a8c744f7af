from __future__ import annotations

import hashlib
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer
from msgspec import structs

from monitor.errors import DeadLetterUnavailable
from monitor.ingest.dead_letter import KafkaDeadLetters
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import DeadLetterRecord, Oversize, Position, Record
from tests.stack.servers import KafkaServer, free_port

pytestmark = pytest.mark.stack


@pytest.fixture
def settings(kafka: KafkaServer) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, group_id=kafka.new_topic())


def test_a_letter_says_all_but_the_payload(settings: KafkaSettings) -> None:
    """The letter is in a topic of its own, made where it was missing, with facts as headers and no payload."""
    rejected = DeadLetterRecord(_a_record(settings, value=b"not json"), "not_json", "expected a value")

    with closing(KafkaDeadLetters(settings)) as letters:
        letters.write([rejected])

    (letter,) = _letters(settings, 1)
    assert b"" == letter.value
    assert f"{settings.group_id}[3]@7".encode() == letter.key
    assert {
        "cliffwatch.topic": settings.group_id,
        "cliffwatch.partition": "3",
        "cliffwatch.offset": "7",
        "cliffwatch.timestamp": "12.5",
        "cliffwatch.reason": "not_json",
        "cliffwatch.detail": "expected a value",
        "cliffwatch.sha256": hashlib.sha256(b"not json").hexdigest(),
        "cliffwatch.size_bytes": "8",
    } == {name: value.decode() for name, value in letter.headers}


def test_payloads_come_along_where_asked_for_and_not_too_large(settings: KafkaSettings) -> None:
    """With the operator's consent a payload is kept, unless it is above the limit or was never held."""
    opted_in = settings.model_copy(update={"dead_letter_payload": True, "dead_letter_max_payload_bytes": 10})
    records = [
        _a_record(settings, value=b"not json"),
        _a_record(settings, value=b"longer than ten"),
        _a_record(settings, value=None),
        structs.replace(_a_record(settings, value=None), oversize=Oversize(5, "00")),
    ]

    with closing(KafkaDeadLetters(opted_in)) as letters:
        letters.write([DeadLetterRecord(record, "not_json") for record in records])

    assert [b"not json", b"", b"", b""] == [letter.value for letter in _letters(settings, 4)]


def test_an_outage_is_said_and_overcome(kafka: KafkaServer, settings: KafkaSettings) -> None:
    """While the broker is away writing raises; the same letters are kept once it is back."""
    rejected = [DeadLetterRecord(_a_record(settings, value=b"x"), "not_json")]
    with closing(KafkaDeadLetters(settings.model_copy(update={"request_timeout_seconds": 2.0}))) as letters:
        letters.write(rejected)
        kafka.kill()
        with pytest.raises(DeadLetterUnavailable, match=r"cannot be written to .*\.dlq, so reading waits: No Kafka"):
            letters.write(rejected)
        kafka.start()

        letters.write(rejected)

    assert 2 == len(_letters(settings, 2))


def test_a_broker_that_was_never_there_is_an_outage() -> None:
    """Where nothing listens the first letter raises, and creating the writer does not."""
    unreachable = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}", request_timeout_seconds=1.0)
    letters = KafkaDeadLetters(unreachable)

    with pytest.raises(DeadLetterUnavailable, match="No Kafka broker answers"):
        letters.write([DeadLetterRecord(Record(Position("traces", 0, 0), key=None, value=b"x"), "not_json")])


def _a_record(settings: KafkaSettings, *, value: bytes | None) -> Record:
    return Record(Position(settings.group_id, 3, 7), key=None, value=value, timestamp=12.5)


def _letters(settings: KafkaSettings, count: int) -> list[Any]:
    topic = f"{settings.group_id}.{settings.group_id}.dlq"
    with KafkaConsumer(
        topic,
        bootstrap_servers=settings.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=20_000,
    ) as consumer:
        return [next(consumer) for _ in range(count)]
