"""
Takes a picture of every dashboard: `python -m grafana.preview` writes docs/images/dashboards/*.png.

A real rollout is replayed into four weeks of samples, which a real Prometheus holds together with what the shipped
rules make of them. Beside it `cliffwatch run` reads the same events from a real Kafka and is scraped as usual.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaProducer

from grafana.preview import past
from grafana.preview.remote_write import push
from monitor.config.model import Config
from monitor.log import LogLevel, LogSettings, configure
from monitor.rollout.policy import Floor, Policy
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, PrometheusServer, find_program, wait_until

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[1]
_RULES = _REPOSITORY / "rules" / "cliffwatch.rules.yml"
_PICTURES = _REPOSITORY / "docs" / "images" / "dashboards"
_JOB = "cliffwatch"
_FLOOR = Floor(service="booking-agent", pass_rate=0.25, agreed_by="booking team", agreed_on="2026-09-30")
_POLICY = Policy(floors=(_FLOOR,), min_labelled_requests=50)  # a small service: some 80 hard requests a week
_HELD_BACK = 600
_PAUSE_SECONDS = 0.5
_LIVE_MINUTES = 3
_ROLLOUT = {
    "service": "booking-agent",
    "environment": "production",
    "baseline": "gpt-3.5-turbo-0125",
    "candidate": "gpt-4-0125-preview",
    "capability": "parallel_multiple_function",
}
_RANGES = {
    "rollout": "now-16d",
    "canary": "now-16d",
    "hard-tier": "now-30d",
    "frontier": "now-30d",
    "on-call": "now-16d",
    "monitor": "now-4m",
}


class LongMemory(PrometheusServer):
    """Prometheus that takes samples of the past, keeps them in memory, and knows that they are an hour apart."""

    def command(self) -> Sequence[str]:
        return [
            *super().command(),
            "--web.enable-remote-write-receiver",
            "--storage.tsdb.min-block-duration=90d",  # half of it is how old a sample of a new series may be
            "--storage.tsdb.max-block-duration=90d",
            "--storage.tsdb.retention.time=90d",
            "--query.lookback-delta=90m",
        ]


def main() -> None:
    """Fill Prometheus, start what is alive, draw."""
    configure(LogSettings(level=LogLevel.ERROR))
    _PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dashboard-preview-") as folder:
        lines = Path(folder) / "events.jsonl"
        ends_at = past.now() - timedelta(hours=2)
        past.write_lines(lines, past.events(ends_at))
        with LongMemory(config_text="{}") as prometheus, _live(lines) as (monitor, trickle):
            _remember(prometheus, lines)
            prometheus.reload(_scraping(monitor.address, Path(folder)))
            with trickle():
                wait_until(lambda: prometheus.alerts("firing"), 120, "the rollout is alerted on")
                wait_until(
                    lambda: _minutes_scraped(prometheus) >= _LIVE_MINUTES, 300, "there is something to see of now"
                )
                _draw(prometheus.url, Path(folder))


def _remember(prometheus: PrometheusServer, lines: Path) -> None:
    """Give *prometheus* the past, and what the shipped rules would have recorded of it."""
    until = past.now().timestamp()
    until -= until % past.HOUR
    scraped = past.replayed(Config(rollout=_POLICY), lines, until=until, labels={"job": _JOB})
    count = push(prometheus.url, scraped.series())
    first = min(samples[0][0] for samples in scraped.samples.values())
    for level in past.rules_by_level(_RULES):
        for rule in level:
            if rule.get("labels", {}).get("signature", "").startswith("monitor-"):
                continue  # the replay is no picture of how the monitor fares
            parameters = {"query": rule["expr"], "start": str(first), "end": str(until), "step": str(past.HOUR)}
            result = prometheus.get("/api/v1/query_range", **parameters)["data"]["result"]
            count += push(prometheus.url, past.recorded(rule, result))
    _say(f"{count:,} samples of the past")


@contextmanager
def _live(lines: Path) -> Iterator[tuple[MonitorProcess, Callable[[], Any]]]:
    """The monitor on a real Kafka, which has read all but the last events; these come while the trickle runs."""
    values = [line.encode() for line in lines.read_text().splitlines()]
    history = [value for value in values if b'"environment": "reference"' in value]
    production = values[len(history) : -_HELD_BACK]
    with KafkaServer() as kafka:
        topic = "agent-traces"
        kafka.create_topic(topic, partitions=4)
        settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic]}
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=20)

        def produce(batch: Sequence[bytes]) -> None:
            for number, value in enumerate(batch):
                producer.send(topic, value, partition=number % 4)
            producer.flush()

        def has_read(count: int) -> Callable[[], bool]:
            return lambda: monitor.total("cliffwatch_records_consumed_total") >= count

        with MonitorProcess(settings, rollout=_written(_POLICY)) as monitor:
            produce(history)
            wait_until(has_read(len(history)), 240, "the history is read")
            produce(production)
            wait_until(has_read(len(history) + len(production)), 240, "everything is read")
            yield monitor, lambda: _trickling(values[-_HELD_BACK:], produce)
        producer.close()


@contextmanager
def _trickling(values: Sequence[bytes], produce: Callable[[Sequence[bytes]], None]) -> Iterator[None]:
    """Keep producing *values*, and now and then a record that says nothing."""
    is_over = threading.Event()

    def trickle() -> None:
        for number, value in enumerate(values):
            if is_over.wait(_PAUSE_SECONDS):
                return
            produce([value, b"{not json"] if number % 40 == 0 else [value])

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _scraping(target: str, folder: Path) -> str:
    rules = folder / "fast.rules.yml"
    rules.write_text(re.sub(r"^    interval: .*\n", "", _RULES.read_text(), flags=re.MULTILINE))
    relabel = [{"target_label": "instance", "replacement": "live"}]
    scrape = {"job_name": _JOB, "static_configs": [{"targets": [target]}], "relabel_configs": relabel}
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "5s"},
            "rule_files": [str(rules)],
            "scrape_configs": [scrape],
        }
    )


def _written(policy: Policy) -> Mapping[str, Any]:
    """*policy* as a config file says it."""
    return policy.model_dump(mode="json")


def _minutes_scraped(prometheus: PrometheusServer) -> float:
    found = prometheus.query("(time() - min_over_time(timestamp(up)[10m:5s])) / 60")
    return found[0][1] if found else 0.0


def _draw(url: str, folder: Path) -> None:
    pictures = [_picture(name, since) for name, since in _RANGES.items()]
    (folder / "pictures.json").write_text(json.dumps(pictures))
    npm, node = find_program("npm"), find_program("node")
    if not (_HERE / "node_modules").is_dir():
        _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    _run(npm, "run", "build")
    _run(node, "pictures.mjs", url, str(folder / "pictures.json"), str(_PICTURES))
    for name in _RANGES:
        _say(f"{name}.png: {(_PICTURES / f'{name}.png').stat().st_size / 1000:.0f} kB")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=_HERE)  # noqa: S603  (our own arguments)


def _picture(dashboard: str, since: str) -> Mapping[str, Any]:
    is_live = dashboard == "monitor"
    variables = {**_ROLLOUT, "capability": ".*", "unit": "seconds"} if dashboard == "frontier" else _ROLLOUT
    scrape_seconds = 5 if is_live else past.HOUR
    # What was scraped for minutes only, a rate over hours would stretch.
    until = "now-1h" if dashboard == "hard-tier" else "now"
    return {"dashboard": dashboard, "from": since, "to": until, "scrape": scrape_seconds, "variables": variables}


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201  (a command)


if __name__ == "__main__":
    main()
