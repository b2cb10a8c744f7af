"""Every command of the README, run as written; only the broker's address and the port are those of the test."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from kafka.admin import KafkaAdminClient

from monitor.demo.events import ROLLOUTS
from monitor.difficulty.tiers import TIERS
from tests.stack.servers import KafkaServer, ask, free_port, wait_until

pytestmark = pytest.mark.stack

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
SERVICES = ("--serve",)
WITH_KAFKA = ("monitor.yaml", "127.0.0.1:9092", "pip install")
"""What belongs to the story of one's own Kafka, which test_newcomer.py plays in its order."""


def test_the_readme_has_commands() -> None:
    """There is something to run, and every line of it is met by one of the tests below."""
    assert len(COMMANDS) >= 8
    assert any(" demo --serve" in line for line in COMMANDS)
    for line in COMMANDS:
        assert line.startswith((".venv/bin/cliffwatch ", ".venv/bin/python -m ", "make "))


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_make_knows_its_targets(line: str) -> None:
    """The targets exist (running the tests inside the tests would never end)."""
    done = subprocess.run(
        [*shlex.split(line), "--dry-run"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        line
        for line in COMMANDS
        if line.startswith(".venv") and not any(word in line for word in (*SERVICES, *WITH_KAFKA))
    ],
)
def test_a_command_ends_well(line: str, tmp_path: Path) -> None:
    """Commands that end do so with exit code 0; /tmp is a folder of the test's own, since others run beside it."""
    line = line.replace("/tmp/", f"{tmp_path}/")
    if "replay" in line:
        write = [".venv/bin/cliffwatch", "demo", "--write", str(tmp_path / "events.jsonl")]
        subprocess.run(write, cwd=REPOSITORY, check=True)

    done = subprocess.run(shlex.split(line), cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [line for line in COMMANDS if any(word in line for word in SERVICES)])
def test_a_service_serves_and_ends_when_asked(line: str, kafka: KafkaServer, tmp_path: Path) -> None:
    """
    Commands that serve do so, page and metrics, until SIGTERM, and then end with exit code 0.

    The demo shows a person the rates by tier of both versions, the share with its parts, and the verdict in words.
    """
    _create_missing_topics(kafka)
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {
        "CLIFFWATCH_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "CLIFFWATCH_LEDGER__URL": f"sqlite:///{tmp_path}/ledger.db",
        "CLIFFWATCH_WEB__LISTEN_ADDRESS": address,
    }
    shown = tmp_path / "shown.txt"
    with (
        shown.open("w") as output,
        subprocess.Popen(
            shlex.split(line), cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.PIPE
        ) as process,
    ):
        try:
            for path in ("/", "/metrics", "/-/healthy", "/-/ready"):
                wait_until(lambda path=path: _answers(f"http://{address}{path}"), 500, f"{path} answers")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.read().decode()

    assert process.returncode == 0, said
    if " demo " in line:
        text = shown.read_text(encoding="utf-8")
        for rollout in ROLLOUTS:
            assert rollout.service in text
            assert rollout.candidate_name in text
        for word in (*TIERS, "verdict: cliff", "verdict: ok", "uniform gain", "traffic mix", "excess"):
            assert word in text
        assert "nan" not in text.lower().split()
        assert "25,650 records of 25,650" in said


def _answers(url: str) -> bool:
    try:
        return ask(url).is_success
    except httpx.TransportError:
        return False


def _create_missing_topics(kafka: KafkaServer) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    there = set(admin.list_topics())
    admin.close()
    for topic in {"agent-traces", "agent-outcomes"} - there:
        kafka.create_topic(topic, partitions=2)
