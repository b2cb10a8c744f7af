"""The pages in a real browser, over a rollout that `cliffwatch replay` has judged."""

from __future__ import annotations

from itertools import pairwise

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Site
from tests.browser.driver import DESKTOP, PHONE, Browser
from tests.metrics.same_numbers import page_words

pytestmark = pytest.mark.stack

PAGES = ("overview", "rollout", "cases", "not found")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_wrong(browser: Browser, site: Site, page: str, scheme: str) -> None:
    """Not on a phone and not at a desk, neither by day nor by night: no rule of axe-core is broken, serious or not."""
    for size in (PHONE, DESKTOP):
        browser.look(size=size, scheme=scheme)
        browser.driver.get(site.pages[page])

        assert [] == browser.violations()


def test_the_page_says_what_the_command_line_says(browser: Browser, site: Site) -> None:
    """Every number of `cliffwatch verdict --output json` stands where a reader sees it."""
    browser.driver.get(site.pages["rollout"])

    seen = browser.text()
    assert set() == {word for word in page_words(site.verdict) if word not in seen}


def test_from_the_overview_to_the_trace_of_a_case(browser: Browser, site: Site) -> None:
    """Verdict, rollout, cases, and the trace of a hard request that used to pass: each one click further."""
    browser.driver.get(site.pages["overview"])
    assert site.verdict["reasons"][0] in browser.text()

    _link(browser, f"{site.verdict['service']} ({site.verdict['environment']})").click()
    assert site.pages["rollout"] == browser.driver.current_url
    _link(browser, "requests that passed before and fail now").click()
    assert site.pages["cases"] == browser.driver.current_url

    shown = [row.text.split()[0] for row in browser.driver.find_elements(By.CSS_SELECTOR, "tbody th")]
    told = [case for signature in site.cases["signatures"] for case in signature["cases"]]
    assert [case["name"] for case in told] == shown
    links = {link.get_attribute("href") for link in browser.driver.find_elements(By.CSS_SELECTOR, "tbody a")}
    assert {case[run]["link"] for case in told for run in ("failed", "passed")} == links


@pytest.mark.parametrize("page", PAGES)
def test_a_phone_needs_no_scrolling_sideways(browser: Browser, site: Site, page: str) -> None:
    """Nothing is wider than 380 pixels, and no text of a page or a picture is too small to read."""
    browser.look(size=PHONE)
    browser.driver.get(site.pages[page])

    width, smallest = browser.run(
        """
        const heights = [...document.querySelectorAll("main *, svg text")]
          .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
          .filter(each => each.closest("svg") === null || each.tagName === "text")
          .map(each => parseFloat(getComputedStyle(each).fontSize)
            * (each.tagName === "text" ? each.getScreenCTM().a : 1));
        return [document.documentElement.scrollWidth, Math.min(...heights)];
        """
    )
    assert (380, True) == (width, smallest >= 9.5)


@pytest.mark.parametrize("width", [600, 768, 1000])
@pytest.mark.parametrize("page", PAGES)
def test_half_a_screen_needs_no_scrolling_sideways(browser: Browser, site: Site, page: str, width: int) -> None:
    """Between phone and desk: the ids of traces give way."""
    browser.look(size=(width, 800))
    browser.driver.get(site.pages[page])

    assert width == browser.run("return document.documentElement.scrollWidth")


def test_the_scheme_of_the_reader_is_followed(browser: Browser, site: Site) -> None:
    """Dark at night, light by day, and always light on paper."""
    papers = []
    for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
        browser.look(scheme=scheme, media=media)
        browser.driver.get(site.pages["rollout"])
        papers.append(browser.run("return getComputedStyle(document.documentElement).backgroundColor"))

    assert ["rgb(255, 255, 255)", "rgb(13, 17, 23)", "rgb(255, 255, 255)"] == papers


def test_pages_work_without_scripts(browser: Browser, site: Site) -> None:
    """Links lead on and details open where a browser runs no script at all."""
    with browser.without_scripts():
        browser.driver.get(site.pages["overview"])
        _link(browser, f"{site.verdict['service']} ({site.verdict['environment']})").click()
        assert site.pages["rollout"] == browser.driver.current_url
        table = browser.driver.find_element(By.CSS_SELECTOR, "details table")
        hidden = table.is_displayed()
        browser.driver.find_element(By.TAG_NAME, "summary").click()

        assert (False, True) == (hidden, table.is_displayed())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_all_there_is(browser: Browser, site: Site, page: str) -> None:
    """It loads nothing more, and the browser has nothing to say about it."""
    browser.driver.get(site.pages[page])

    assert [] == browser.run("return performance.getEntriesByType('resource').map(each => each.name)")
    assert [] == [
        entry["message"]
        for entry in browser.driver.get_log("browser")  # type: ignore[no-untyped-call]
        if "favicon" not in entry["message"] and "404 (Not Found)" not in entry["message"]
    ]


def test_a_keyboard_is_enough(browser: Browser, site: Site) -> None:
    """The first key skips to the content; every stop after it can be seen; Enter follows a link."""
    browser.driver.get(site.pages["overview"])
    _press(browser, Keys.TAB)
    assert "Skip to content" == _focused(browser)["text"]
    assert _focused(browser)["left"] >= 0

    _press(browser, Keys.ENTER)
    stops = []
    for _ in range(40):
        _press(browser, Keys.TAB)
        stops.append(_focused(browser))
        if stops[-1]["text"].startswith(site.verdict["service"]):
            break
    assert all(stop["outline"] >= 2 for stop in stops)
    assert not any(stop["text"] == "Metrics" for stop in stops)

    _press(browser, Keys.ENTER)
    assert site.pages["rollout"] == browser.driver.current_url


def test_a_keyboard_reaches_everything(browser: Browser, site: Site) -> None:
    """As many stops as there are links, summaries and parts that scroll, in the order of the page."""
    browser.driver.get(site.pages["rollout"])
    wanted = browser.run(
        "const stops = [...document.querySelectorAll('a, summary, [tabindex=\"0\"]')];"
        "return stops.filter(it => it.checkVisibility()).length"
    )
    tops = []

    for _ in range(wanted):
        _press(browser, Keys.TAB)
        tops.append(browser.run("return document.activeElement.getBoundingClientRect().top + scrollY"))

    in_page = tops[1:]  # the first one lies beside the page until it is focused
    assert wanted == len(tops)
    assert all(later >= earlier - 40 for earlier, later in pairwise(in_page))


def _link(browser: Browser, text: str) -> object:
    return browser.driver.find_element(By.PARTIAL_LINK_TEXT, text)


def _press(browser: Browser, key: str) -> None:
    browser.driver.switch_to.active_element.send_keys(key)


def _focused(browser: Browser) -> dict[str, object]:
    found: dict[str, object] = browser.run(
        """
        const it = document.activeElement, style = getComputedStyle(it);
        return {text: it.innerText, left: it.getBoundingClientRect().left, outline: parseFloat(style.outlineWidth)};
        """
    )
    return found
