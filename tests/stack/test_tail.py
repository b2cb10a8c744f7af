"""`cliffwatch tail` on a real Kafka: a reader that leaves no trace."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from tests.histories import roll_out_events
from tests.stack.monitor_process import CLIFFWATCH
from tests.stack.servers import KafkaServer

pytestmark = pytest.mark.stack


def test_what_comes_is_shown_until_ctrl_c_and_no_group_is_joined(kafka: KafkaServer, tmp_path: Path) -> None:
    """Old records are left alone, new ones shown, SIGINT is a clean end, and the broker knows of no group."""
    topic = kafka.new_topic(partitions=2, prefix="tail")
    config = tmp_path / "cliffwatch.yaml"
    config.write_text(yaml.safe_dump({"kafka": {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic]}}))
    lines = [json.dumps(event).encode() for event, _ in zip(roll_out_events(), range(20), strict=False)]
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for line in lines[:5]:
        producer.send(topic, line)
    producer.flush()

    command = [CLIFFWATCH, "tail", "--config.file", str(config), "--output", "json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = [process.stderr.readline(), process.stderr.readline()]
        for line in lines[5:]:
            producer.send(topic, line)
        producer.flush()
        shown = [json.loads(process.stdout.readline()) for _ in lines[5:]]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read() + process.stderr.read()
    producer.close()

    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    groups = [group for group in admin.list_groups() if "tail" in str(group)]
    admin.close()
    assert "Tiers are not shown" in told[0]
    assert f"Reading {topic}" in told[1]
    assert {json.loads(line)["trace_id"] for line in lines[5:]} == {request["trace_id"] for request in shown}
    assert (0, "", []) == (process.returncode, rest, groups)
