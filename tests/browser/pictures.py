"""Pictures of the pages for the documentation: `python -m tests.browser.pictures` writes docs/images/status-page."""

from __future__ import annotations

import io
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from monitor.demo.events import write_demo_events
from tests.browser.driver import DESKTOP, Browser, open_browser
from tests.browser.replay_process import ReplayProcess
from tests.stack.servers import find_program

_PICTURES = Path(__file__).resolve().parents[2] / "docs" / "images" / "status-page"
_CONFIG = {
    "rollout": {
        "floors": [
            {"service": "booking-agent", "pass_rate": 0.15, "agreed_by": "booking team", "agreed_on": "2026-09-30"}
        ]
    },
    "web": {"trace_url": "https://traces.example/{trace_id}"},
}
_COLOURS = 96
_PHONE = (380, 760)
_SHOTS = (
    ("overview-phone-dark", "", _PHONE, "dark", 1.5, "h1"),
    ("overview-desktop", "", (1200, 1020), "light", 1.0, "h1"),
    ("rollout-phone-dark", "rollout", _PHONE, "dark", 1.5, "#rates-title"),
    ("rollout-phone", "rollout", _PHONE, "light", 1.5, "#evidence-title"),
    ("rollout-desktop", "rollout", (1200, 1290), "light", 1.0, "h1"),
    ("rollout-desktop-dark", "rollout", DESKTOP, "dark", 1.0, "#share-title"),
    ("cases-phone", "cases", _PHONE, "light", 1.5, "h1"),
)
_SHOTS_WITHOUT_REFERENCES = (
    ("class-desktop", "orders", (1200, 1030), "light", 1.0, "h1"),
    ("class-phone-dark", "orders", _PHONE, "dark", 1.5, "h1"),
    ("no-tiers-phone", "search", _PHONE, "light", 1.5, "h1"),
)
"""Name, page, size, scheme, device pixels per pixel, and what stands at the top."""


def main() -> None:
    """Replay the demo, then two rollouts without references, and look at their pages."""
    _PICTURES.mkdir(parents=True, exist_ok=True)
    with open_browser(find_program("chromium", "google-chrome"), find_program("chromedriver")) as browser:
        with ReplayProcess(_demo(), _CONFIG) as process:
            (cliff,) = (each["id"] for each in _rollouts(process) if each["verdict"] == "cliff")
            ways = {"": "/", "rollout": f"/rollouts/{cliff}", "cases": f"/rollouts/{cliff}/cases"}
            _take(browser, process, _SHOTS, ways)
        with ReplayProcess(map(json.dumps, _without_references()), _CONFIG) as process:
            ways = {each["service"]: f"/rollouts/{each['id']}" for each in _rollouts(process)}
            _take(browser, process, _SHOTS_WITHOUT_REFERENCES, ways)


def _rollouts(process: ReplayProcess) -> Any:
    return httpx.get(f"{process.url}/api/v1/rollouts", trust_env=False).json()


def _take(browser: Browser, process: ReplayProcess, shots: Sequence[Any], ways: Mapping[str, str]) -> None:
    for name, page, size, scheme, scale, top in shots:
        browser.look(size=size, scheme=scheme, scale=scale)
        browser.driver.get(f"{process.url}{ways[page]}")
        _scroll_to(browser, top)
        file = _PICTURES / f"{name}.png"
        _save(browser.picture(), file)
        sys.stdout.write(f"{name}: {file.stat().st_size:,} bytes\n")


def _without_references() -> Iterator[dict[str, Any]]:
    """A class of `orders` that collapses at a tenth of the traffic, and `search`, which names no class, on its way."""
    usual = {"refunds": 0.10, "invoices": 0.02, "delivery": 0.04, "disputes": 0.55}
    new = usual | {"refunds": 0.60, "disputes": 0.45}
    dice, began = random.Random(20261129), datetime(2026, 11, 10, tzinfo=UTC)
    for number in range(10_000):
        service = "orders" if number % 3 else "search"
        is_new = number > (4_000 if service == "orders" else 8_800) and dice.random() < 0.1
        name = dice.choice(("refunds", "invoices", "invoices", "invoices", "delivery", "delivery", "disputes"))
        event = {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"{service}-{number}",
            "service": service,
            "model_version": "agent-2026-11" if is_new else "agent-2026-08",
            "started_at": (began + timedelta(minutes=number)).isoformat(),
            "request": {"text": f"{name} {dice.randrange(40)}"},
            "outcome": {"success": dice.random() >= (new if is_new else usual)[name], "source": "checker"},
        }
        yield event | ({"capability": name} if service == "orders" else {})


def _scroll_to(browser: Browser, selector: str) -> None:
    if selector != "h1":
        browser.run("scrollTo(0, document.querySelector(arguments[0]).getBoundingClientRect().top - 8)", selector)


def _save(picture: bytes, file: Path) -> None:
    """As a file of few colours, a third of the size: pages have hardly more."""
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


def _demo() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="status-page-") as folder:
        events = Path(folder) / "events.jsonl"
        write_demo_events(events)
        with events.open(encoding="utf-8") as lines:
            yield from map(str.rstrip, lines)


if __name__ == "__main__":
    main()
