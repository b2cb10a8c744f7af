"""
A real OpenTelemetry Collector, OTLP in and the Kafka exporter out, in front of `cliffwatch run`: counts are exact.

`make test-collector` builds it and sends 10,000 runs each way; without that there is nothing to test here.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from examples.support_agent.export import otlp_json
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, Server, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).parents[2] / ".servers" / "collector" / "otelcol"
RUNS = int(os.environ.get("CLIFFWATCH_COLLECTOR_RUNS", "300"))
SPANS, SPANS_A_REQUEST, PARTITIONS = 8, 400, 4
FAILS_EVERY = 5
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.response.model": "m-1"}
USAGE = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book"}
AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "booker"}
ROLES: Sequence[tuple[str, dict[str, Any]]] = (
    ("POST /ask", {"http.request.method": "POST"}),
    ("invoke_agent booker", AGENT),
    ("embeddings e", {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e"}),
    ("chat m", CHAT | USAGE),
    ("execute_tool book", TOOL),
    ("chat m", CHAT | USAGE),
    ("execute_tool book", TOOL),
    ("chat m", CHAT | USAGE),
)
"""The spans of a run: one of the application, the agent under it, and what the agent does."""


class Collector(Server):
    """The Collector, with one way in and out: *exporter* is what its Kafka exporter is told."""

    def __init__(self, exporter: dict[str, Any]) -> None:
        super().__init__()
        self._exporter = exporter

    def prepare(self) -> None:
        config = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": self.address}}}},
            "processors": {"batch": {"timeout": "200ms", "send_batch_size": 500, "send_batch_max_size": 500}},
            "exporters": {"kafka": self._exporter},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["kafka"]}},
            },
        }
        (self.directory / "config.yaml").write_text(yaml.safe_dump(config))

    def command(self) -> Sequence[str]:
        return [str(PROGRAM), "--config", str(self.directory / "config.yaml")]


def spans_of(run: int, started_ns: int) -> Iterator[Span]:
    """The spans of one run, each inside the one before it that it belongs to; every fifth run fails."""
    trace_id = (run + 1).to_bytes(16, "big")
    for place, (name, attributes) in enumerate(ROLES):
        outer = 2 - min(place, 2)
        span = Span(
            trace_id=trace_id,
            span_id=(place + 1).to_bytes(8, "big"),
            parent_span_id=b"" if place == 0 else min(place, 2).to_bytes(8, "big"),
            name=name,
            start_time_unix_nano=started_ns + place * 10**6,
            end_time_unix_nano=started_ns + (place + 1) * 10**6 + outer * 10**7,
        )
        for key, value in attributes.items():
            pair = span.attributes.add(key=key)
            setattr(pair.value, "int_value" if isinstance(value, int) else "string_value", value)
        if outer == 1 and run % FAILS_EVERY == 0:
            span.status.code = 2
        yield span


def requests() -> Iterator[ExportTraceServiceRequest]:
    """Exports of the spans of many runs: a hundred go on at a time, so that hardly a trace is in one of them."""
    started_ns, dice = time.time_ns() - 60 * 10**9, random.Random(7)
    at_a_time = [range(first, min(first + 100, RUNS)) for first in range(0, RUNS, 100)]
    spans: list[Span] = []
    for runs in at_a_time:
        together = [span for run in runs for span in spans_of(run, started_ns)]
        dice.shuffle(together)
        spans += together
    for first in range(0, len(spans), SPANS_A_REQUEST):
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "booking"
        resource.scope_spans.add().spans.extend(spans[first : first + SPANS_A_REQUEST])
        yield request


def send(collector: Collector) -> None:
    """Post each export, one in protobuf and the next in JSON."""
    with httpx.Client(base_url=f"http://{collector.address}", timeout=60) as client:
        for number, request in enumerate(requests()):
            is_json = number % 2 == 1
            content = json.dumps(otlp_json(request)).encode() if is_json else request.SerializeToString()
            kind = "application/json" if is_json else "application/x-protobuf"
            client.post("/v1/traces", content=content, headers={"Content-Type": kind}).raise_for_status()


@pytest.mark.skipif(not PROGRAM.exists(), reason="the Collector is not built: make test-collector")
@pytest.mark.parametrize("by_trace", [True, False], ids=["by trace", "any partition"])
@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_every_run_behind_a_collector_counts_once(kafka: KafkaServer, encoding: str, by_trace: bool) -> None:  # noqa: FBT001
    """Runs, failures, spans, tool calls and tokens are those that were sent, however the exporter writes them."""
    topic = kafka.new_topic(partitions=PARTITIONS)
    exporter = {
        "brokers": [kafka.bootstrap_servers],
        "traces": {"topic": topic, "encoding": encoding},
        "partition_traces_by_id": by_trace,
        "producer": {"compression": "zstd"},
    }
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    assembly = {"assembly": {"quiet_seconds": 8.0}}
    with MonitorProcess(settings, traces=assembly) as monitor, Collector(exporter) as collector:
        send(collector)
        wait_until(lambda: monitor.total("cliffwatch_requests_total") == RUNS, 600, "all runs are counted")

        outcomes = monitor.by_label("cliffwatch_outcomes_total", "outcome")
        assert {"failure": RUNS / FAILS_EVERY, "success": RUNS - RUNS / FAILS_EVERY} == outcomes
        assert {"m-1": RUNS} == monitor.by_label("cliffwatch_requests_total", "model_version")
        spans = monitor.by_label("cliffwatch_spans_total", "state")
        assert (RUNS * SPANS, RUNS * SPANS) == (spans["received"], spans["joined"])
        assert RUNS * 2 == monitor.total("cliffwatch_tool_calls_total")
        tokens = monitor.by_label("cliffwatch_request_tokens_total", "direction")
        assert {"input": RUNS * 300, "output": RUNS * 60} == tokens
        assert 0 == monitor.total("cliffwatch_dead_letters_total")
