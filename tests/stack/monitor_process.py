"""`cliffwatch run` as a process, as an operator starts it."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.stack.servers import Server, ask

CLIFFWATCH = str(Path(sys.executable).with_name("cliffwatch"))


HURRIED: Mapping[str, float] = {
    "poll_timeout_seconds": 0.2,
    "snapshot_interval_seconds": 0.2,
    "review_interval_seconds": 1.0,
    # On a busy machine a review of seconds would otherwise rest for a minute before the next.
    "review_rest_ratio": 0.5,
}
"""For tests that wait for what the monitor says next."""

PATIENT: Mapping[str, float] = HURRIED | {"snapshot_interval_seconds": 1.0, "review_interval_seconds": 5.0}
"""For tests that read much or wait long for alerts: looking at thousands of requests all the time would cost most."""


class MonitorProcess(Server):
    """
    `cliffwatch run` on a free port.

    Args:
        kafka: Settings of the section `kafka`.
        sections: Further sections of the config; the ledger is a SQLite file in the process's folder by default.
    """

    def __init__(self, kafka: Mapping[str, Any], **sections: Mapping[str, Any]) -> None:
        super().__init__()
        self._config = {
            "web": {"listen_address": self.address},
            "ledger": {"url": f"sqlite:///{self.directory}/ledger.db"},
            "service": HURRIED,
            "kafka": dict(kafka),
        } | {name: dict(section) for name, section in sections.items()}

    def __exit__(self, kind: object = None, problem: object = None, trace: object = None) -> None:
        if problem is not None:  # pytest shows what is printed beside a failure
            print(self.log()[-4_000:])  # noqa: T201
        super().__exit__(kind, problem, trace)

    def prepare(self) -> None:
        (self.directory / "cliffwatch.yaml").write_text(yaml.safe_dump(self._config))

    def command(self) -> Sequence[str]:
        return [CLIFFWATCH, "run", "--config.file", str(self.directory / "cliffwatch.yaml")]

    def is_ready(self) -> bool:
        try:
            return ask(f"{self.url}/-/ready").is_success
        except httpx.TransportError:
            return False

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://{self.address}"

    def samples(self, prefix: str = "cliffwatch_") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of `/metrics` by name and labels; empty while it does not answer."""
        try:
            text = ask(f"{self.url}/metrics").raise_for_status().text
        except httpx.TransportError:
            return {}
        wanted = "".join(f"{line}\n" for line in text.split("\n") if line.startswith(prefix))
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(wanted)
            for sample in family.samples
        }

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of *name* that bear *labels*."""
        return sum(
            value
            for (found, pairs), value in self.samples(name).items()
            if found == name and labels.items() <= dict(pairs).items()
        )

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Sums of the samples of *name* by one label."""
        sums: dict[str, float] = defaultdict(float)
        for (found, pairs), value in self.samples(name).items():
            if found == name:
                sums[dict(pairs)[label]] += value
        return dict(sums)

    def judged(self) -> dict[str, int]:
        """How many requests of the new version the verdict on each service rests on."""
        shown = ask(f"{self.url}/api/v1/rollouts").json()
        return {
            rollout["service"]: rollout["aggregate"]["candidate"]["requests"] if rollout["aggregate"] else 0
            for rollout in shown
        }
