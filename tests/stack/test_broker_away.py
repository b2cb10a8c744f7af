"""A broker that is away is told, and found again."""

from __future__ import annotations

import pytest

from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, ask, wait_until
from tests.stack.test_bombs import a_producer, an_event

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def test_a_broker_that_is_away_is_reported_by_every_probe() -> None:
    """Readiness, health, pauses and the log say so within seconds, and all is well when it is back."""
    with KafkaServer() as kafka:
        topic = kafka.new_topic()
        kafka_settings = {
            "bootstrap_servers": kafka.bootstrap_servers,
            "topics": [topic],
            "group_id": topic,
            "request_timeout_seconds": 2.0,
        }
        service = {"poll_timeout_seconds": 0.2, "unready_seconds": 2.0, "max_retry_seconds": 1.0}
        with MonitorProcess(kafka_settings, service=service) as monitor:
            wait_until(lambda: monitor.total("cliffwatch_health", check="kafka") == 1.0, what="the broker answers")
            kafka.kill()
            wait_until(lambda: ask(f"{monitor.url}/-/ready").status_code == 503, what="readiness fails")
            wait_until(lambda: monitor.total("cliffwatch_health", check="kafka") == 0.0, what="health tells it")
            said = ask(f"{monitor.url}/-/ready").text
            pauses = monitor.total("cliffwatch_pauses_total")
            kafka.start()
            producer = a_producer(kafka, "gzip")
            producer.send(topic, an_event(1)).get(timeout=60)
            producer.close()
            wait_until(lambda: monitor.total("cliffwatch_requests_total") == 1.0, what="reading goes on")
            wait_until(lambda: monitor.total("cliffwatch_health", check="kafka") == 1.0, what="all is well")

            assert "No Kafka broker answers" in said
            assert pauses >= 1
            assert monitor.log().count("event=service.paused") <= 3
