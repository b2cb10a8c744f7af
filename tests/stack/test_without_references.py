"""The first day, without any reference run: what reaches the pager when a tenth of the traffic gets worse."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.stack.monitor_process import PATIENT, MonitorProcess
from tests.stack.servers import AlertmanagerServer, KafkaServer, PrometheusServer, WebhookReceiver, wait_until
from tests.stack.test_stories import READ, RULES, evaluated_at, produce, told, with_webhooks

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

CLASSES = ("refunds", "orders", "delivery", "returns", "accounts")
USUAL = dict.fromkeys(CLASSES, 0.10)
DOUBLED = dict.fromkeys(CLASSES, 0.20)
REFUNDS_COLLAPSED = {**dict.fromkeys(CLASSES, 0.04), "refunds": 0.45}
CANARIES = {"doubles": DOUBLED, "collapse": REFUNDS_COLLAPSED, "null": USUAL}
"""How often the canary of each service fails, by class; what serves beside it fails as usual."""


def canary(service: str, dice: random.Random, now: datetime) -> Iterator[dict[str, Any]]:
    """Two days of the old version alone, then three in which a tenth of 12,000 requests goes to the new one."""
    for version, rates, requests, days in (
        ("v1", USUAL, 6_000, (5, 3)),
        ("v1", USUAL, 10_800, (3, 0)),
        ("v2", CANARIES[service], 1_200, (3, 0)),
    ):
        for number in range(requests):
            age = dice.uniform(days[1] + 0.1, days[0])
            capability = dice.choice(CLASSES)
            yield {
                "schema": "cliffwatch.trace/v1",
                "trace_id": f"{service}-{version}-{days[0]}-{number}",
                "service": service,
                "model_version": version,
                "capability": capability,
                "started_at": (now - timedelta(days=age)).isoformat(),
                "outcome": {"success": dice.random() >= rates[capability], "source": "judge"},
            }


def test_a_worse_canary_is_reported_on_the_first_day(
    kafka: KafkaServer,
    prometheus: Callable[..., PrometheusServer],
    alertmanager: Callable[[str], AlertmanagerServer],
    webhook: WebhookReceiver,
) -> None:
    """Failures that double and a class that collapses arrive by name; a canary that changes nothing stays quiet."""
    dice, now = random.Random(20261128), datetime.now(UTC) - timedelta(hours=2)
    live = sorted(
        (each for service in CANARIES for each in canary(service, dice, now)), key=lambda each: each["started_at"]
    )
    topic = kafka.new_topic(partitions=4)
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    pager = alertmanager(with_webhooks((RULES / "alertmanager.yml").read_text(), webhook.url))

    with MonitorProcess(settings, service=PATIENT) as monitor:
        scraper = prometheus(
            targets=[monitor.address], rule_files=[RULES / "cliffwatch.rules.yml"], alertmanagers=[pager.address]
        )
        produce(kafka, topic, live)
        wait_until(lambda: monitor.total(READ) == len(live), 180, "everything is read")
        everything = dict.fromkeys(CANARIES, 1_200)
        wait_until(lambda: monitor.judged() == everything, what="all is judged")
        judged_at = time.time()
        wait_until(
            lambda: (
                {"CandidateRegression", "CapabilityClassRegression"}
                <= {alert for arrived in told(webhook).values() for _, alert, _ in arrived}
            ),
            240,
            "both regressions arrive",
        )
        rule_waits, group_waits, margin = 30, 30, 10
        wait_until(
            lambda: evaluated_at(scraper) > judged_at + rule_waits + group_waits + margin,
            180,
            "everyone had their time",
        )

    alerts = {
        service: {(alert, capability) for _, alert, capability in arrived} - {("OnCallRamp", "")}
        for service, arrived in told(webhook).items()
    }
    assert ("CandidateRegression", "") in alerts["doubles"]
    assert ("CapabilityClassRegression", "refunds") in alerts["collapse"]
    assert {"refunds", ""} >= {capability for _, capability in alerts["collapse"]}
    assert not alerts["null"]
