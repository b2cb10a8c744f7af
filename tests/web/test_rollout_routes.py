"""Deploy hooks over HTTP: announce a rollout, end it, see its cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from monitor.errors import LedgerUnavailable
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import SnapshotHolder
from monitor.output.cases import TraceLinks
from monitor.rollout.policy import Policy
from monitor.service.rollout_control import RolloutControl
from monitor.web.server import MetricsServer
from monitor.web.settings import WebSettings
from tests.builders import NOON
from tests.histories import DAY, a_review, roll_out, serve
from tests.metrics.snapshots import a_record, a_snapshot, a_verdict

START = {"service": "shop", "candidate": "live-3"}


class UnreachableLedger:
    """A database that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise LedgerUnavailable("The ledger's database does not answer: gone.")


@pytest.fixture
def ledger() -> Iterator[SqlLedger]:
    ledger = SqlLedger("sqlite://")
    serve(ledger, "live-1", started_at=NOON)
    yield ledger
    ledger.close()


@pytest.fixture
def a_client() -> Iterator[Callable[..., httpx.Client]]:
    """Serves a ledger and gives a client for it."""
    with ExitStack() as stack:

        def serve_it(ledger: Any, **snapshot: Any) -> httpx.Client:
            links = TraceLinks("https://traces.example/{service}/{trace_id}?version={model_version}")
            control = RolloutControl(ledger, policy=Policy, now=lambda: NOON + 3 * DAY, links=links)
            settings = WebSettings(listen_address="127.0.0.1:0")
            server = MetricsServer(settings, SnapshotHolder(a_snapshot(**snapshot)), lambda: None, control)
            server.start()
            stack.callback(server.stop)
            return stack.enter_context(httpx.Client(base_url=server.url, trust_env=False))

        yield serve_it


@pytest.fixture
def client(ledger: SqlLedger, a_client: Callable[..., httpx.Client]) -> httpx.Client:
    return a_client(ledger)


def test_a_hook_announces_a_rollout_and_ends_it(client: httpx.Client, ledger: SqlLedger) -> None:
    """It is under way against the established version at once, and ended with the words that were said."""
    started = client.post("/api/v1/rollouts", json=START)
    assert 200 == started.status_code
    assert ("live-1", "live-3", "waiting", None) == tuple(
        started.json()[key] for key in ("baseline", "candidate", "verdict", "ended_at")
    )

    ended = client.post(f"/api/v1/rollouts/{started.json()['id']}/end", json={"reason": "rolled_back"})

    assert (200, "rolled_back") == (ended.status_code, ended.json()["end_reason"])
    (record,) = ledger.rollouts()
    assert (NOON + 3 * DAY, "rolled_back") == (record.rollout.ended_at, record.rollout.end_reason)


def test_a_hook_that_is_retried_makes_one_rollout(client: httpx.Client, ledger: SqlLedger) -> None:
    """The second answer is the first one."""
    answers = [client.post("/api/v1/rollouts", json=START).json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert 1 == len(ledger.rollouts())


@pytest.mark.slow
def test_an_requested_rollout_is_judged_as_one_that_was_found(a_client: Callable[..., httpx.Client]) -> None:
    """Its candidate's requests count from the first one on, and the stream finds no second rollout."""
    ledger = SqlLedger("sqlite://")
    reviewer = a_review(ledger)
    roll_out(ledger, reviewer)
    a_client(ledger).post("/api/v1/rollouts", json=START)

    serve(ledger, "live-3", started_at=NOON + 3 * DAY + 60, salt=5)
    reviewer.review(now=NOON + 4 * DAY)

    (record,) = [record for record in ledger.rollouts() if record.rollout.candidate == "live-3"]
    assert record.verdict is not None
    assert 200 == record.verdict.aggregate.candidate.requests
    assert 200 == record.verdict.aggregate.baseline.requests
    ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("request_", "status", "problem"),
    [
        pytest.param({"content": b"{"}, 400, "Invalid JSON", id="no JSON"),
        pytest.param({"json": {"service": "shop"}}, 400, "candidate", id="a field is missing"),
        pytest.param({"json": START | {"typo": 1}}, 400, "typo", id="a field that nobody knows"),
        pytest.param({"json": START | {"candidate": 'a"b'}}, 400, "candidate cannot be used", id="a name for no label"),
        pytest.param({"json": START | {"candidate": "x" * 20_000}}, 400, "more than 16384 bytes", id="a large body"),
        pytest.param(
            {"content": b'{"service":"shop","candidate":"c"}', "headers": {"content-type": "text/plain"}},
            415,
            "application/json",
            id="what a form of another site could send",
        ),
    ],
)
def test_what_cannot_be_announced_is_refused_in_a_sentence(
    client: httpx.Client, ledger: SqlLedger, request_: dict[str, Any], status: int, problem: str
) -> None:
    """And nothing is kept."""
    answer = client.post("/api/v1/rollouts", **({"headers": {"content-type": "application/json"}} | request_))

    assert status == answer.status_code
    assert problem in answer.json()["error"]
    assert [] == ledger.rollouts()


def test_a_rollout_that_nobody_knows_is_not_found(client: httpx.Client) -> None:
    """For its end as for its cases."""
    assert 404 == client.post("/api/v1/rollouts/nope/end", json={"reason": "x"}).status_code
    assert 404 == client.get("/api/v1/rollouts/nope/cases").status_code


def test_a_ledger_that_is_away_is_said_to_be(a_client: Callable[..., httpx.Client]) -> None:
    """A hook may try again."""
    answer = a_client(UnreachableLedger()).post("/api/v1/rollouts", json=START)

    assert 503 == answer.status_code
    assert "does not answer" in answer.json()["error"]


