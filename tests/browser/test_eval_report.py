"""The report of an eval suite in a real browser."""

from __future__ import annotations

import pytest

from monitor.cli import run_command
from tests.browser.driver import DESKTOP, PHONE, Browser
from tests.evals.suites import seed_rows, write_csv

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The seed arithmetic, with capabilities, a gate, and a hard case that is newly failing."""
    folder = tmp_path_factory.mktemp("report")
    before, after = ([row | {"capability": f"class {n % 3}"} for n, row in enumerate(seed_rows(arm))] for arm in (0, 1))
    after[-100] |= {"correct": 0}
    files = (write_csv(folder / "before.csv", before), write_csv(folder / "after.csv", after))
    (folder / "floors.yaml").write_text(
        "floors: [{tier: hard, pass_rate: 0.5}]\nmust_pass: [nowhere]", encoding="utf-8"
    )
    target = folder / "report.html"
    arguments = ["--gate", str(folder / "floors.yaml"), "--write", str(target)]
    assert 1 == run_command(["report", *map(str, files), *arguments])
    return target.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_a_report(browser: Browser, page: str, scheme: str) -> None:
    """Neither on a phone nor at a desk, neither by day nor by night."""
    for size in (PHONE, DESKTOP):
        browser.look(size=size, scheme=scheme)
        browser.driver.get(page)

        assert [] == browser.violations()


def test_a_report_needs_no_scrolling_sideways_and_no_script(browser: Browser, page: str) -> None:
    """On a phone only the tables scroll, each within itself, and the numbers are there."""
    browser.look(size=PHONE)
    with browser.without_scripts():
        browser.driver.get(page)
    width = browser.run("return document.documentElement.scrollWidth")

    assert width <= PHONE[0]
    assert "58.8 % → 75.7 %" in browser.text()
