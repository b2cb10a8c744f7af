from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from tests.browser.driver import AXE, Browser, open_browser
from tests.browser.replay_process import ReplayProcess
from tests.builders import NOON
from tests.event_histories import DAY, history_events, version_events
from tests.programs import required_program

SERVICE = "shop"
_CONFIG = {
    "rollout": {
        "min_labelled_requests": 100,
        "min_hard_failures": 10,
        "floors": [{"service": SERVICE, "pass_rate": 0.9, "agreed_by": "shop team", "agreed_on": "2026-09-01"}],
    },
    "web": {"trace_url": "https://traces.example/{service}/{trace_id}"},
}


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
    with ReplayProcess(_lines(), _CONFIG) as process:
        config = process.config_path
        (verdict,) = _printed(config, "verdict", SERVICE, "--ledger", process.ledger)["rollouts"]
        yield Site(process.url, verdict, _printed(config, "cases", "--service", SERVICE, "--ledger", process.ledger))


def _lines() -> Iterator[str]:
    """A small rollout to a version that fails more often, and a record that says nothing."""
    yield from map(json.dumps, history_events())
    yield from map(json.dumps, version_events("live-1", environment="production", started_at=NOON))
    candidate = version_events("live-2", environment="production", started_at=NOON + DAY, ability=1.5)
    yield from map(json.dumps, candidate)
    yield "no JSON at all"


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
