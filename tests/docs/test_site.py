"""The site that `make docs` builds: whole, and without anything from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from selenium.webdriver.support.wait import WebDriverWait

from docs.handbook.links import site_problems
from docs.handbook.markdown import ROOT
from docs.handbook.site import REFERENCE
from tests.browser.driver import open_browser
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
    chromium, driver = required_program("chromium", "google-chrome"), required_program("chromedriver")

    with open_browser(chromium, driver) as browser:
        page = browser.driver
        page.get((site / "index.html").as_uri())
        page.execute_script("document.querySelector('[data-md-toggle=search]').click()")
        page.find_element("css selector", "input.md-search__input").send_keys("anytime-valid")
        found = WebDriverWait(page, 60).until(lambda _: page.find_elements("css selector", ".md-search-result__item a"))

        assert any("verdict" in str(link.get_attribute("href")) for link in found)
        assert [] == page.get_log("browser")
