from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from monitor.errors import ConfigInvalid, DependencyUnreachable, UsageError
from monitor.metrics.snapshot import HealthFact, LoopStatus, Snapshot, SnapshotHolder
from monitor.output.rollouts import rollout_json
from monitor.rollout.policy import Policy
from monitor.web.server import MetricsServer, parse_address
from monitor.web.settings import WebSettings
from tests.metrics.golden import GOLDEN
from tests.metrics.snapshots import a_snapshot

ANY_PORT = WebSettings(listen_address="127.0.0.1:0")


class Reloads:
    """Counts reloads; fails while *problem* is set."""

    def __init__(self) -> None:
        self.count = 0
        self.problem = ""

    def __call__(self) -> str:
        self.count += 1
        if self.problem:
            raise ConfigInvalid(self.problem)
        return "reloaded: took log.level; no restart needed"


@dataclass(frozen=True)
class Running:
    """A server that the tests of this module share, and what it shows and calls."""

    snapshots: SnapshotHolder
    reloads: Reloads
    client: httpx.Client


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    snapshots, reloads = SnapshotHolder(a_snapshot()), Reloads()
    server = MetricsServer(ANY_PORT, snapshots, reloads)
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield Running(snapshots, reloads, client)
    server.stop()


@pytest.fixture
def reloads(running: Running) -> Reloads:
    running.reloads.count, running.reloads.problem = 0, ""
    return running.reloads


@pytest.fixture
def snapshots(running: Running) -> SnapshotHolder:
    running.snapshots.current = a_snapshot()
    return running.snapshots


@pytest.fixture
def client(running: Running, snapshots: SnapshotHolder, reloads: Reloads) -> httpx.Client:
    del snapshots, reloads  # as new for every test
    return running.client


def test_a_scrape_gets_the_current_snapshot(client: httpx.Client, snapshots: SnapshotHolder) -> None:
    """What was published last is shown by the next scrape, never what was encoded before."""
    first = client.get("/metrics")
    snapshots.current = a_snapshot(loop=LoopStatus(last_commit_at=12_345.0))
    second = client.get("/metrics")

    assert first.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "cliffwatch_last_commit_timestamp_seconds 1.7900001195e+09" in first.text
    assert "cliffwatch_last_commit_timestamp_seconds 12345.0" in second.text
    assert GOLDEN.read_text().splitlines()[0] == second.text.splitlines()[0]


def test_openmetrics_is_given_to_who_asks_for_it(client: httpx.Client) -> None:
    """Prometheus asks for it, and gets it beside the text for others."""
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "cliffwatch_requests" in {family.name for family in text_string_to_metric_families(answer.text)}
    assert client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_a_living_process_is_healthy_and_a_caught_up_one_ready(client: httpx.Client) -> None:
    """Both probes answer in one word."""
    assert (200, "healthy\n") == (client.get("/-/healthy").status_code, client.get("/-/healthy").text)
    assert (200, "ready\n") == (client.get("/-/ready").status_code, client.get("/-/ready").text)


def test_readiness_says_why_not(client: httpx.Client, snapshots: SnapshotHolder) -> None:
    """A probe that fails logs the reason; the process is healthy all the same."""
    down = HealthFact("ledger", is_ok=False, sentence="The ledger is out of reach; start it.")
    snapshots.current = a_snapshot(is_ready=False, health=(down,))

    answer = client.get("/-/ready")

    assert (503, "The ledger is out of reach; start it.\n") == (answer.status_code, answer.text)
    assert client.get("/-/healthy").status_code == 200


def test_reload_calls_back(client: httpx.Client, reloads: Reloads) -> None:
    """A POST reads the config again and says what changed; a look does not."""
    looked = client.get("/-/reload")
    posted = client.post("/-/reload")

    assert (405, 200, 1) == (looked.status_code, posted.status_code, reloads.count)
    assert "reloaded: took log.level; no restart needed\n" == posted.text


def test_a_failed_reload_says_what_is_wrong(client: httpx.Client, reloads: Reloads) -> None:
    """The sentence comes back, so that a deploy hook can print it."""
    reloads.problem = "cliffwatch.yaml:3: log.levl: unknown key"

    answer = client.post("/-/reload")

    assert (500, f"{reloads.problem}\n") == (answer.status_code, answer.text)


def test_rollouts_are_the_reports(client: httpx.Client, snapshots: SnapshotHolder) -> None:
    """The interface gives the objects that `replay --output json` prints."""
    assert [rollout_json(record) for record in snapshots.current.rollouts] == client.get("/api/v1/rollouts").json()


def test_the_status_page_may_load_nothing(client: httpx.Client) -> None:
    """The page works offline, and a browser refuses scripts even if one slipped in."""
    answer = client.get("/")

    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<title>1 to look at · Cliffwatch</title>" in answer.text


def test_an_unknown_path_is_not_found(client: httpx.Client) -> None:
    """Nothing else is served."""
    assert client.get("/api/v2/rollouts").status_code == 404


def test_two_servers_do_not_share_their_metrics() -> None:
    """Each has a registry of its own, so that tests and replays can run side by side."""
    servers = [
        MetricsServer(
            ANY_PORT, SnapshotHolder(Snapshot(now=0.0, policy=Policy(), loop=LoopStatus(last_commit_at=at))), Reloads()
        )
        for at in (1.0, 2.0)
    ]
    for server in servers:
        server.start()
    with httpx.Client(trust_env=False) as client:
        texts = [client.get(f"{server.url}/metrics").text for server in servers]
    for server in servers:
        server.stop()

    assert ["timestamp_seconds 1.0" in text for text in texts] == [True, False]
    assert ["timestamp_seconds 2.0" in text for text in texts] == [False, True]


def test_a_stopped_server_frees_its_port(snapshots: SnapshotHolder, reloads: Reloads) -> None:
    """It can be started again on the same port, and stopping twice does no harm."""
    server = MetricsServer(ANY_PORT, snapshots, reloads)
    server.start()
    port = server.port

    server.stop()
    server.stop()

    with socket.create_server(("127.0.0.1", port)) as again:
        assert port == again.getsockname()[1]


def test_a_taken_port_is_said_in_one_sentence(snapshots: SnapshotHolder, reloads: Reloads) -> None:
    """The person learns which address, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = MetricsServer(WebSettings(listen_address=address), snapshots, reloads)

        with pytest.raises(DependencyUnreachable, match=rf"cannot listen on {address}: .* web\.listen_address"):
            server.start()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        pytest.param("127.0.0.1:9464", ("127.0.0.1", 9464), id="an IPv4 address"),
        pytest.param("[::1]:9464", ("::1", 9464), id="an IPv6 address in brackets"),
        pytest.param(":9464", ("", 9464), id="every interface"),
        pytest.param("localhost:0", ("localhost", 0), id="any free port"),
    ],
)
def test_addresses_are_read(address: str, expected: tuple[str, int]) -> None:
    """Host and port, as Prometheus writes them."""
    assert expected == parse_address(address)


@pytest.mark.parametrize("address", ["9464", "host", "host:port", "http://host:1", "host:99999", "a@b:1", "::1"])
def test_other_addresses_are_refused(address: str) -> None:
    """The sentence shows an address that would do."""
    with pytest.raises(UsageError, match=r"write 127\.0\.0\.1:9464"):
        parse_address(address)
