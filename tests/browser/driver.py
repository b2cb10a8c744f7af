"""Chromium without a window: how a page looks, reads and is found accessible."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

AXE = Path(__file__).resolve().parents[2] / ".servers" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
PHONE, DESKTOP = (380, 800), (1200, 900)
"""Width and height in CSS pixels."""

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
)


class Browser:
    """One window whose size, colour scheme and scripts a test may choose."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def look(
        self, *, size: tuple[int, int] = DESKTOP, scheme: str = "light", media: str = "screen", scale: float = 1.0
    ) -> None:
        """From now on be so large, prefer this scheme, and show pages for this medium."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self._tell("Emulation.setDeviceMetricsOverride", **metrics)
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self._tell("Emulation.setEmulatedMedia", media=media, features=[preference])

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """Pages loaded meanwhile run none."""
        self._tell("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield
        finally:
            self._tell("Emulation.setScriptExecutionDisabled", value=False)

    def run(self, script: str, *arguments: Any) -> Any:
        """What *script* returns when the page runs it."""
        return self.driver.execute_script(script, *arguments)  # type: ignore[no-untyped-call]

    def text(self) -> str:
        """What a reader sees."""
        return " ".join(str(self.run("return document.body.innerText")).split())

    def violations(self) -> list[str]:
        """What axe-core finds wrong, worst first: rule, impact and where."""
        self._tell("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(  # type: ignore[no-untyped-call]
            "const done = arguments[0]; axe.run(document).then(result => done(result.violations), done)"
        )
        return [f"{each['id']} ({each['impact']}): {each['nodes'][0]['html']}" for each in found]

    def picture(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._tell("Page.captureScreenshot", format="png")["data"])

    def _tell(self, command: str, **parameters: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.driver.execute_cdp_cmd(command, parameters)
        return answer


@contextmanager
def open_browser(chromium: str, chromedriver: str) -> Iterator[Browser]:
    """A browser that is closed in the end."""
    options = Options()
    options.binary_location = chromium
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
