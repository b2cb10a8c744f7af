from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from monitor.errors import DeadLetterUnavailable
from monitor.ingest.dead_letter import FileDeadLetters, NoDeadLetters, dead_letter_topic
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import DeadLetterRecord, Position, Record

RECORD = Record(Position("traces", 3, 7), key=None, value=b"not json", timestamp=12.5)


def test_file_keeps_the_facts_and_not_the_payload(tmp_path: Path) -> None:
    """Each rejected record becomes one JSON line with position, reason, hash and length."""
    path = tmp_path / "rejected.jsonl"
    letters = FileDeadLetters(path)

    letters.write([DeadLetterRecord(RECORD, "not_json", "expected a value"), DeadLetterRecord(RECORD, "empty")])
    letters.close()

    first, second = map(json.loads, path.read_text().splitlines())
    assert {
        "topic": "traces",
        "partition": 3,
        "offset": 7,
        "timestamp": 12.5,
        "reason": "not_json",
        "detail": "expected a value",
        "sha256": hashlib.sha256(b"not json").hexdigest(),
        "size_bytes": 8,
    } == first
    assert "empty" == second["reason"]


def test_a_file_that_cannot_be_written_is_an_outage(tmp_path: Path) -> None:
    """Where dead letters cannot be kept, the caller has to wait."""
    with pytest.raises(DeadLetterUnavailable, match="No such file or directory"):
        FileDeadLetters(tmp_path / "absent" / "rejected.jsonl").write([DeadLetterRecord(RECORD, "empty")])


def test_keeping_nothing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer for replays accepts everything and writes nothing."""
    monkeypatch.chdir(tmp_path)
    letters = NoDeadLetters()

    letters.write([DeadLetterRecord(RECORD, "empty")])
    letters.close()

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("expected", "topic", "settings"),
    [
        pytest.param("traces.cliffwatch.dlq", "traces", KafkaSettings(), id="beside its topic, by group"),
        pytest.param("rejected", "traces", KafkaSettings(dead_letter_topic="rejected"), id="where the operator says"),
        pytest.param("traces.a-b.dlq", "traces", KafkaSettings(group_id="a b"), id="in letters that Kafka allows"),
    ],
)
def test_dead_letter_topic(expected: str, topic: str, settings: KafkaSettings) -> None:
    """The dead-letter topic is named after topic and group."""
    assert expected == dead_letter_topic(topic, settings)
