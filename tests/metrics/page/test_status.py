from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from monitor.metrics.page.status import render_status
from monitor.metrics.snapshot import HealthFact, Snapshot
from monitor.rollout.policy import Policy
from tests.metrics.snapshots import a_record, a_snapshot, a_verdict

VOID = {"meta"}


class Reader(HTMLParser):
    """Collects tags and text, and fails on a tag that is closed in the wrong place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def words(snapshot: Snapshot) -> str:
    return " ".join(Reader(render_status(snapshot)).text)


def test_the_page_says_the_verdict_and_why() -> None:
    """Verdict and reasons come before any number."""
    page = words(a_snapshot(rollouts=[a_record(a_verdict())]))

    verdict, reason = page.index("cliff "), page.index("hard tier 60.0 % -> 55.0 % failures")
    assert verdict < reason < page.index("Failure rate by tier")


def test_the_page_shows_the_numbers_of_the_report() -> None:
    """Rates with bounds and counts, and changes in points."""
    page = words(a_snapshot(rollouts=[a_record(a_verdict())]))

    for shown in (
        "60.0% [47.5%, 72.5%] (60 of 100)",
        "-5.0 points [-12.5, +3.1]",
        "+25.0 points [+12.5, +37.5]",
        "+6.2 points",
        "+18.8 points [+6.2, +31.2]",
        "-3.1 points",
    ):
        assert shown in page


def test_what_is_not_known_is_said_so() -> None:
    """A tier without a labelled request shows no zero."""
    assert "not known (0 of 0)" in words(a_snapshot(rollouts=[a_record(a_verdict())]))


def test_the_latest_rollout_is_on_top() -> None:
    """The one that somebody was just woken for comes first."""
    page = words(a_snapshot(rollouts=[a_record(service="older"), a_record(service="newer", started_at=2e9)]))

    assert page.index("newer") < page.index("older")


def test_an_empty_monitor_says_what_it_waits_for() -> None:
    """Before the first commit the page is a page, not an error."""
    page = words(Snapshot(now=0.0, policy=Policy()))

    assert "No rollout has been seen yet." in page
    assert "not ready: still starting" in page


@given(st.text(), st.text())
def test_nothing_from_outside_becomes_markup(name: str, sentence: str) -> None:
    """Names and reasons of any kind add no tag, whatever they contain."""
    quiet = render_status(_snapshot_with("name", "sentence"))

    hostile = render_status(_snapshot_with(f'</th><script>"{name}', f"<img src=x onerror='{sentence}'>&"))

    assert Reader(quiet).tags == Reader(hostile).tags


def _snapshot_with(name: str, sentence: str) -> Snapshot:
    record = a_record(a_verdict(reasons=(sentence,)), service=name, environment=name, baseline=name, candidate=name)
    return a_snapshot(rollouts=[record], health=(HealthFact(name, is_ok=False, sentence=sentence),))
