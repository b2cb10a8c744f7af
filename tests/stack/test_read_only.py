"""The service as the container runs it: not root, nothing that it may write, no home, SIGTERM at the end."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from tests.programs import required_program
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, PostgresServer, wait_until

pytestmark = [pytest.mark.stack]

UID = "10001"
READ_ONLY = """
set -eu
mount --make-rprivate /
while read -r _ target _ ; do
  case "$target" in /proc*|/sys*|/dev*) continue ;; esac
  mount -o remount,bind,ro "$target"
done < /proc/self/mounts
exec "$@"
"""
"""Makes every file system read-only, for the process that it becomes and for nobody else."""

# The interpreter of a virtual environment may lie in somebody's home: it may be read, and nothing else is allowed.
ONE_CAPABILITY = "-all,+dac_read_search"


class ReadOnlyProcess(MonitorProcess):
    """`cliffwatch run` as user 10001 on a machine that it cannot write to."""

    ledger_url = ""

    def prepare(self) -> None:
        super().prepare()
        self.directory.chmod(0o755)

    def command(self) -> Sequence[str]:
        return [*_confinement(), *super().command()]

    def environment(self) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin", "CLIFFWATCH_LEDGER__URL": self.ledger_url}


def _confinement() -> list[str]:
    unshare, setpriv = required_program("unshare"), required_program("setpriv")
    user = ["--reuid", UID, "--regid", UID, "--clear-groups", "--no-new-privs"]
    capabilities = [f"--{kind}-caps={ONE_CAPABILITY}" for kind in ("inh", "ambient")]
    return [
        *(unshare, "--mount", "--", "sh", "-c", READ_ONLY, "sh"),
        *(setpriv, *user, *capabilities, f"--bounding-set={ONE_CAPABILITY}"),
    ]


@pytest.fixture
def confined() -> None:
    """Skips where the tests' own user may not take so much away from a process."""
    if os.geteuid() != 0:
        pytest.skip("only root may make file systems read-only for a process")
    probe = subprocess.run([*_confinement(), "touch", "/tmp/probe"], capture_output=True, text=True, check=False)
    if "Read-only file system" not in probe.stderr:
        pytest.skip(f"file systems cannot be made read-only here: {probe.stderr.strip()}")


@pytest.mark.usefixtures("confined")
def test_the_service_runs_without_root_and_writes_nowhere(kafka: KafkaServer, postgres: PostgresServer) -> None:
    """It counts, sets bad records aside, shows both and ends in order, with no file that it could write."""
    topic = kafka.new_topic(partitions=1)
    _produce(kafka, topic)
    process = ReadOnlyProcess(
        {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}, ledger={}
    )
    process.ledger_url = postgres.new_database()

    with process:
        wait_until(lambda: process.total("cliffwatch_requests_total") == 50, what="every trace is counted")
        dead = process.total("cliffwatch_dead_letters_total")
        user = _status(process, "Uid")
        capabilities = int(_status(process, "CapEff"), 16)
        process.stop()
        log = process.log()

    assert 1 == dead
    assert UID == user
    assert 1 << 2 == capabilities, "CAP_DAC_READ_SEARCH and nothing else"
    assert "event=service.stopped" in log
    assert "Traceback" not in log


def _produce(kafka: KafkaServer, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    for number in range(50):
        producer.send(topic, json.dumps(_event(number)).encode())
    producer.send(topic, b"{")
    producer.flush()
    producer.close()


def _event(number: int) -> dict[str, Any]:
    return {
        "schema": "cliffwatch.trace/v1",
        "trace_id": f"{number:032x}",
        "service": "shop",
        "model_version": "gpt-4-0613",
        "started_at": "2026-11-23T05:02:00Z",
        "outcome": {"success": True, "source": "judge"},
    }


def _status(process: MonitorProcess, field: str) -> str:
    assert process.process is not None
    (line,) = [
        line
        for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
        if line.startswith(f"{field}:")
    ]
    return line.split()[1]
