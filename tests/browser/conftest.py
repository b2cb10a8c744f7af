from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from monitor.cli import run_command
from tests.browser.driver import AXE, Browser, open_browser
from tests.builders import NOON
from tests.event_histories import DAY, history_events, version_events
from tests.programs import required_program
from tests.stack.monitor_process import CLIFFWATCH
from tests.stack.servers import Server

SERVICE = "shop"
_POLICY = {
    "min_labelled_requests": 100,
    "min_hard_failures": 10,
    "floors": [{"service": SERVICE, "pass_rate": 0.9, "agreed_by": "shop team", "agreed_on": "2026-09-01"}],
}


class ReplayProcess(Server):
    """`cliffwatch replay --serve` over a small rollout with a broken record, into a ledger that is kept."""

    @property
    def ledger(self) -> str:
        """URL of the ledger."""
        return f"sqlite:///{self.directory}/ledger.db"

    @property
    def url(self) -> str:
        """Base address of the pages."""
        return f"http://{self.address}"

    def prepare(self) -> None:
        events = [
            *history_events(),
            *version_events("live-1", environment="production", started_at=NOON),
            *version_events("live-2", environment="production", started_at=NOON + DAY, ability=1.5),
        ]
        lines = [json.dumps(event) for event in events] + ["no JSON at all"]
        (self.directory / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        config = {"rollout": _POLICY, "web": {"trace_url": "https://traces.example/{service}/{trace_id}"}}
        (self.directory / "cliffwatch.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def command(self) -> Sequence[str]:
        return [
            *(CLIFFWATCH, "replay", str(self.directory / "events.jsonl"), "--serve", "--ledger", self.ledger),
            *("--config.file", str(self.directory / "cliffwatch.yaml"), "--web.listen-address", self.address),
        ]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False


@dataclass(frozen=True)
class Site:
    """The pages, and what the command line says of the same ledger."""

    url: str
    verdict: dict[str, Any]
    cases: dict[str, Any]

    @property
    def pages(self) -> dict[str, str]:
        """Every page by its name."""
        rollout = f"{self.url}/rollouts/{self.verdict['id']}"
        return {
            "overview": f"{self.url}/",
            "rollout": rollout,
            "cases": f"{rollout}/cases",
            "not found": f"{self.url}/rollouts/none",
        }


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A replayed rollout as it is served, in its final state for all tests."""
    with ReplayProcess() as process:
        config = process.directory / "cliffwatch.yaml"
        (verdict,) = _printed(config, "verdict", SERVICE, "--ledger", process.ledger)["rollouts"]
        yield Site(process.url, verdict, _printed(config, "cases", "--service", SERVICE, "--ledger", process.ledger))


def _printed(config: Path, *arguments: str) -> dict[str, Any]:
    output = io.StringIO()
    with redirect_stdout(output):
        assert 0 == run_command([*arguments, "--config.file", str(config), "--output", "json"])
    printed: dict[str, Any] = json.loads(output.getvalue())
    return printed


@pytest.fixture(scope="session")
def _browser() -> Iterator[Browser]:
    chromium = required_program("chromium", "google-chrome")
    driver = required_program("chromedriver")
    if not AXE.exists():
        reason = "axe-core is not fetched; run `make servers`."
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with open_browser(chromium, driver) as browser:
        yield browser


@pytest.fixture
def browser(_browser: Browser) -> Browser:
    """One browser for all tests, each beginning at a desk by daylight."""
    _browser.look()
    return _browser
