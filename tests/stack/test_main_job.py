"""The main job, for real: Kafka in, Prometheus scrapes, Alertmanager gets the alert."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer

from monitor.demo.events import demo_events
from tests.stack.monitor_process import PATIENT, MonitorProcess
from tests.stack.servers import (
    AlertmanagerServer,
    KafkaServer,
    PrometheusServer,
    WebhookReceiver,
    wait_until,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

RULES = Path(__file__).resolve().parents[2] / "rules" / "cliffwatch.rules.yml"
_TRACE_ID = re.compile(rb'"trace_id": "[^"]*"')
CLIFF, NULL = "booking-agent", "billing-agent"


def produce(kafka: KafkaServer, topic: str, values: Iterable[bytes]) -> int:
    """Write *values* to the four partitions of *topic*, each trace to its own; how many there were."""
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers,
        acks="all",
        linger_ms=20,
        max_request_size=32 * 1024 * 1024,
    )
    number = -1
    for number, value in enumerate(values):
        trace = _TRACE_ID.search(value)
        producer.send(topic, value, partition=zlib.crc32(trace[0]) % 4 if trace else number % 4)
    producer.flush()
    producer.close()
    return number + 1


def evaluated_at(prometheus: PrometheusServer) -> float:
    """Unix seconds when the alerts about rollouts were last evaluated, all of them."""
    groups = prometheus.get("/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"] if rule["name"] in ROLLOUT_ALERTS]
    return min(datetime.fromisoformat(rule["lastEvaluation"]).timestamp() for rule in rules)


def encoded(events: Iterable[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def test_a_cliff_reaches_alertmanager_and_a_null_rollout_does_not(
    kafka: KafkaServer,
    prometheus: Callable[..., PrometheusServer],
    alertmanager: Callable[[str], AlertmanagerServer],
    webhook: WebhookReceiver,
) -> None:
    """A real rollout goes from the topic to the pager, with versions and cause; a version against itself does not."""
    topic = kafka.new_topic(partitions=4)
    told = {"history", CLIFF, NULL}
    events = [
        event for event in demo_events(ends_at=datetime.now(UTC) - timedelta(hours=2)) if event["service"] in told
    ]
    history = encoded(event for event in events if event["environment"] == "reference")
    live = encoded(event for event in events if event["environment"] == "production")
    pager = alertmanager(
        "route: {receiver: pager, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
        f"receivers: [{{name: pager, webhook_configs: [{{url: '{webhook.url}'}}]}}]\n"
    )
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    with MonitorProcess(settings, service=PATIENT) as monitor:
        scraper = prometheus(targets=[monitor.address], rule_files=[RULES], alertmanagers=[pager.address])
        produce(kafka, topic, history)
        read = "cliffwatch_records_consumed_total"
        wait_until(lambda: monitor.total(read) == len(history), 120, "the history is read")
        produce(kafka, topic, live)

        wait_until(lambda: monitor.total(read) == len(events), 120, "everything is read")
        verdicts = "cliffwatch_rollout_verdict"
        wait_until(lambda: monitor.total(verdicts, service=CLIFF, verdict="cliff") == 1, what="the cliff is found")
        # 675 requests a side cannot rule out 3 points, and nothing else is claimed.
        wait_until(lambda: monitor.total(verdicts, service=NULL, verdict="waiting") == 1, what="the null is judged")
        wait_until(lambda: monitor.judged()[NULL] == 675, what="the null is judged by all of it")
        judged_at = time.time()
        alert = wait_until(
            lambda: next((a for a in webhook.alerts() if a["labels"]["alertname"] == "HardTierFailureShareJump"), None),
            240,
            "Alertmanager tells of the share jump",
        )
        longer_than_any_rule_waits = 45
        wait_until(
            lambda: evaluated_at(scraper) > judged_at + longer_than_any_rule_waits, 120, "every rule had its time"
        )

    labels = alert["labels"]
    assert {
        "service": CLIFF,
        "environment": "production",
        "baseline": "gpt-3.5-turbo-0125",
        "candidate": "gpt-4-0125-preview",
        "severity": "warning",
    }.items() <= labels.items()
    assert "easier requests fail less" in alert["annotations"]["description"]
    about_rollouts = [a["labels"] for a in webhook.alerts() if a["labels"]["alertname"] in ROLLOUT_ALERTS]
    services = {labels["service"] for labels in about_rollouts}
    assert CLIFF in services
    assert NULL not in services


ROLLOUT_ALERTS = {
    "CapabilityCliff",
    "HardTierFailureShareJump",
    "HardTierFloorBreached",
    "HardTierRegression",
    "CandidateRegression",
    "CapabilityClassRegression",
}


def a_stream(length: int) -> list[bytes]:
    """
    Traces of two versions, with duplicates, late and early outcomes, revisions and records that say nothing.

    What belongs to one trace goes to one partition. Across partitions, which of two verdicts comes first is chance,
    and with it whether the second is counted as a revision; only the outcome that stands is the same.
    """
    dice = random.Random(20261123)
    start = datetime.now(UTC) - timedelta(days=1)
    values: list[bytes] = []
    for number in range(length):
        event = {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"trace-{number}",
            "service": "shop",
            "model_version": "model-2" if number > length / 2 else "model-1",
            "capability": dice.choice(["search", "book", "pay"]),
            "started_at": (start + timedelta(seconds=number)).isoformat(),
            "ended_at": (start + timedelta(seconds=number + dice.random() * 20)).isoformat(),
            "usage": {"input_tokens": dice.randrange(2_000), "cost_usd": dice.random() / 100},
            "tool_calls": dice.randrange(6),
        }
        if dice.random() < 0.7:
            event["outcome"] = {"success": dice.random() < 0.8, "failure_class": "timeout", "source": "judge"}
        values.append(json.dumps(event).encode())
        if dice.random() < 0.3:
            late = (start + timedelta(days=0.5, seconds=number)).isoformat()
            outcome = {"success": dice.random() < 0.5, "source": "human", "labelled_at": late}
            about = dice.randrange(number + 20)  # some come before their trace
            document = {"schema": "cliffwatch.outcome/v1", "trace_id": f"trace-{about}", "outcome": outcome}
            values.append(json.dumps(document).encode())
        if dice.random() < 0.05:
            values.append(dice.choice(values))
        if dice.random() < 0.02:
            values.append(b"{not json")
    return values


def test_ten_kills_leave_the_counts_as_if_nothing_had_happened(kafka: KafkaServer) -> None:
    """Killed ten times in the middle of a stream, the monitor shows exactly what an undisturbed run shows."""
    topic = kafka.new_topic(partitions=4)
    length = produce(kafka, topic, a_stream(12_000))

    def settings(group: str) -> dict[str, Any]:
        return {
            "bootstrap_servers": kafka.bootstrap_servers,
            "topics": [topic],
            "group_id": f"{topic}-{group}",
            "max_poll_records": 40,  # on a busy machine, many batches are recorded before a kill
            "session_timeout_seconds": 2.0,
        }

    def offsets(ledger: Path) -> int:
        try:
            with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
                return connection.execute("SELECT coalesce(sum(next_offset), 0) FROM kafka_offset").fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # not made yet

    def moved_past(before: int) -> bool:
        return offsets(ledger) > before

    def totals(monitor: MonitorProcess) -> dict[Any, float]:
        wait_until(lambda: monitor.total("cliffwatch_records_consumed_total") == length, 120, "everything is read")
        return {key: value for key, value in monitor.samples().items() if key[0].endswith(("_total", "_bucket"))}

    kills = 0
    with MonitorProcess(settings("killed")) as monitor:
        ledger = monitor.directory / "ledger.db"
        for _ in range(10):
            before = offsets(ledger)
            wait_until(partial(moved_past, before), what="another batch is recorded", interval_seconds=0.002)
            assert offsets(ledger) < length, "the stream was over before the last kill"
            monitor.kill()
            kills += 1
            monitor.start(wait=False)
        disturbed = totals(monitor)
    with MonitorProcess(settings("undisturbed")) as monitor:
        undisturbed = totals(monitor)

    assert 10 == kills
    assert undisturbed == disturbed
    assert sum(value for (name, _), value in disturbed.items() if name == "cliffwatch_requests_total") == 12_000


def test_bad_input_is_counted_by_reason_and_kept_while_the_rest_goes_on(kafka: KafkaServer) -> None:
    """Every kind of nonsense has its reason and its dead letter; good records around it are counted."""
    topic = kafka.new_topic(partitions=4, config={"max.message.bytes": str(30 * 1024 * 1024)})
    good = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": "good",
        "service": "shop",
        "model_version": "model-1",
        "started_at": "2026-11-01T00:00:00Z",
    }
    bad = {
        "not_json": [b"{", b"\xff\xfe\x00"],
        "field_invalid": [json.dumps(good | {"tool_calls": "many"}).encode()],
        "field_missing": [json.dumps({k: v for k, v in good.items() if k != "trace_id"}).encode()],
        "too_large": [json.dumps(good | {"padding": "x" * 20 * 1024 * 1024}).encode()],
        "not_finite": [json.dumps(good | {"usage": {"cost_usd": float("nan")}}).encode()],
        "too_deep": [b"[" * 100_000],
        "label_invalid": [json.dumps(good | {"model_version": 'x"} 1\nevil{a="'}).encode()],
        "schema_unknown": [b'{"schema": "something/v9"}'],
    }
    values = [value for group in bad.values() for value in group]
    values = [json.dumps(good | {"trace_id": "first"}).encode(), *values, json.dumps(good).encode()]
    length = produce(kafka, topic, values)
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}

    with MonitorProcess(settings) as monitor:
        wait_until(lambda: monitor.total("cliffwatch_records_consumed_total") == length, what="everything is read")
        counted = monitor.by_label("cliffwatch_dead_letters_total", "reason")
        reasons = {reason: count for reason, count in counted.items() if count}
        requests = monitor.total("cliffwatch_requests_total")
        assert "evil" not in str(monitor.samples())
        assert monitor.is_ready()

    assert {reason: len(group) for reason, group in bad.items()} == reasons
    assert requests == 2
    consumer = KafkaConsumer(
        f"{topic}.{topic}.dlq",
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5_000,
    )
    letters = [dict(letter.headers) for letter in consumer]
    consumer.close()
    kept = Counter(letter["cliffwatch.reason"].decode() for letter in letters)
    assert reasons == kept
