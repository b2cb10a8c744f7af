"""Spans through a real Kafka, as Collectors send them: any encoding, any codec, any partition, two replicas."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest
from kafka import KafkaProducer
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Tracer

from monitor.trace.semconv import EVALUATION_EVENT
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, PostgresServer, wait_until
from tests.trace.otlp import as_json, as_protobuf, otlp_json, recorded

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

TRACES, PARTITIONS, CODECS = 240, 4, ("gzip", "snappy", "lz4", "zstd")


def play(tracer: Tracer) -> None:
    """An agent with two model calls and a tool call: four spans."""
    with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent"}):
        call = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "m-1", "gen_ai.usage.output_tokens": 10}
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book"}
        for attributes in (call, tool, call):
            tracer.start_span("work", attributes=attributes).end()


def failed(trace_id: int) -> ExportLogsServiceRequest:
    """An evaluation in a log, as a judge sends it later."""
    request = ExportLogsServiceRequest()
    log = (
        request.resource_logs.add()
        .scope_logs.add()
        .log_records.add(
            time_unix_nano=1_795_410_120 * 10**9, event_name=EVALUATION_EVENT, trace_id=trace_id.to_bytes(16, "big")
        )
    )
    log.attributes.add(key="gen_ai.evaluation.score.label").value.string_value = "fail"
    return request


def a_stream(dice: random.Random) -> Sequence[bytes]:
    """Records of a few spans of any traces, some twice, and a verdict on every third trace; in no order."""
    runs = [recorded(play) for _ in range(TRACES)]
    spans: list[ReadableSpan] = [span for run in runs for span in run]
    spans += dice.sample(spans, TRACES // 2)
    dice.shuffle(spans)
    records: list[bytes] = []
    while spans:
        size = dice.randint(1, 3)
        some, spans = spans[:size], spans[size:]
        records.append(as_protobuf(some) if dice.random() < 0.5 else json.dumps(as_json(some)).encode())
    verdicts = [failed(run[0].context.trace_id) for run in runs[::3]]
    records += [v.SerializeToString() if n % 2 else json.dumps(otlp_json(v)).encode() for n, v in enumerate(verdicts)]
    dice.shuffle(records)
    return records


def produce(kafka: KafkaServer, topic: str, records: Sequence[bytes]) -> None:
    """Write *records* to any partition, each codec of Kafka in turn."""
    for codec in CODECS:
        producer = KafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, acks="all", compression_type=codec, linger_ms=20
        )
        for number, record in enumerate(records[CODECS.index(codec) :: len(CODECS)]):
            producer.send(topic, record, partition=number % PARTITIONS)
        producer.flush()
        producer.close()


def test_spans_of_any_encoding_codec_and_partition_are_counted_once(
    kafka: KafkaServer, postgres: PostgresServer
) -> None:
    """Two replicas put every trace together though its spans are in several partitions, and each counts once."""
    topic = kafka.new_topic(partitions=PARTITIONS)
    records = a_stream(random.Random(20261123))
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    sections = {"ledger": {"url": postgres.new_database()}, "traces": {"assembly": {"quiet_seconds": 6.0}}}

    with MonitorProcess(settings, **sections) as first, MonitorProcess(settings, **sections) as second:
        produce(kafka, topic, records)
        for monitor in (first, second):
            wait_until(
                lambda monitor=monitor: (
                    monitor.total("cliffwatch_requests_total") == TRACES
                    and monitor.samples()["cliffwatch_spans_waiting", ()] == 0
                ),
                what="every trace is complete",
            )
        shown = [
            {
                "records": monitor.total("cliffwatch_records_consumed_total"),
                "dead letters": monitor.total("cliffwatch_dead_letters_total"),
                "steps": monitor.total("cliffwatch_request_steps_sum"),
                "tool calls": monitor.total("cliffwatch_tool_calls_total"),
                "tokens": monitor.total("cliffwatch_request_tokens_total", direction="output"),
                "failures": monitor.total("cliffwatch_failures_by_class_total"),
                **monitor.by_label("cliffwatch_spans_total", "state"),
            }
            for monitor in (first, second)
        ]

    spans = 4 * TRACES + TRACES // 2
    assert shown[0] == shown[1]
    assert shown[0] == {
        "records": len(records),
        "dead letters": 0,
        "steps": 2 * TRACES,
        "tool calls": TRACES,
        "tokens": 20 * TRACES,
        "failures": TRACES / 3,
        "received": spans,
        "joined": 4 * TRACES,
        "duplicate": TRACES // 2,
    }