@pytest.mark.slow
def test_cases_come_with_their_traces(a_client: Callable[..., httpx.Client]) -> None:
    """By signature, with both runs and where to look at them; never more than were asked for."""
    ledger = SqlLedger("sqlite://")
    roll_out(ledger, a_review(ledger), fails_from=100)
    (record,) = ledger.rollouts()
    client = a_client(ledger)

    answer = client.get(f"/api/v1/rollouts/{record.rollout.rollout_id}/cases", params={"limit": 2}).json()

    assert record.rollout.rollout_id == answer["rollout"]
    assert answer["total"] > 2 == answer["shown"]
    (group, *_) = answer["signatures"]
    assert {"tier", "capability", "failure_class", "state", "cases"} == group.keys()
    (case, *_) = group["cases"]
    assert {"requests": 1, "failures": 1} == case["candidate"]
    assert {"requests": 1, "failures": 0} == case["established"]
    item = case["name"]
    trace_id = f"production-live-2-{item.removeprefix('item-')}"
    link = f"https://traces.example/shop/{trace_id}?version=live-2"
    assert {"trace_id": trace_id, "model_version": "live-2", "link": link} == case["failed"]
    assert "live-1" == case["passed"]["model_version"]
    ledger.close()


@pytest.mark.slow
def test_what_to_label_next_is_the_same_over_http(a_client: Callable[..., httpx.Client]) -> None:
    """Requests with their chances and links, and what a budget would buy; the same again, and others with a seed."""
    ledger = SqlLedger("sqlite://")
    roll_out(ledger, a_review(ledger))
    (record,) = ledger.rollouts()
    path = f"/api/v1/rollouts/{record.rollout.rollout_id}/labels"
    client = a_client(ledger)

    first, again, other = (client.get(path, params={"count": 5, "seed": seed}).json() for seed in (1, 1, 2))

    assert first == again != other
    assert (record.rollout.rollout_id, 5, 5) == (first["rollout"], first["budget"], len(first["labels"]))
    assert {"all", "hard"} == first["standard_errors"].keys()
    label = first["labels"][0]
    version = {"baseline": "live-1", "candidate": "live-2"}[label["arm"]]
    assert f"https://traces.example/shop/{label['trace_id']}?version={version}" == label["link"]
    assert 0 < label["sampling_probability"] <= 1
    assert 50 == len(client.get(path).json()["labels"])
    ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize("query", ["count=0", "count=-1", "seed=many", "budget=1.5", "count=9999999999", "seed=²"])
def test_a_number_of_labels_that_is_none_is_refused(client: httpx.Client, query: str) -> None:
    """With one sentence."""
    answer = client.get(f"/api/v1/rollouts/none/labels?{query}")

    name = query.partition("=")[0]
    assert (400, {"error": f"{name} is a number from 1 on, for example ?{name}=20."}) == (
        answer.status_code,
        answer.json(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_that_is_no_number_is_refused(client: httpx.Client, limit: str) -> None:
    """Rather than taken for all."""
    assert 400 == client.get(f"/api/v1/rollouts/x/cases?limit={limit}").status_code


def test_a_gate_answers_a_progressive_delivery(client: httpx.Client) -> None:
    """A GET always answers with the four fields; a POST has a status that a webhook understands."""
    gate = "/api/v1/rollouts/shop/model-2/gate"

    asked, strict = client.get(gate), client.get(gate, params={"strict": "true"})

    assert {"pass", "verdict", "reason", "wait_seconds"} == set(asked.json())
    assert (200, 200) == (asked.status_code, strict.status_code)
    assert ("cliff", True, False) == (asked.json()["verdict"], asked.json()["pass"], strict.json()["pass"])
    assert (200, 412) == (client.post(gate).status_code, client.post(gate, params={"strict": "true"}).status_code)


@pytest.mark.slow
@pytest.mark.parametrize("query", ["stric=true", "strict=yes", "environment=production&require-verdict=true"])
def test_a_gate_refuses_a_rule_that_it_does_not_know(client: httpx.Client, query: str) -> None:
    """A misspelt rule that passed for none would leave the gate open."""
    answer = client.get(f"/api/v1/rollouts/shop/model-2/gate?{query}")

    assert (400, False) == (answer.status_code, answer.json()["pass"])
    assert query.rpartition("&")[2] in answer.json()["reason"]
    assert "strict=true" in answer.json()["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("query", ["strict=true&strict=false", "environment=a&environment=b"])
def test_a_gate_refuses_a_rule_that_comes_twice(client: httpx.Client, query: str) -> None:
    """The last one would overrule the first, which may be the strict one."""
    answer = client.get(f"/api/v1/rollouts/shop/model-2/gate?{query}")

    assert (400, False) == (answer.status_code, answer.json()["pass"])
    assert f"a second {query.partition('=')[0]}" in answer.json()["reason"]


def test_a_gate_finds_a_service_of_a_namespace(ledger: SqlLedger, a_client: Callable[..., httpx.Client]) -> None:
    """Its name has a slash, and so may that of a model; written out or not."""
    record = a_record(a_verdict(), service="team/shop", candidate="meta/model-2")
    client = a_client(ledger, rollouts=(record,))

    assert [200, 200] == [
        client.get(f"/api/v1/rollouts/{name}/gate").status_code
        for name in ("team/shop/meta/model-2", "team%2Fshop/meta%2Fmodel-2")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["shop/nobody/gate", "nobody/model-2/gate", "shop/model-2/gate?environment=staging"])
def test_a_gate_never_passes_what_it_does_not_find(client: httpx.Client, path: str) -> None:
    """404, and `pass` is false."""
    answer = client.get(f"/api/v1/rollouts/{path}")

    assert (404, False) == (answer.status_code, answer.json()["pass"])
