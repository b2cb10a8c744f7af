"""What reaches a person: every alert through the shipped routes, receivers and templates of a real Alertmanager."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from tests.programs import required_program
from tests.rules import test_alerts, test_slo
from tests.rules.conftest import RULES
from tests.rules.spec import PAGE, ROLLOUT_PAGE, AlertSpec
from tests.stack.servers import AlertmanagerServer, WebhookReceiver, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SPECS = {**test_alerts.SPECS, **test_slo.SPECS}
GOLDEN = Path(__file__).parents[1] / "golden" / "messages.txt"
ALONE = {"alertname": "DiskFull", "severity": "page", "signature": "disk", "service": "warehouse"}
"""An alert of somebody else that shares a receiver, and has no annotation at all."""


def routed_to(receiver: WebhookReceiver, secrets: Path, rules: Path = RULES.parent) -> str:
    """The routes and receivers of the folder *rules* with every address on *receiver*, and a short wait for a group."""
    config = yaml.safe_load((rules / "alertmanager.yml").read_text())
    config["receivers"] = yaml.safe_load((rules / "receivers.yml").read_text())["receivers"]
    config["templates"] = [str(rules / "templates" / "*.tmpl")]
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    key = secrets / "pagerduty-key"
    key.write_text("key")
    for each in config["receivers"]:
        (url := secrets / f"slack-{each['name']}").write_text(f"{receiver.url}/slack/{each['name']}")
        each["slack_configs"] = [{**one, "api_url_file": str(url)} for one in each.get("slack_configs", [])]
        each["pagerduty_configs"] = [
            {**one, "routing_key_file": str(key), "url": f"{receiver.url}/pagerduty/{each['name']}"}
            for one in each.get("pagerduty_configs", [])
        ]
        each["webhook_configs"] = [
            {**one, "url": f"{receiver.url}/webhook/{each['name']}"} for one in each.get("webhook_configs", [])
        ]
    return yaml.safe_dump(config)


def an_alert(spec: AlertSpec, **labels: str) -> dict[str, Any]:
    """The alert as Prometheus hands it over."""
    links = {
        "runbook_url": f"https://example.invalid/cliffwatch/docs/runbooks/{spec.alert}.md",
        "dashboard_url": f"http://localhost:3000/d/cliffwatch-{spec.dashboard}",
        "page_url": ROLLOUT_PAGE if "candidate" in spec.labels else PAGE,
    }
    return {
        "labels": {"alertname": spec.alert, **spec.labels, **labels},
        "annotations": {**links, **spec.annotations},
        "generatorURL": "http://prometheus:9090/graph",
    }


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """
    Everything that arrived, by kind of receiver.

    Each alert comes by itself, two of one rollout come together, and so does a stranger. All of one group are handed in
    at once, so each group is one message.
    """
    required_program("prometheus-alertmanager", "alertmanager")
    alerts = [an_alert(spec, **_apart(spec)) for spec in SPECS.values()]
    alerts += [an_alert(SPECS[name], service="together") for name in ("CandidateRegression", "HardTierRegression")]
    alerts.append({"labels": ALONE, "generatorURL": "http://prometheus:9090/graph"})
    now = datetime.now(UTC)
    for number, alert in enumerate(alerts):  # alerts of a group are told in the order in which they began
        alert["startsAt"] = (now - timedelta(seconds=len(alerts) - number)).isoformat()
    secrets = tmp_path_factory.mktemp("secrets")
    with WebhookReceiver() as receiver, AlertmanagerServer(routed_to(receiver, secrets)) as server:
        httpx.post(f"{server.url}/api/v2/alerts", json=alerts, trust_env=False).raise_for_status()
        # Those that page go to two places.
        expected = len(SPECS) + 2 + sum(spec.labels["severity"] == "critical" for spec in SPECS.values()) + 1
        wait_until(lambda: len(receiver.received) >= expected, what="everything arrived")
        found: dict[str, list[Mapping[str, Any]]] = {"slack": [], "pagerduty": [], "webhook": []}
        for path, body in list(receiver.received):
            found[path.split("/")[1]].append(body)
    return found


def _apart(spec: AlertSpec) -> Mapping[str, str]:
    return {"service": f"shop-{spec.alert}"} if "service" in spec.labels else {"namespace": spec.alert}


def attachments(messages: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Mapping[str, str]]:
    """Of Slack: all that its messages show."""
    return [attachment for body in messages["slack"] for attachment in body["attachments"]]


def test_slack_messages_are_read_as_they_were_approved(messages: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Title and text of all of them; CLIFFWATCH_GOLDEN=write writes them anew, to be read by a person."""
    shown = sorted(f"{each['title']}\n{each['color']}\n{each['text']}\n" for each in attachments(messages))
    shown += [f"webhook: {alert['annotations']}\n" for body in messages["webhook"] for alert in body["alerts"]]
    if os.environ.get("CLIFFWATCH_GOLDEN") == "write":
        GOLDEN.write_text("\n".join(shown))

    assert GOLDEN.read_text() == "\n".join(shown)


