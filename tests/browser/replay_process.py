"""`cliffwatch replay --serve` as a process: pages over a judged rollout, and the ledger that they stand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx
import yaml

from tests.stack.monitor_process import CLIFFWATCH
from tests.stack.servers import Server, ask


class ReplayProcess(Server):
    """
    A replay that serves on a free port when it is done.

    Args:
        lines: Events, one a line.
        config: The config.
    """

    start_seconds = 280.0  # it reads everything before it answers

    def __init__(self, lines: Iterable[str], config: Mapping[str, Any]) -> None:
        super().__init__()
        self._lines = lines
        self._config = dict(config)
        self.config_path = self.directory / "cliffwatch.yaml"

    @property
    def ledger(self) -> str:
        """URL of the ledger."""
        return f"sqlite:///{self.directory}/ledger.db"

    @property
    def url(self) -> str:
        """Base address of the pages."""
        return f"http://{self.address}"

    def prepare(self) -> None:
        with (self.directory / "events.jsonl").open("w", encoding="utf-8") as events:
            events.writelines(f"{line}\n" for line in self._lines)
        self.config_path.write_text(yaml.safe_dump(self._config), encoding="utf-8")

    def command(self) -> Sequence[str]:
        return [
            *(CLIFFWATCH, "replay", str(self.directory / "events.jsonl"), "--serve", "--ledger", self.ledger),
            *("--config.file", str(self.config_path), "--web.listen-address", self.address),
        ]

    def is_ready(self) -> bool:
        try:
            return ask(f"{self.url}/-/ready").is_success
        except httpx.TransportError:
            return False
