from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.cli import run_command
from monitor.ingest.kafka_reader import KafkaRange
from tests.probes.agents import python_agent, write_panel
from tests.stack.servers import KafkaServer
from tests.stack.test_kafka_range import read

pytestmark = pytest.mark.stack


def test_a_run_is_sent_to_kafka_and_again_after_it_went_on(
    kafka: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event is there, under its trace id; what is sent twice is the same event."""
    monkeypatch.chdir(tmp_path)
    topic = kafka.new_topic(partitions=2)
    Path("cliffwatch.yaml").write_text(f"kafka:\n  bootstrap_servers: {kafka.bootstrap_servers}\n", encoding="utf-8")
    panel = write_panel(tmp_path / "panel.jsonl", ["a", "b", "c"])
    agent = python_agent(tmp_path, "print(json.dumps({'success': True, 'usage': {'cost_usd': 1}}))")
    arguments = ["probes", "run", panel, "--model", "m", "--exec", agent, "--to-kafka", topic]

    assert 1 == run_command([*arguments, "--max-cost", "2", "--config.file", "cliffwatch.yaml"])
    assert 0 == run_command([*arguments, "--config.file", "cliffwatch.yaml"])

    written = [json.loads(line) for line in Path("probes-m.jsonl").read_text(encoding="utf-8").splitlines()]
    sent = [json.loads(record.value or b"") for record in read(kafka, KafkaRange((topic,), since=None, until=None))]
    assert 3 == len(written)
    assert 5 == len(sent)
    assert {event["trace_id"] for event in written} == {event["trace_id"] for event in sent}
