"""The demo's data as native events: twelve versions of history, then four rollouts at the same time."""

from __future__ import annotations

import csv
import gzip
import heapq
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import convert

from monitor.trace.model import hash_of

FACTS = Path(__file__).with_name("bfcl.csv.gz")
_MODELS = tomllib.loads(Path(__file__).with_name("demo.toml").read_text(encoding="utf-8"))
HISTORY: Sequence[str] = _MODELS["history"]
"""Versions whose runs are the reference history."""


@dataclass(frozen=True, slots=True)
class DemoRollout:
    """
    One rollout of the demo.

    Attributes:
        baseline_name: Name of the baseline in its service; empty to use its own, which live traffic would exclude from
            the history.
        halves: Each arm serves its own half of the requests, so that a version can be compared with itself.
        is_canary: The baseline serves one half of the requests before the candidate and the other half at the same
            time. Its requests have no names and other classes than the history, so tiers come from their classes.
    """

    service: str
    baseline: str
    candidate: str
    candidate_name: str
    baseline_name: str = ""
    halves: bool = False
    is_canary: bool = False


ROLLOUTS = tuple(DemoRollout(**rollout) for rollout in _MODELS["rollouts"])
"""A cliff, an ordinary gain, a version against itself, and a regression that is found without reference history."""

_CLASSES = {"relevance": "no_call", "parallel": "parallel_calls", "multiple": "one_of_several"}
_OTHER_CLASS = "single_call"

_SERVED = timedelta(days=3)
_HISTORY_LASTS = timedelta(days=1)
_ENDS_AT = datetime(2026, 10, 7, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Fact:
    request_id: str
    success: bool
    failure_class: str = ""
    latency_ms: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    is_named: bool = True

    @property
    def capability(self) -> str:
        name = self.request_id.rpartition("-")[0]
        if self.is_named:
            return name
        return next((capability for part, capability in _CLASSES.items() if part in name), _OTHER_CLASS)


def demo_events(*, ends_at: datetime = _ENDS_AT) -> Iterator[dict[str, Any]]:
    """Every event of the demo by time, the last one at *ends_at*, in the format of the native event contract."""
    facts = _read_facts()
    begins = ends_at - 2 * _SERVED
    for number, version in enumerate(HISTORY):
        starts = begins - (len(HISTORY) - number) * _HISTORY_LASTS
        yield from _served("history", "reference", version, facts[version], starts=starts, lasting=_HISTORY_LASTS)
    streams: list[Iterator[dict[str, Any]]] = []
    for rollout in ROLLOUTS:
        before, after = facts[rollout.baseline], facts[rollout.candidate]
        concurrent: list[_Fact] = []
        if rollout.halves:
            before, after = before[0::2], after[1::2]  # sorted by request ID, so both halves have the same mix
        elif rollout.is_canary:
            before, after = ([replace(fact, is_named=False) for fact in arm] for arm in (before, after))
            before, concurrent = before[0::2], before[1::2]
        old_name = rollout.baseline_name or rollout.baseline
        baseline = ((old_name, before, begins), (old_name, concurrent, begins + _SERVED))
        for version, requests, starts in (*baseline, (rollout.candidate_name, after, begins + _SERVED)):
            streams.append(_served(rollout.service, "production", version, requests, starts=starts, lasting=_SERVED))
    yield from heapq.merge(*streams, key=lambda event: str(event["started_at"]))


def write_demo_events(path: Path, *, ends_at: datetime = _ENDS_AT) -> int:
    """Write every event of the demo to *path*, one JSON object per line; returns their number."""
    lines = [json.dumps(event, separators=(",", ":")) + "\n" for event in demo_events(ends_at=ends_at)]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def _read_facts() -> dict[str, list[_Fact]]:
    facts: dict[str, list[_Fact]] = defaultdict(list)
    with gzip.open(FACTS, "rt", newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            filled = {name: value for name, value in row.items() if value}
            facts[row["model_version"]].append(convert(filled, _Fact, strict=False))
    return facts


def _served(
    service: str, environment: str, version: str, facts: Sequence[_Fact], *, starts: datetime, lasting: timedelta
) -> Iterator[dict[str, Any]]:
    """*facts* as requests spread evenly over *lasting*, in a fixed pseudo-random order."""
    ordered = sorted(facts, key=lambda fact: hash_of(service, version, fact.request_id, size=16))
    for number, fact in enumerate(ordered):
        started_at = starts + number * lasting / len(ordered)
        failure = {"failure_class": fact.failure_class} if fact.failure_class else {}
        event: dict[str, Any] = {
            "schema": "cliffwatch.trace/v1",
            "trace_id": hash_of(service, environment, version, fact.request_id, size=16),
            "service": service,
            "environment": environment,
            "model_version": version,
            "capability": fact.capability,
            **({"request_id": fact.request_id} if fact.is_named else {}),
            "started_at": started_at.isoformat(),
            "outcome": {"success": fact.success, "source": "judge", **failure},
        }
        if fact.latency_ms is not None:
            event["ended_at"] = (started_at + timedelta(milliseconds=fact.latency_ms)).isoformat()
        if fact.input_tokens or fact.output_tokens:
            event["usage"] = {"input_tokens": fact.input_tokens, "output_tokens": fact.output_tokens}
        yield event
