from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from monitor.cli import run_command
from tests.evals.suites import seed_rows, write_csv

_VOID = {"meta", "link", "br", "img"}


class Checker(HTMLParser):
    """Tags that open and close, and everything that a browser would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            self.open.append(tag)
        self.loaded += [f"{tag} {name}={value}" for name, value in attrs if name in {"src", "href"} or name[:2] == "on"]
        if tag == "script":
            self.loaded.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def page(tmp_path: Path) -> str:
    """The seed arithmetic as HTML; a hard case that is newly failing says something that looks like markup."""
    after = [row | {"failure": ""} for row in seed_rows(1)]
    after[-100] |= {"correct": 0, "failure": "<script>alert(1)</script> & more"}
    files = (write_csv(tmp_path / "a <b>.csv", seed_rows(0)), write_csv(tmp_path / "after.csv", after))
    floors = tmp_path / "floors.yaml"
    floors.write_text("floors: [{tier: hard, pass_rate: 0.4}]", encoding="utf-8")
    target = tmp_path / "report.html"
    assert 0 == run_command(["report", *map(str, files), "--gate", str(floors), "--write", str(target)])
    return target.read_text(encoding="utf-8")


def test_the_page_loads_and_runs_nothing(page: str) -> None:
    """One file, no script, no address; every tag is closed."""
    checker = Checker()
    checker.feed(page)

    assert [] == checker.open
    assert [] == checker.loaded
    assert not re.search(r"url\((?!#)|@import", page)


def test_the_page_has_the_numbers_and_the_failure(page: str) -> None:
    """What the table says stands in the text, and what a model said is text."""
    checker = Checker()
    checker.feed(page)
    text = " ".join(" ".join(checker.text).split())

    for words in ("89.8 %", "92.6 %", "102 → 74", "58.8 %", "hard-0", "<script>alert(1)</script> & more", "a <b>.csv"):
        assert words in text
    assert "Gate: open" in text
    assert "floor 40.0 %" in text


def test_dark_and_light_come_from_the_reader(page: str) -> None:
    """Colours follow the system, on paper they are those of light."""
    assert "prefers-color-scheme: dark" in page
    assert "color-scheme: light dark" in page
    assert "@media print" in page
