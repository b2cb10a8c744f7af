"""Four weeks in which a real rollout happened: the demo's requests, spread out, replayed, and sampled once an hour."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from grafana.preview.remote_write import Series
from monitor.cli.wiring import reviewer_of
from monitor.clock import EventClock
from monitor.config.model import Config
from monitor.demo.events import demo_events
from monitor.ingest.dead_letter import NoDeadLetters
from monitor.ingest.file import FileSource
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.sql import SqlLedger
from monitor.metrics.collect import families_of
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.replay import Replay
from monitor.service.stages import Stages
from monitor.trace.model import REFERENCE_ENVIRONMENT

HOUR = 3_600
LASTING = timedelta(days=28)
"""From the first production request to the last: half of it before the cutover."""

_DEMO_LASTS = timedelta(days=6)
_DOLLARS_PER_MILLION_TOKENS = {"gpt-3.5-turbo-0125": (0.5, 1.5), "gpt-4-0125-preview": (10.0, 30.0)}
"""List prices of 2024, input and output."""

_OF_THE_MONITOR = (
    "ready",
    "health",
    "last_commit",
    "records_consumed",
    "consumer_lag",
    "dead_letters",
    "series_dropped",
)
"""Beginnings of metrics that say how the monitor itself fares, which a replay is no picture of."""

_NAME = re.compile(r"\b(?:\w+:){2}\w+|\bcliffwatch_\w+")

_Labels: TypeAlias = tuple[tuple[str, str], ...]


def events(ends_at: datetime) -> Iterator[dict[str, Any]]:
    """The demo's events with production spread over `LASTING`; the reference history comes before it."""
    stretch = LASTING / _DEMO_LASTS
    for event in demo_events(ends_at=ends_at):
        started_at = datetime.fromisoformat(event["started_at"])
        before_end = ends_at - started_at
        if event["environment"] == REFERENCE_ENVIRONMENT:
            moved_to = ends_at - before_end - (LASTING - _DEMO_LASTS)
        else:
            moved_to = ends_at - stretch * before_end
        event["started_at"] = moved_to.isoformat()
        if "ended_at" in event:
            event["ended_at"] = (datetime.fromisoformat(event["ended_at"]) + (moved_to - started_at)).isoformat()
        if event["model_version"] in _DOLLARS_PER_MILLION_TOKENS and "usage" in event:
            prices = _DOLLARS_PER_MILLION_TOKENS[event["model_version"]]
            tokens = (event["usage"]["input_tokens"], event["usage"]["output_tokens"])
            event["usage"]["cost_usd"] = sum(n * p / 1e6 for n, p in zip(tokens, prices, strict=True))
        yield event


@dataclass
class Past:
    """Series as a Prometheus would have scraped them once an hour."""

    labels: Mapping[str, str]
    samples: dict[_Labels, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def scrape(self, snapshots: SnapshotHolder, at: float) -> None:
        """Keep what a scrape would show at *at*, Unix seconds; histograms are only looked at as they are now."""
        for family in families_of(snapshots.current):
            if family.metric.name.startswith(tuple(f"cliffwatch_{name}" for name in _OF_THE_MONITOR)):
                continue
            for shape, labels, value, _ in family.rows:
                if not shape.name.endswith("_bucket"):
                    named = dict(zip(shape.labels, labels, strict=True)) | self.labels | {"__name__": shape.name}
                    self.samples[tuple(sorted(named.items()))].append((at, value))

    def series(self) -> Iterator[Series]:
        """All of them."""
        return (Series(dict(labels), samples) for labels, samples in self.samples.items())


def replayed(config: Config, lines: Path, *, until: float, labels: Mapping[str, str]) -> Past:
    """
    What was to be seen from the first production request to *until*, Unix seconds.

    Args:
        config: Policy and limits.
        lines: Every event, one JSON object per line.
        until: When the last sample is taken; after the last event, nothing changes any more.
        labels: Added to every series, as a scrape does.
    """
    first = until - until % HOUR - HOUR * (LASTING // timedelta(hours=1) + 2)
    ledger = SqlLedger(IN_MEMORY_URL)
    source = FileSource([str(lines)], ledger.offsets, batch_records=10, max_record_bytes=config.limits.max_record_bytes)
    snapshots = SnapshotHolder(Snapshot(now=first, policy=config.rollout))
    clock = EventClock()
    stages = Stages(source, NoDeadLetters(), ledger, reviewer_of(config, ledger), clock, snapshots)
    hourly = config.service.model_copy(
        update={"snapshot_interval_seconds": HOUR / 2, "review_interval_seconds": 2 * HOUR}
    )
    service = Service(stages, rules=DecodeRules(config.limits, config.traces), settings=hourly)
    past = Past(labels)
    due = first
    at_end = False
    while not at_end:
        at_end = service.run_once().at_end
        while due <= clock.time():
            past.scrape(snapshots, due)
            due += HOUR
    Replay(service).finish(seconds=config.rollout.judged_after() + 1.0)
    while due <= until:
        past.scrape(snapshots, due)
        due += HOUR
    source.close()
    ledger.close()
    return past


def rules_by_level(rule_file: Path) -> Iterator[list[dict[str, Any]]]:
    """The rules of *rule_file* in the order in which they can be evaluated: none needs what a later list records."""
    groups = yaml.safe_load(rule_file.read_text())["groups"]
    left = [rule for group in groups for rule in group["rules"]]
    while left:
        recorded_later = {rule["record"] for rule in left if "record" in rule}
        # A rule may read itself: what it recorded a moment ago.
        level = [rule for rule in left if not recorded_later & set(_NAME.findall(rule["expr"])) - {rule.get("record")}]
        yield level
        left = [rule for rule in left if rule not in level]


def recorded(rule: Mapping[str, Any], result: Iterable[Mapping[str, Any]]) -> Iterator[Series]:
    """What Prometheus would have recorded of *rule*, whose expression gave *result* over a range."""
    if "record" in rule:
        added = {"__name__": rule["record"]}
    else:
        added = {"__name__": "ALERTS", "alertname": rule["alert"], "alertstate": "firing"}
    for series in result:
        labels = {**series["metric"], **rule.get("labels", {}), **added}
        yield Series(labels, [(at, float(value)) for at, value in series["values"]])


def now() -> datetime:
    """Wall-clock time in UTC."""
    return datetime.now(UTC)


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per line."""
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
