from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from monitor.errors import LedgerUnavailable
from monitor.ledger.ledger import RolloutRecord
from monitor.metrics.snapshot import SnapshotHolder
from monitor.output.cases import TraceLinks
from monitor.rollout.cases import Cases
from monitor.rollout.evidence import Evidence
from monitor.service.rollout_control import RolloutControl
from monitor.web.page.pages import FEW_CASES, MANY_CASES
from monitor.web.server import MetricsServer
from monitor.web.settings import WebSettings
from tests.metrics.snapshots import a_record, a_snapshot, a_verdict
from tests.web.page.reading import Reader
from tests.web.page.test_rollout_page import LOOKS, a_case

RECORD = a_record(a_verdict())


class OneRollout(RolloutControl):
    """Knows one rollout, and can be cut off from its ledger."""

    def __init__(self) -> None:
        self.links = TraceLinks()
        self.is_away = False
        self.limits: list[int] = []

    def cases(self, rollout_id: str, *, limit: int, capability: str = "") -> tuple[RolloutRecord, Cases]:  # noqa: ARG002
        self._ask(rollout_id)
        self.limits.append(limit)
        return RECORD, Cases(1, [a_case()])

    def evidence(self, rollout_id: str) -> Sequence[Evidence]:
        self._ask(rollout_id)
        return LOOKS

    def _ask(self, rollout_id: str) -> None:
        assert rollout_id == "r1"
        if self.is_away:
            raise LedgerUnavailable("The ledger's database does not answer: gone.")


@pytest.fixture
def control() -> OneRollout:
    return OneRollout()


@pytest.fixture
def a_client() -> Iterator[Callable[[RolloutControl | None], httpx.Client]]:
    """Serves the pages and gives a client for them."""
    with ExitStack() as stack:

        def serve_them(control: RolloutControl | None) -> httpx.Client:
            settings = WebSettings(listen_address="127.0.0.1:0")
            snapshots = SnapshotHolder(a_snapshot(rollouts=[RECORD]))
            server = MetricsServer(settings, snapshots, lambda: None, control)
            server.start()
            stack.callback(server.stop)
            return stack.enter_context(httpx.Client(base_url=server.url, trust_env=False))

        yield serve_them


@pytest.fixture
def client(control: OneRollout, a_client: Callable[[RolloutControl | None], httpx.Client]) -> httpx.Client:
    return a_client(control)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "status", "place"),
    [
        ("service=shop&candidate=model-2&environment=production", 307, "/rollouts/r1"),
        ("service=shop&candidate=model-2&show=cases", 307, "/rollouts/r1/cases"),
        ("service=shop&candidate=model-9", 404, "/rollouts"),
        ("service=desk", 404, "/rollouts"),
    ],
)
def test_a_message_leads_to_the_page_of_its_rollout(client: httpx.Client, query: str, status: int, place: str) -> None:
    """An alert knows names, not the rollout's id."""
    answer = client.get(f"/rollouts?{query}")

    assert status == answer.status_code
    assert place == urlsplit(urljoin("/rollouts", answer.headers.get("location", ""))).path


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/rollouts/r1", "/rollouts/r1/cases", "/rollouts/none"])
def test_a_page_may_show_its_own_style_and_load_nothing(client: httpx.Client, path: str) -> None:
    """The policy of its headers allows the one style sheet that it holds, by its hash, and nothing else."""
    answer = client.get(path)

    policy = answer.headers["content-security-policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script|<link|<img|<iframe|\sstyle=|\son\w+=", answer.text)
    assert "nosniff" == answer.headers["x-content-type-options"]


def test_an_unknown_rollout_is_not_found(client: httpx.Client) -> None:
    """With a page that leads back."""
    for path in ("/rollouts/none", "/rollouts/none/cases"):
        answer = client.get(path)

        assert 404 == answer.status_code
        assert "There is no such rollout" in answer.text
        assert "All rollouts" in answer.text


def test_a_page_reloads_itself_only_when_asked_to(client: httpx.Client) -> None:
    """And never so often that nobody can read it."""
    assert "refresh" not in client.get("/").headers
    assert "60" == client.get("/rollouts/r1?refresh=60").headers["refresh"]
    assert "15" == client.get("/?refresh=1").headers["refresh"]
    assert "300" == client.get(f"/?refresh={'9' * 400}").headers["refresh"]
    assert "refresh" not in client.get("/?refresh=soon").headers
    assert "http-equiv" not in client.get("/?refresh=60").text


def test_a_ledger_that_is_away_takes_only_its_own_part_along(client: httpx.Client, control: OneRollout) -> None:
    """The verdict stands in the snapshot; cases and evidence are told to be unknown, and why."""
    control.is_away = True

    page, cases = client.get("/rollouts/r1"), client.get("/rollouts/r1/cases")

    assert (200, 503) == (page.status_code, cases.status_code)
    assert all("does not answer: gone." in answer.text for answer in (page, cases))


def test_few_cases_are_shown_unless_many_are_asked_for(client: httpx.Client, control: OneRollout) -> None:
    """Two pages of one rollout, whatever else the address says, each made once."""
    for query in ("", "?limit=999999999999", "?many", "?many=9&other"):
        assert 200 == client.get(f"/rollouts/r1/cases{query}").status_code

    assert [FEW_CASES, MANY_CASES] == control.limits


def test_without_a_ledger_there_is_no_page_of_cases(
    a_client: Callable[[RolloutControl | None], httpx.Client],
) -> None:
    """And no link to one."""
    client = a_client(None)

    page = client.get("/rollouts/r1")

    assert 200 == page.status_code
    assert "/cases" not in page.text
    assert 404 == client.get("/rollouts/r1/cases").status_code


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/", "/rollouts/r1", "/rollouts/r1/cases", "/rollouts/none"])
def test_every_way_of_a_page_leads_somewhere(client: httpx.Client, path: str) -> None:
    """Followed as a browser does, from the address of the page."""
    reader = Reader(client.get(path).text)

    for link in reader.links:
        if link.startswith("#"):
            assert link[1:] in reader.ids
        elif not link.startswith("?"):
            assert 200 == client.get(urljoin(path, link)).status_code, link
