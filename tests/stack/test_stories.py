"""Four rollouts from the topic to the pager: who is told of what, and who is left in peace."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaProducer

from tests.stack.monitor_process import PATIENT, MonitorProcess
from tests.stack.servers import (
    AlertmanagerServer,
    KafkaServer,
    PrometheusServer,
    WebhookReceiver,
    wait_until,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

RULES = Path(__file__).resolve().parents[2] / "rules"
BASELINE, CANDIDATE = "model-2026-03-01", "model-2026-09-01"
CLASSES = ("parallel", "relevance")
ITEMS_PER_TIER_AND_CLASS = 60
REQUESTS_PER_ARM = 2_000

Rates = Mapping[str, float]
"""Failure probability by tier."""

OTHER_MODELS: Rates = {"easy": 0.01, "medium": 0.08, "hard": 0.45, "frontier": 0.98}
USUAL: Rates = {"easy": 0.04, "medium": 0.20, "hard": 0.50, "frontier": 0.98}
BETTER_AT_EASY_THINGS: Rates = {"easy": 0.005, "medium": 0.03, "hard": 0.50, "frontier": 0.98}
LOST_AT_HARD_THINGS: Rates = {"easy": 0.005, "medium": 0.03, "hard": 0.95, "frontier": 0.98}

USUAL_TRAFFIC: Rates = {"easy": 0.50, "medium": 0.25, "hard": 0.20, "frontier": 0.05}
HARDER_TRAFFIC: Rates = {"easy": 0.25, "medium": 0.25, "hard": 0.40, "frontier": 0.10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """
    What happens to one service.

    Attributes:
        candidate: How the new version fails; the old one fails as usual.
        in_parallel: How the new one fails in the class `parallel`; as elsewhere where None.
        new_traffic: Part of the requests in each tier from the cutover on.
        floors: What was agreed on before.
        told: Receiver, alert and capability class of everything that is to arrive.
    """

    service: str
    verdict: str
    told: frozenset[tuple[str, str, str]]
    candidate: Rates = field(default_factory=lambda: USUAL)
    in_parallel: Rates | None = None
    new_traffic: Rates = field(default_factory=lambda: USUAL_TRAFFIC)
    floors: Sequence[Mapping[str, Any]] = ()


NOTHING_BUT_THE_RAMP = frozenset({("oncall-notes", "OnCallRamp", "")})

STORIES = (
    Story(
        service="cliff",
        verdict="cliff",
        candidate=BETTER_AT_EASY_THINGS,
        # The cliff implies the jump of the share, which is not told a second time.
        told=NOTHING_BUT_THE_RAMP | {("model-oncall", "CapabilityCliff", "")},
    ),
    Story(
        service="regression",
        verdict="regression",
        candidate=BETTER_AT_EASY_THINGS,  # so that the average says nothing
        in_parallel=LOST_AT_HARD_THINGS,
        # The class as a whole got no worse: its easier requests gained what its hard ones lost. Its floor tells of it.
        floors=(
            {"service": "regression", "pass_rate": 0.38},
            {"service": "regression", "pass_rate": 0.40, "capability": "parallel"},
            {"service": "regression", "pass_rate": 0.30, "capability": "relevance"},  # holds
        ),
        told=NOTHING_BUT_THE_RAMP
        | {
            ("model-oncall", "HardTierRegression", ""),
            ("model-oncall", "HardTierFloorBreached", ""),
            ("model-oncall", "HardTierFloorBreached", "parallel"),
            ("tool-calling-team", "HardTierFloorBreached", "parallel"),
        },
    ),
    # 2,000 requests a side cannot rule out 3 points across a cutover, so nothing is claimed of these two.
    Story(service="mix-shift", verdict="waiting", new_traffic=HARDER_TRAFFIC, told=NOTHING_BUT_THE_RAMP),
    Story(service="null", verdict="waiting", told=NOTHING_BUT_THE_RAMP),
)


@dataclass(frozen=True, slots=True)
class Item:
    """A request that comes again."""

    request_id: str
    tier: str
    capability: str


ITEMS = [
    Item(f"{capability}-{tier}-{number}", tier, capability)
    for tier in USUAL_TRAFFIC
    for capability in CLASSES
    for number in range(ITEMS_PER_TIER_AND_CLASS)
]


def history(dice: random.Random, before: datetime) -> Iterator[dict[str, Any]]:
    """Ten versions, each a little better or worse than the others, that all met every item."""
    for number in range(10):
        starts = before - timedelta(days=10 - number)
        odds = dice.uniform(0.6, 1.6)
        rates = {tier: odds * rate / (1 - rate + odds * rate) for tier, rate in OTHER_MODELS.items()}
        for place, item in enumerate(dice.sample(ITEMS, len(ITEMS))):
            started_at = starts + place * timedelta(days=1) / len(ITEMS)
            failed = dice.random() < rates[item.tier]
            yield event("history", "reference", f"other-model-{number}", item, started_at, failed=failed)


def rollout(dice: random.Random, story: Story, cutover: datetime) -> Iterator[dict[str, Any]]:
    """Three days of the old version, then three days of the new one."""
    for version, elsewhere, in_parallel, traffic, starts in (
        (BASELINE, USUAL, USUAL, USUAL_TRAFFIC, cutover - timedelta(days=3)),
        (CANDIDATE, story.candidate, story.in_parallel or story.candidate, story.new_traffic, cutover),
    ):
        weights = [traffic[item.tier] for item in ITEMS]
        for place, item in enumerate(dice.choices(ITEMS, weights, k=REQUESTS_PER_ARM)):
            started_at = starts + place * timedelta(days=3) / REQUESTS_PER_ARM
            rates = in_parallel if item.capability == "parallel" else elsewhere
            failed = dice.random() < rates[item.tier]
            yield event(story.service, "production", version, item, started_at, failed=failed)


def event(
    service: str, environment: str, version: str, item: Item, started_at: datetime, *, failed: bool
) -> dict[str, Any]:
    return {
        "schema": "cliffwatch.trace/v1",
        "trace_id": f"{service}-{version}-{started_at.timestamp():.6f}",
        "service": service,
        "environment": environment,
        "model_version": version,
        "capability": item.capability,
        "request_id": item.request_id,
        "started_at": started_at.isoformat(),
        "outcome": {"success": not failed, "source": "judge"},
    }


def produce(kafka: KafkaServer, topic: str, events: Sequence[Mapping[str, Any]]) -> None:
    with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=20) as producer:
        for number, value in enumerate(events):
            producer.send(topic, json.dumps(value).encode(), partition=number % 4)
        producer.flush()


def with_webhooks(config_text: str, url: str) -> str:
    """
    The shipped routing with a webhook behind every receiver, told apart by its path.

    Groups wait as shipped, because inhibition needs the alerts of one rollout to meet; only what follows is faster.
    """
    config = yaml.safe_load(config_text)
    config["route"]["group_interval"] = "1s"
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{url}/{receiver['name']}", "send_resolved": False}]
    return yaml.safe_dump(config)


def told(webhook: WebhookReceiver) -> dict[str, frozenset[tuple[str, str, str]]]:
    """Receiver, alert and capability class of what has arrived, by service."""
    arrived = [
        (
            alert["labels"].get("service", ""),
            (path[1:], alert["labels"]["alertname"], alert["labels"].get("capability", "")),
        )
        for path, payload in list(webhook.received)
        for alert in payload["alerts"]
    ]
    return {service: frozenset(what for named, what in arrived if named == service) for service, _ in arrived}


def test_each_story_tells_the_right_people_and_nobody_else(
    kafka: KafkaServer,
    prometheus: Callable[..., PrometheusServer],
    alertmanager: Callable[[str], AlertmanagerServer],
    webhook: WebhookReceiver,
) -> None:
    """A cliff and a regression reach who knows them, by the shipped routes; a mix shift and a null reach nobody."""
    dice = random.Random(20261007)
    cutover = datetime.now(UTC) - timedelta(days=3, hours=2)
    past = list(history(dice, cutover - timedelta(days=4)))
    live = sorted(
        (each for story in STORIES for each in rollout(dice, story, cutover)), key=lambda each: each["started_at"]
    )
    floors = [floor for story in STORIES for floor in story.floors]
    topic = kafka.new_topic(partitions=4)
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    pager = alertmanager(with_webhooks((RULES / "alertmanager.yml").read_text(), webhook.url))

    with MonitorProcess(settings, rollout={"floors": floors}, service=PATIENT) as monitor:
        scraper = prometheus(
            targets=[monitor.address], rule_files=[RULES / "cliffwatch.rules.yml"], alertmanagers=[pager.address]
        )
        produce(kafka, topic, past)
        wait_until(lambda: monitor.total(READ) == len(past), 120, "the history is read")
        produce(kafka, topic, live)
        wait_until(lambda: monitor.total(READ) == len(past) + len(live), 120, "everything is read")
        wait_until(lambda: verdicts(monitor) == {story.service: story.verdict for story in STORIES}, what="all judged")
        judged_at = time.time()
        rule_waits, group_waits, margin = 30, 30, 10
        wait_until(
            lambda: evaluated_at(scraper) > judged_at + rule_waits + group_waits + margin,
            180,
            "everyone had their time",
        )

        assert {story.service: story.verdict for story in STORIES} == verdicts(monitor)
        component = "cliffwatch_rollout_hard_share_change_component"
        assert monitor.total(component, service="mix-shift", component="traffic_mix") > 0.05, "no story: no mix shift"
        inhibited = {alert["labels"]["service"] for alert in pager.alerts() if alert["status"]["inhibitedBy"]}

    assert {story.service: story.told for story in STORIES} == told(webhook)
    assert {"cliff", "regression"} == inhibited


READ = "cliffwatch_records_consumed_total"


def verdicts(monitor: MonitorProcess) -> dict[str, str]:
    """The verdict on each service."""
    name = "cliffwatch_rollout_verdict"
    labels = [dict(pairs) for (found, pairs), value in monitor.samples(name).items() if found == name and value == 1]
    return {each["service"]: each["verdict"] for each in labels}


def evaluated_at(prometheus: PrometheusServer) -> float:
    """Unix seconds when the alerts about rollouts were last evaluated, all of them."""
    (group,) = (
        group for group in prometheus.get("/api/v1/rules")["data"]["groups"] if group["name"] == "cliffwatch-rollout"
    )
    alerts = [rule for rule in group["rules"] if rule["type"] == "alerting"]
    return min(datetime.fromisoformat(rule["lastEvaluation"]).timestamp() for rule in alerts)
