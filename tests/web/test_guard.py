from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from monitor.metrics.snapshot import SnapshotHolder
from monitor.web.server import MetricsServer
from monitor.web.settings import WebSettings
from tests.metrics.snapshots import a_snapshot


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """Of a server on the loopback interface with one name of its own."""
    settings = WebSettings(listen_address="127.0.0.1:0", allowed_hosts=("monitor.example.invalid",))
    server = MetricsServer(settings, SnapshotHolder(a_snapshot()), lambda: None)
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client
    server.stop()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, 200, id="curl, which says nothing"),
        pytest.param({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200, id="our own page"),
        pytest.param({"Sec-Fetch-Site": "none"}, 200, id="a person who typed the address"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="a page of another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 403, id="a page of a neighbour"),
        pytest.param({"Origin": "https://evil.example.invalid"}, 403, id="an old browser on another site"),
        pytest.param({"Origin": "null"}, 403, id="a page without an origin"),
        pytest.param({"Origin": "http://[::1"}, 403, id="an origin that is none"),
    ],
)
def test_only_our_own_origin_may_change_something(client: httpx.Client, headers: dict[str, str], expected: int) -> None:
    """A page that an operator happens to look at cannot reload the config or end a rollout."""
    assert expected == client.post("/-/reload", headers=headers).status_code


def test_an_old_browser_on_our_own_page_may_change_something(client: httpx.Client) -> None:
    """Its origin is the host that it asks."""
    origin = str(client.base_url).rstrip("/")

    assert 200 == client.post("/-/reload", headers={"Origin": origin}).status_code


def test_another_site_may_look_at_what_its_browser_will_not_show_it(client: httpx.Client) -> None:
    """A link to the status page works; what comes back may not be read by the other site."""
    answer = client.get("/metrics", headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example.invalid"})

    assert 200 == answer.status_code
    assert "access-control-allow-origin" not in answer.headers
    assert "same-origin" == answer.headers["cross-origin-resource-policy"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("127.0.0.1:1", 200, id="an address"),
        pytest.param("[::1]:9464", 200, id="an address of six parts"),
        pytest.param("localhost", 200, id="localhost"),
        pytest.param("Monitor.example.invalid:80", 200, id="a name that is allowed"),
        pytest.param("evil.example.invalid:9464", 403, id="a name that somebody let point here"),
        pytest.param("127.0.0.1.evil.example.invalid", 403, id="a name that begins like an address"),
        pytest.param("[::1", 403, id="no host at all"),
    ],
)
def test_a_name_that_was_made_to_point_here_is_not_served(client: httpx.Client, host: str, expected: int) -> None:
    """DNS rebinding: the page's own name would be of the same origin as what it reads."""
    assert expected == client.get("/metrics", headers={"Host": host}).status_code


def test_beyond_loopback_any_name_is_served() -> None:
    """In a cluster the names are the operator's, unless the config lists them."""
    server = MetricsServer(WebSettings(listen_address=":0"), SnapshotHolder(a_snapshot()), lambda: None)
    server.start()

    answer = httpx.get(f"{server.url}/metrics", headers={"Host": "cliffwatch.monitoring.svc"}, trust_env=False)
    server.stop()

    assert 200 == answer.status_code


def test_the_default_is_the_loopback_interface() -> None:
    """Nothing is shown to the network unless somebody says so."""
    assert "127.0.0.1:9464" == WebSettings().listen_address