def test_no_message_has_an_empty_text_or_a_placeholder(messages: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Neither in Slack nor on a pager, not even of a stranger's alert without annotations."""
    texts = [
        each[key] for each in attachments(messages) for key in ("title", "text", "fallback", "color", "title_link")
    ]
    texts += [body["payload"]["summary"] for body in messages["pagerduty"]]
    texts += [body["payload"]["custom_details"]["text"] for body in messages["pagerduty"]]

    assert [] == [text for text in texts if not text.strip() or "<no value>" in text or "%!" in text]
    assert ["[warning] warehouse: DiskFull"] == [
        each["title"] for each in attachments(messages) if "DiskFull" in each["text"]
    ]


def test_every_page_has_the_severity_of_its_alert(messages: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """All that is critical pages, nothing else does, and its links lead somewhere."""
    critical = {spec.annotations["action"] for spec in SPECS.values() if spec.labels["severity"] == "critical"}
    told = "".join(body["payload"]["custom_details"]["text"] for body in messages["pagerduty"])

    assert critical == {spec.annotations["action"] for spec in SPECS.values() if spec.annotations["action"] in told}
    assert {"critical"} == {body["payload"]["severity"] for body in messages["pagerduty"]}
    assert all(urlsplit(link["href"]).netloc for body in messages["pagerduty"] for link in body["links"])


def test_alerts_of_one_rollout_share_a_message(messages: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Each says its sentence, and what holds for the rollout comes once."""
    (shared,) = [each for each in attachments(messages) if "together" in each["title"]]

    assert "[critical] together, candidate m 2: regression, 2 alerts" == shared["title"]
    assert (1, 2) == (shared["text"].count("Still possible"), shared["text"].count("The candidate fails more"))


def test_many_worse_classes_are_one_short_message(tmp_path: Path) -> None:
    """Three in full, the others by name; the links lead to the rollout."""
    required_program("prometheus-alertmanager", "alertmanager")
    names = ("refunds", "orders", "delivery", "returns", "accounts")
    alerts = [an_alert(SPECS["CapabilityClassRegression"], capability=name) for name in names]
    with WebhookReceiver() as receiver, AlertmanagerServer(routed_to(receiver, tmp_path)) as server:
        for ended in ({}, {"endsAt": datetime.now(UTC).isoformat()}):
            body = [{**alert, **ended} for alert in alerts]
            httpx.post(f"{server.url}/api/v2/alerts", json=body, trust_env=False).raise_for_status()
            wait_until(lambda known=bool(ended): len(_slack(receiver)) > known, what="the message arrives")

    firing, resolved = _slack(receiver)
    assert "[warning] shop, candidate m 2: waiting, CapabilityClassRegression (5)" == firing["title"]
    assert 3 == firing["text"].count("What to do: ")
    assert "\nThe same holds for: refunds, returns.\n\nStill possible: " in firing["text"]
    assert "than before the rollout. (orders)\nNo longer either: refunds, returns.\n" in resolved["text"]


def test_a_plain_webhook_has_all_that_is_known(messages: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Labels and annotations of each alert as JSON, in Alertmanager's own shape."""
    ((alert,),) = (body["alerts"] for body in messages["webhook"])

    assert ("OnCallRamp", "info") == (alert["labels"]["alertname"], alert["labels"]["severity"])
    assert {"summary", "description", "action", "page_url", "dashboard_url", "runbook_url"} == alert[
        "annotations"
    ].keys()


def test_what_has_ended_is_not_reported_as_if_it_lasted(tmp_path: Path) -> None:
    """Of two alerts of a rollout one ends, and says no more than that; then the other does, and says where to look."""
    required_program("prometheus-alertmanager", "alertmanager")
    first, second = (an_alert(SPECS[name]) for name in ("CandidateRegression", "HardTierRegression"))
    said: list[Mapping[str, str]] = []
    with WebhookReceiver() as receiver, AlertmanagerServer(routed_to(receiver, tmp_path)) as server:
        for ended in ((), (first,), (first, second)):
            over = {"endsAt": datetime.now(UTC).isoformat()}
            body = [{**alert, **over} if alert in ended else alert for alert in (first, second)]
            httpx.post(f"{server.url}/api/v2/alerts", json=body, trust_env=False).raise_for_status()
            known = len(said)
            wait_until(lambda seen=known: len(_slack(receiver)) > seen, what="the message arrives")
            said += _slack(receiver)[known:]

    both, one, none = said
    assert ["danger", "danger", "good"] == [each["color"] for each in said]
    assert (1, 1) == (both["text"].count("roll back to m-1"), both["text"].count("Roll back to m-1"))
    assert "\nNo longer: The candidate fails more requests than the baseline.\n\nStill possible" in one["text"]
    assert "the hard tier +3.1 to +25.0 points" in one["text"]
    assert "[resolved] shop, candidate m 2: 2 alerts" == none["title"]
    assert (
        "No longer: The candidate fails more requests than the baseline.\n"
        "No longer: The candidate fails more hard-tier requests than the baseline.\n\n"
        "The verdict changed, or the rollout ended: its page says which.\n<"
    ) in none["text"]


def _slack(receiver: WebhookReceiver) -> list[Mapping[str, str]]:
    bodies = [body for path, body in list(receiver.received) if "slack" in path]
    return [attachment for body in bodies for attachment in body["attachments"]]
