"""The site that `make docs` builds: whole, and without anything from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from handbook.links import site_problems
from handbook.markdown import ROOT
from handbook.site import REFERENCE
from tests.programs import required_program

pytestmark = pytest.mark.slow

_FETCHED_BY_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")


def test_links_of_the_site_lead_somewhere(site: Path) -> None:
    """Pages, anchors and pictures are there, and a browser fetches nothing from elsewhere."""
    assert [] == list(site_problems(site))


def test_styles_fetch_nothing_from_elsewhere(site: Path) -> None:
    """No font and no picture."""
    styles = list(site.rglob("*.css"))

    assert styles
    assert [] == [path.name for path in styles if _FETCHED_BY_STYLES.search(path.read_text(encoding="utf-8"))]


def test_every_page_is_in_the_site(site: Path) -> None:
    """Those of docs/ (the template of a runbook too), and those that are written from the code."""
    written = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    places = [
        path.with_name("index.md") if path.name == "README.md" else path for path in [*written, *map(Path, REFERENCE)]
    ]

    assert [] == [str(place) for place in places if not (site / place).with_suffix(".html").exists()]


@pytest.mark.stack
def test_search_works_from_a_folder(site: Path) -> None:
    """Opened as files, without a server and without the network, a page finds others."""
    with chromium() as browser:
        browser.get((site / "index.html").as_uri())
        browser.execute_script("document.querySelector('[data-md-toggle=search]').click()")
        browser.find_element("css selector", "input.md-search__input").send_keys("anytime-valid")
        found = WebDriverWait(browser, 60).until(
            lambda _: browser.find_elements("css selector", ".md-search-result__item a")
        )

        assert any("verdict" in link.get_attribute("href") for link in found)
        assert [] == browser.get_log("browser")


@contextmanager
def chromium() -> Iterator[WebDriver]:
    """A browser without a window, Debian's own."""
    options = Options()
    options.binary_location = required_program("chromium", "chromium-browser")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(required_program("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()
