from __future__ import annotations

from pathlib import Path

import pytest

from monitor.ingest.dead_letter import NoDeadLetters, dead_letter_topic
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import DeadLetterRecord, Position, Record

RECORD = Record(Position("traces", 3, 7), key=None, value=b"not json", timestamp=12.5)


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
