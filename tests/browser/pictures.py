"""Pictures of the pages for the documentation: `python -m tests.browser.pictures` writes docs/images/status-page."""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
"""Name, page, size, scheme, device pixels per pixel, and what stands at the top."""


def main() -> None:
    """Replay the demo, then look at its pages."""
    _PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        ReplayProcess(_demo(), _CONFIG) as process,
        open_browser(find_program("chromium", "google-chrome"), find_program("chromedriver")) as browser,
    ):
        rollouts = httpx.get(f"{process.url}/api/v1/rollouts", trust_env=False).json()
        (cliff,) = (rollout["id"] for rollout in rollouts if rollout["verdict"] == "cliff")
        ways = {"": "/", "rollout": f"/rollouts/{cliff}", "cases": f"/rollouts/{cliff}/cases"}
        for name, page, size, scheme, scale, top in _SHOTS:
            browser.look(size=size, scheme=scheme, scale=scale)
            browser.driver.get(f"{process.url}{ways[page]}")
            _scroll_to(browser, top)
            file = _PICTURES / f"{name}.png"
            _save(browser.picture(), file)
            sys.stdout.write(f"{name}: {file.stat().st_size:,} bytes\n")


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
