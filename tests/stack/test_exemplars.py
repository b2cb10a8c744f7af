"""From a point of a graph to the trace behind it: a real Prometheus keeps the exemplars of failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from kafka import KafkaProducer

from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, PrometheusServer, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_the_trace_of_a_failure_is_read_back_from_prometheus(
    kafka: KafkaServer, prometheus: Callable[..., PrometheusServer]
) -> None:
    """The counter of failures of the failed run's version and class carries its trace id; successes carry none."""
    topic, started = kafka.new_topic(partitions=1), time.time()
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    failed, passed = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b700f067aa0ba902b7"
    with MonitorProcess(settings) as monitor:
        scraper = prometheus(targets=[monitor.address])
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
        for trace_id, success in ((passed, True), (failed, False)):
            event = {
                "schema": "cliffwatch.trace/v1",
                "trace_id": trace_id,
                "service": "shop",
                "model_version": "model-1",
                "started_at": "2026-11-23T05:00:00Z",
                "capability": "refund",
                "outcome": {"success": success},
            }
            producer.send(topic, json.dumps(event).encode())
        producer.close()

        found = wait_until(
            lambda: scraper.exemplars("cliffwatch_outcomes_total", since=started - 60),
            what="Prometheus has an exemplar",
        )

    ((series, exemplars),) = found
    assert [{"trace_id": failed}] == exemplars
    assert ("refund", "failure") == (series["capability"], series["outcome"])
