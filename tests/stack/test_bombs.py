"""What a small record may unfold to takes no memory, and what is behind it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.slow]

MOST_MEMORY_KIB = 512 * 1024
BOMB_BYTES = {"gzip": 600_000_000, "snappy": 20_000_000, "lz4": 200_000_000, "zstd": 1_000_000_000}
"""As much as each codec folds into what a broker takes."""

SMALL_BOMB_BYTES = 15_000_000  # within the bound of a batch, above that of a record
SMALL_BOMBS = 10


def an_event(number: int) -> bytes:
    return json.dumps(
        {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"honest-{number}",
            "service": "shop",
            "model_version": "m-1",
            "started_at": "2026-11-28T12:00:00Z",
            "outcome": {"success": True},
        }
    ).encode()


def a_producer(kafka: KafkaServer, codec: str) -> KafkaProducer:
    return KafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, compression_type=codec, max_request_size=2_100_000_000, batch_size=1
    )


def peak_kib(monitor: MonitorProcess) -> int:
    assert monitor.process is not None
    status = Path(f"/proc/{monitor.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_bombs_of_every_codec_are_dead_letters(kafka: KafkaServer) -> None:
    """A gigabyte in 30 kB, and forty batches within their bound, leave the monitor within 512 MiB."""
    topic = kafka.new_topic(partitions=2)
    sent = 0
    for codec, bomb_bytes in BOMB_BYTES.items():
        producer = a_producer(kafka, codec)
        for value in (an_event(sent), b"0" * bomb_bytes, an_event(sent + 1)):
            producer.send(topic, value, partition=0).get(timeout=120)
        for _ in range(SMALL_BOMBS):
            producer.send(topic, b"0" * SMALL_BOMB_BYTES, partition=0).get(timeout=120)
        sent += 2
        producer.close()

    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    with MonitorProcess(settings) as monitor:
        letters = (1 + SMALL_BOMBS) * len(BOMB_BYTES)
        wait_until(lambda: monitor.total("cliffwatch_records_consumed_total") == sent + letters, 120, "all is read")

        assert sent == monitor.total("cliffwatch_requests_total")
        assert letters == monitor.total("cliffwatch_dead_letters_total", reason="too_large")
        print(f"peak {peak_kib(monitor)} KiB")  # noqa: T201
        assert peak_kib(monitor) < MOST_MEMORY_KIB
