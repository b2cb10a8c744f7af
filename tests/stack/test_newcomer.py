"""
Somebody who has just found the repository: a fresh clone, an empty home, and nothing but the commands of the README.

In `make test` the virtual environment of the tests stands in for one of her own, and traces are complete after 5 s of
silence, not 30; `make test-newcomer` (CLIFFWATCH_NEWCOMER=full) plays everything as it is written, and prints how long
it took. There are two ways: with the example's reference runs to a verdict, and without any to a message in Slack.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.rules.test_messages import routed_to
from tests.stack.servers import (
    AlertmanagerServer,
    KafkaServer,
    PrometheusServer,
    WebhookReceiver,
    ask,
    free_port,
    is_listening,
    wait_until,
)
from tests.stack.test_stories import produce
from tests.stack.test_without_references import canary

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
IS_FULL = os.environ.get("CLIFFWATCH_NEWCOMER") == "full"
FIVE_MINUTES = 300.0


@dataclass(frozen=True)
class Newcomer:
    """Her clone, and the environment that she types in."""

    clone: Path
    environment: dict[str, str]
    commands: list[str]

    def command(self, words: str) -> str:
        """The one line of the README that has *words* in it."""
        (line,) = [line for line in self.commands if words in line]
        return line

    def types(self, line: str, timeout_seconds: float = 300.0) -> str:
        """What she sees; the command has to end well."""
        done = subprocess.run(
            shlex.split(line),
            cwd=self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    """A clone of what is committed, and a shell that knows nothing but PATH and HOME."""
    clone, home = tmp_path / "cliffwatch", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(clone)], check=True)
    if not IS_FULL:
        (clone / ".venv").symlink_to(Path(sys.executable).parents[1])
    readme = (clone / "README.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) for line in block.splitlines()]
    return Newcomer(clone, {"PATH": os.environ["PATH"], "HOME": str(home)}, commands)


@pytest.mark.skipif(not IS_FULL, reason="builds a virtual environment of its own: make test-newcomer")
def test_from_clone_to_a_verdict_in_five_minutes(newcomer: Newcomer) -> None:
    """`make demo`, and a verdict is on the screen."""
    begun = time.monotonic()

    seen = newcomer.types(newcomer.command("make demo"), timeout_seconds=2 * FIVE_MINUTES)

    seconds = time.monotonic() - begun
    print(f"\nmake demo in a fresh clone: {seconds:.0f} s")  # noqa: T201
    assert "verdict: cliff" in seen
    assert seconds < FIVE_MINUTES or os.cpu_count() == 1


@contextmanager
def running(newcomer: Newcomer, line: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Her `cliffwatch run`, until she has seen enough."""
    with subprocess.Popen(
        shlex.split(line),
        cwd=newcomer.clone,
        env=newcomer.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as service:
        try:
            wait_until(lambda: is_listening(port), what="the service is there")
            yield service
        finally:
            service.send_signal(signal.SIGTERM)


def test_from_clone_to_a_message_in_slack_without_references(
    newcomer: Newcomer,
    tmp_path: Path,
    prometheus: Callable[..., PrometheusServer],
    alertmanager: Callable[[str], AlertmanagerServer],
    webhook: WebhookReceiver,
) -> None:
    """
    A tenth of the traffic goes to a version that fails at refunds and is better at the rest.

    She has no outcomes of other models. She writes native events, types what the README says, loads the shipped rules,
    routes, receivers and templates, and reads the class's name in her channel.
    """
    begun = time.monotonic()
    with KafkaServer() as kafka:
        kafka.create_topic("agent-traces", partitions=4)
        line = {
            words: newcomer.command(words).replace("127.0.0.1:9092", kafka.bootstrap_servers)
            for words in ("init", "doctor", "cliffwatch run", "cliffwatch verdict")
        }
        port = free_port()
        newcomer.environment["CLIFFWATCH_WEB__LISTEN_ADDRESS"] = f"127.0.0.1:{port}"
        if IS_FULL:
            newcomer.types("make install", timeout_seconds=2 * FIVE_MINUTES)
        live = canary("collapse", random.Random(20261129), datetime.now(UTC) - timedelta(hours=2))
        produce(kafka, "agent-traces", sorted(live, key=lambda each: str(each["started_at"])))

        found = newcomer.types(line["init"])
        rules = newcomer.clone / "rules"
        pager = alertmanager(routed_to(webhook, tmp_path, rules))
        with running(newcomer, line["cliffwatch run"], port) as service:
            prometheus(
                targets=[f"127.0.0.1:{port}"],
                rule_files=[rules / "cliffwatch.rules.yml"],
                alertmanagers=[pager.address],
            )
            message = wait_until(
                lambda: next((each for each in slack(webhook) if "class refunds" in each["title"]), None),
                240,
                "the class's name arrives in Slack",
            )
            minutes = (time.monotonic() - begun) / 60.0
            checked = newcomer.types(line["doctor"])
            told = newcomer.types(line["cliffwatch verdict"])

    print(f"\nfrom clone to Slack without references: {minutes:.1f} minutes\n{message['title']}\n{message['text']}")  # noqa: T201
    assert 0 == service.returncode
    assert "native" in found
    assert "refunds" in told
    assert " problem" not in checked.splitlines()[-1]
    assert {"danger", "warning"} >= {message["color"]}
    assert "collapse (production), v1 to v2: the failure rate of refunds requests went from" in message["text"]
    assert "Worst classes: refunds " in message["text"]
    assert "|Cases and traces>" in message["text"]


def slack(webhook: WebhookReceiver) -> list[dict[str, str]]:
    """What the channels show so far."""
    return [each for path, body in list(webhook.received) if "/slack/" in path for each in body["attachments"]]


def test_from_init_to_a_verdict_on_kafka_without_editing_a_file(newcomer: Newcomer) -> None:
    """History, `init`, `run`, the rollout, `doctor`, `verdict`: only the broker's address is that of the test."""
    begun = time.monotonic()
    with KafkaServer() as kafka:
        line = {
            words: newcomer.command(words).replace("127.0.0.1:9092", kafka.bootstrap_servers)
            for words in ("--act history", "init", "cliffwatch run", "--act rollout", "doctor", "cliffwatch verdict")
        }
        port = free_port()
        newcomer.environment["CLIFFWATCH_WEB__LISTEN_ADDRESS"] = f"127.0.0.1:{port}"
        if IS_FULL:
            newcomer.types("make install", timeout_seconds=2 * FIVE_MINUTES)
            newcomer.types(newcomer.command("pip install"), timeout_seconds=FIVE_MINUTES)
        else:
            newcomer.environment["CLIFFWATCH_TRACES__ASSEMBLY__QUIET_SECONDS"] = "5"
            line["--act rollout"] += " --pause 15"

        newcomer.types(line["--act history"])
        found = newcomer.types(line["init"])
        with running(newcomer, line["cliffwatch run"], port) as service:
            newcomer.types(line["--act rollout"])
            rollouts = f"http://127.0.0.1:{port}/api/v1/rollouts"
            wait_until(lambda: '"cliff"' in ask(rollouts).text, 180, "the verdict is cliff", interval_seconds=0.5)
            told = newcomer.types(line["cliffwatch verdict"])
            checked = newcomer.types(line["doctor"])

    print(f"\nfrom history to a verdict on Kafka: {time.monotonic() - begun:.0f} s")  # noqa: T201
    assert 0 == service.returncode
    assert "OTLP protobuf (OpenTelemetry GenAI)" in found
    assert "verdict: cliff" in told
    assert "Tiers are trusted" in checked
    assert " problem" not in checked.splitlines()[-1]
