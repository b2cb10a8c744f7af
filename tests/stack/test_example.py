"""The example against a real Kafka, wired as its compose profile wires the containers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.stack.monitor_process import PATIENT, MonitorProcess
from tests.stack.servers import KafkaServer, ask, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]


def test_the_example_on_kafka_comes_out_as_a_cliff() -> None:
    """The command of the compose profile, with this broker's address, and the monitor on its default topics."""
    command = COMPOSE["example"]["command"]
    with KafkaServer() as kafka:
        arguments = [kafka.bootstrap_servers if word == "kafka:9092" else word for word in command]
        example = [sys.executable, "-m", "examples.support_agent", *arguments, "--pause", "12"]
        kafka.create_topic("agent-traces", partitions=4)
        kafka.create_topic("agent-outcomes", partitions=4)
        settings = {"bootstrap_servers": kafka.bootstrap_servers}
        with MonitorProcess(settings, traces={"assembly": {"quiet_seconds": 5.0}}, service=PATIENT) as monitor:
            subprocess.run(example, cwd=REPOSITORY, check=True, timeout=500)
            wait_until(lambda: monitor.total("cliffwatch_requests_total") == 7_000, what="every request is counted")
            wait_until(lambda: _verdicts(monitor) == {"cliff"}, what="the verdict is cliff")

            assert 0 == monitor.total("cliffwatch_dead_letters_total")
            assert 1 == monitor.total("cliffwatch_calibration_trusted")


def _verdicts(monitor: MonitorProcess) -> set[str]:
    rollouts = ask(f"{monitor.url}/api/v1/rollouts").raise_for_status().json()
    return {rollout["verdict"] for rollout in rollouts}
