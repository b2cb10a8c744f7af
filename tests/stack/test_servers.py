from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer

from tests.stack.servers import (
    AlertmanagerServer,
    KafkaServer,
    PostgresServer,
    PrometheusServer,
    WebhookReceiver,
    wait_until,
)

pytestmark = pytest.mark.stack


def test_kafka_keeps_its_records_over_a_kill(kafka: KafkaServer) -> None:
    """A record that was acknowledged is read after the broker was killed and started again."""
    topic = kafka.new_topic()
    with KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all") as producer:
        producer.send(topic, b"kept").get(timeout=30)

    kafka.kill()
    kafka.start()
    with KafkaConsumer(topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest") as consumer:
        record = next(consumer)

    assert b"kept" == record.value


def test_postgres_keeps_its_rows_over_a_kill(postgres: PostgresServer) -> None:
    """A committed row is there after the server was killed and started again on the same port."""
    url = postgres.new_database().replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")

    postgres.kill()
    postgres.start()
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT number FROM kept").fetchone()

    assert (7,) == row


def test_an_alert_reaches_the_webhook(
    prometheus: Callable[..., PrometheusServer],
    alertmanager: Callable[[str], AlertmanagerServer],
    webhook: WebhookReceiver,
    tmp_path: Path,
) -> None:
    """A rule that is always true travels from Prometheus over Alertmanager to the webhook receiver."""
    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: Always, expr: vector(1), labels: {team: sre}}]}]")
    receiver = alertmanager(
        "route: {receiver: hook, group_wait: 0s}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: '{webhook.url}/sre'}}]}}]\n"
    )

    server = prometheus(rule_files=[rules], alertmanagers=[receiver.address], interval="1s")
    wait_until(webhook.alerts, what="the alert arrives")

    assert [({}, 1.0)] == server.query("vector(1)")
    assert ["Always"] == [alert["labels"]["alertname"] for alert in server.alerts()]
    assert {"alertname": "Always", "team": "sre"} == webhook.alerts()[0]["labels"]
    assert "/sre" == webhook.received[0][0]
