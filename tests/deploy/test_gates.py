"""The gate templates, by the protocols of Argo Rollouts and Flagger against the real endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from monitor.ledger.ledger import RolloutRecord
from monitor.metrics.snapshot import SnapshotHolder
from monitor.rollout.verdict import VerdictState
from monitor.web.server import MetricsServer
from monitor.web.settings import WebSettings
from tests.docs.test_yaml_blocks import CUSTOM_RESOURCES, _unknown_keys
from tests.metrics.snapshots import a_record, a_snapshot, a_verdict

GATES = Path(__file__).resolve().parents[2] / "deploy" / "gates"
ARGO = {each["metadata"]["name"]: each for each in yaml.safe_load_all((GATES / "argo-rollouts.yaml").read_text())}
FLAGGER = yaml.safe_load((GATES / "flagger.yaml").read_text())
WEBHOOKS = {hook["name"]: hook for hook in FLAGGER["spec"]["analysis"]["webhooks"]}
NAMES = {"service": "booking-agent", "candidate": "gpt-4-0125-preview"}
IN_CLUSTER = "http://cliffwatch.cliffwatch:9464"

WORLDS: Mapping[str, tuple[RolloutRecord, ...]] = {
    **{
        state.value: (
            a_record(a_verdict(state=state, regressed_capabilities=(), requests_needed=300), baseline="old", **NAMES),
        )
        for state in VerdictState
    },
    "a worse class": (a_record(a_verdict(state=VerdictState.OK), **NAMES),),
    "not looked at": (a_record(None, **NAMES),),
    "no rollout": (),
    "another environment": (a_record(a_verdict(state=VerdictState.OK), environment="staging", **NAMES),),
}


@pytest.fixture
def serve() -> Iterator[Callable[[str], str]]:
    """Serves one of the worlds under the name that the manifests ask for, and gives the address."""
    with ExitStack() as stack:

        def serve_it(world: str) -> str:
            settings = WebSettings(listen_address="127.0.0.1:0", allowed_hosts=("cliffwatch.cliffwatch",))
            server = MetricsServer(settings, SnapshotHolder(a_snapshot(rollouts=WORLDS[world])), lambda: None, None)
            server.start()
            stack.callback(server.stop)
            return server.url

        yield serve_it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "shifting", "promotion"),
    [
        ("ok", "Successful", "Successful"),
        ("waiting", "Successful", "Inconclusive"),
        ("not looked at", "Successful", "Inconclusive"),
        ("cliff", "Failed", "Failed"),
        ("regression", "Failed", "Failed"),
        ("a worse class", "Failed", "Failed"),
        ("no rollout", "Error", "Error"),
        ("another environment", "Error", "Error"),
    ],
)
def test_argo_rollouts_measures_the_gate(
    world: str, shifting: str, promotion: str, serve: Callable[[str], str]
) -> None:
    """What its web metric makes of the answer, by the condition of each template."""
    address = serve(world)

    measured = {name: _measure(template, address) for name, template in ARGO.items()}

    assert {"cliffwatch-shifting": shifting, "cliffwatch-before-promotion": promotion} == measured


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "shifting", "promotion"),
    [
        ("ok", True, True),
        ("waiting", True, False),
        ("not looked at", True, False),
        ("cliff", False, False),
        ("regression", False, False),
        ("a worse class", False, False),
        ("no rollout", False, False),
    ],
)
def test_flagger_takes_the_status_for_an_answer(
    world: str, *, shifting: bool, promotion: bool, serve: Callable[[str], str]
) -> None:
    """It posts who asks and in which phase; 200 to 299 is a pass."""
    address = serve(world)

    passes = {name: _call(hook, address) for name, hook in WEBHOOKS.items()}

    assert {"cliffwatch-shifting": shifting, "cliffwatch-before-promotion": promotion} == passes


@pytest.mark.parametrize("manifest", [*ARGO.values(), FLAGGER], ids=[*ARGO, "flagger"])
def test_the_manifests_have_keys_that_their_controllers_know(manifest: Mapping[str, Any]) -> None:
    """As the definitions of the custom resources list them."""
    known = CUSTOM_RESOURCES[f"{manifest['apiVersion']} {manifest['kind']}"]

    assert [] == list(_unknown_keys(manifest, {**known, "metadata": None}))


def _measure(template: Mapping[str, Any], address: str) -> str:
    """A web metric's phase: GET, an error unless 2xx, `jsonPath` into `result`, then both conditions."""
    (metric,) = template["spec"]["metrics"]
    web = metric["provider"]["web"]
    given = {arg["name"]: arg.get("value") for arg in template["spec"]["args"]} | NAMES | {"address": address}
    url = re.sub(r"\{\{ ?args\.(\w+) ?\}\}", lambda found: str(given[found[1]]), web["url"])
    answer = httpx.get(url, timeout=web["timeoutSeconds"], trust_env=False)
    if not answer.is_success:
        return "Error"
    assert web["jsonPath"] == "{$}"  # the whole body
    result = answer.json()
    if _holds(metric["failureCondition"], result):
        return "Failed"
    return "Successful" if _holds(metric["successCondition"], result) else "Inconclusive"


def _holds(condition: str, result: Mapping[str, Any]) -> bool:
    """The few words of its expression language that the templates use."""
    python = re.sub(r"result\.(\w+)", r'result["\1"]', condition).replace("&&", "and").replace("!result", "not result")
    held = eval(python, {"__builtins__": {}}, {"result": result})  # of our own file
    assert isinstance(held, bool)
    return held


def _call(hook: Mapping[str, Any], address: str) -> bool:
    """What a webhook posts, to the same path at *address* under the name of the cluster."""
    url = hook["url"].replace(IN_CLUSTER, address)
    payload = {"name": "booking-agent", "namespace": "agents", "phase": "Progressing", "checksum": "1", "metadata": {}}
    headers = {"Host": IN_CLUSTER.removeprefix("http://")}
    return httpx.post(url, json=payload, headers=headers, trust_env=False).is_success
