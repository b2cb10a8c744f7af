"""A stream of every kind of event, and what has to be counted of it: a small plain model, apart from the product's."""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple

TRACES, OUTCOMES = "fault-traces", "fault-outcomes"

_START = datetime(2026, 11, 1, tzinfo=UTC)
_CAPABILITIES = ("search", "book", "pay")
_VERSIONS = ("model-1", "model-2", "model-3")
_POISON = {
    "not_json": b"{not json",
    "field_missing": b'{"schema": "cliffwatch.trace/v1", "service": "shop"}',
    "field_invalid": b'{"schema": "cliffwatch.trace/v1", "trace_id": "x", "service": "shop", "model_version": "m", '
    b'"started_at": "2026-11-01T00:00:00Z", "tool_calls": "many"}',
    "schema_unknown": b'{"schema": "something/v9"}',
}
_RANK = {"human": 0, "budget": 1, "judge": 2, "status": 3}
_LONGEST_DELAY = 3_000  # records between two of the same trace


class Line(NamedTuple):
    """One record on its way to a topic."""

    topic: str
    value: bytes


class Verdict(NamedTuple):
    """Who says what about a trace, and when (seconds after the start)."""

    source: str
    at: float
    success: bool


Truth = Counter[tuple[str, ...]]
"""Name of a family and its labels; a verdict that a later one overruled counts as the later one."""


class Stream:
    """
    About *records* records in an order that only *seed* decides; `truth` is complete when the stream is over.

    Args:
        records: How many, give or take those that the last traces still bring.
        seed: The same gives the same.
    """

    def __init__(self, records: int, seed: int) -> None:
        self._records = records
        self._dice = Random(seed)
        self._numbers = count()
        self.truth: Truth = Counter()
        self.written = 0

    def __iter__(self) -> Iterator[Line]:
        waiting: list[tuple[int, int, Line]] = []
        order, at = count(), 0
        while at < self._records:
            for delay, line in self._story(at / self._records):
                heapq.heappush(waiting, (at + delay, next(order), line))
                at += 1
            while waiting and waiting[0][0] <= at:
                yield self._write(heapq.heappop(waiting)[2])
        while waiting:
            yield self._write(heapq.heappop(waiting)[2])

    def _write(self, line: Line) -> Line:
        self.written += 1
        self.truth["records", line.topic] += 1
        return line

    def _story(self, progress: float) -> Sequence[tuple[int, Line]]:
        kind = self._dice.random()
        if kind < 0.80:
            return self._native(progress)
        if kind < 0.95:
            return self._spans(progress)
        if kind < 0.98:
            reason = self._dice.choice(sorted(_POISON))
            self.truth["dead_letters", reason] += 1
            return [(0, Line(TRACES, _POISON[reason]))]
        verdict = self._verdict("human")
        return [(0, _outcome(f"orphan-{next(self._numbers)}", verdict))]

    def _native(self, progress: float) -> Sequence[tuple[int, Line]]:
        dice, number = self._dice, next(self._numbers)
        trace_id, started = f"native-{number}", _START + timedelta(seconds=number % 1_000_000)
        version, capability = self._version(progress), dice.choice(_CAPABILITIES)
        seconds, tool_calls, steps = dice.randrange(1, 20_000) / 1_000, dice.randrange(6), dice.randrange(1, 9)
        tokens, cost = dice.randrange(1, 2_000), dice.randrange(1, 10_000)
        event: dict[str, Any] = {
            "schema": "cliffwatch.trace/v1",
            "trace_id": trace_id,
            "service": "shop",
            "model_version": version,
            "capability": capability,
            "started_at": started.isoformat(),
            "ended_at": (started + timedelta(seconds=seconds)).isoformat(),
            "usage": {"input_tokens": tokens, "output_tokens": tokens // 3, "cost_usd": cost / 1e6},
            "tool_calls": tool_calls,
            "steps": steps,
        }
        copies = 1 + (dice.random() < 0.04) + (dice.random() < 0.01)
        verdicts = []
        if dice.random() < 0.6:
            verdicts.append(own := self._verdict("judge"))
            event["outcome"] = _as_json(own)
        if dice.random() < 0.05:
            event["budget"] = {"tool_calls": 3}
            if tool_calls > 3:
                verdicts.append(Verdict("budget", seconds, success=False))
                self.truth["budget_exceeded", version] += 1
        if dice.random() < 0.03:
            event["not_known_to_anybody"] = 1
            self.truth["unknown_fields",] += copies
        told = self._told_apart()
        self._count(version, capability, [*verdicts, *told])
        self.truth["tokens", version, "input"] += tokens
        self.truth["tokens", version, "output"] += tokens // 3
        self.truth["cost_microdollars", version] += cost
        self.truth["tool_calls", version] += tool_calls
        self.truth["steps", version] += steps
        self.truth["milliseconds", version] += round(seconds * 1_000)
        self.truth["duplicates",] += copies - 1
        line = Line(TRACES, json.dumps(event).encode())
        return [(self._delay(), line) for _ in range(copies)] + [
            (self._delay(), _outcome(trace_id, verdict)) for verdict in told
        ]

    def _spans(self, progress: float) -> Sequence[tuple[int, Line]]:
        """An agent with two model calls and a tool call, each span in a record of its own, some twice."""
        dice, number = self._dice, next(self._numbers)
        trace_id = f"{number + 1:032x}"
        version, start = self._version(progress), int(_START.timestamp()) + number % 1_000_000
        tokens = dice.randrange(1, 2_000)
        call = {"gen_ai.operation.name": "chat", "gen_ai.response.model": version, "gen_ai.usage.input_tokens": tokens}
        kinds: Sequence[dict[str, Any]] = (
            {"gen_ai.operation.name": "invoke_agent", "cliffwatch.capability": "browse"},
            call,
            {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "book"},
            call,
        )
        lines = []
        for index, attributes in enumerate(kinds):
            line = Line(TRACES, json.dumps(_otlp_span(trace_id, index, start, attributes)).encode())
            copies = 1 + (dice.random() < 0.02)
            lines += [(self._delay(), line) for _ in range(copies)]
            self.truth["spans", "received"] += copies
            self.truth["spans", "duplicate"] += copies - 1
        told = self._told_apart()
        self._count(version, "browse", [Verdict("status", 0.0, success=True), *told])
        self.truth["spans", "joined"] += len(kinds)
        self.truth["tokens", version, "input"] += 2 * tokens
        self.truth["tool_calls", version] += 1
        self.truth["steps", version] += 2
        self.truth["milliseconds", version] += 4_000
        return lines + [(self._delay(), _outcome(trace_id, verdict)) for verdict in told]

    def _count(self, version: str, capability: str, verdicts: Sequence[Verdict]) -> None:
        self.truth["requests", version, capability] += 1
        if verdicts:
            best = min(_RANK[verdict.source] for verdict in verdicts)
            standing = max((v for v in verdicts if _RANK[v.source] == best), key=lambda v: v.at)
            self.truth["outcomes", version, capability, "success" if standing.success else "failure"] += 1

    def _told_apart(self) -> list[Verdict]:
        """Verdicts that come on their own: a judge may change its mind, and a person may overrule it."""
        kind = self._dice.random()
        sources = ["human"] if kind < 0.12 else ["judge", "human"] if kind < 0.15 else ["judge"] if kind < 0.2 else []
        return [self._verdict(source) for source in sources]

    def _verdict(self, source: str) -> Verdict:
        # Never the same moment twice, so that it is not chance which of two is the later.
        return Verdict(source, 1e6 + next(self._numbers) / 1_000, success=self._dice.random() < 0.8)

    def _version(self, progress: float) -> str:
        """One version takes over from the other, the newer one with a share of the traffic first."""
        return _VERSIONS[min(2, int(3 * progress + self._dice.random() * 0.3))]

    def _delay(self) -> int:
        return 0 if self._dice.random() < 0.7 else self._dice.randrange(_LONGEST_DELAY)


def _as_json(verdict: Verdict) -> dict[str, Any]:
    labelled_at = (_START + timedelta(seconds=verdict.at)).isoformat()
    return {"success": verdict.success, "source": verdict.source, "labelled_at": labelled_at}


def _outcome(trace_id: str, verdict: Verdict) -> Line:
    document = {"schema": "cliffwatch.outcome/v1", "trace_id": trace_id, "outcome": _as_json(verdict)}
    return Line(OUTCOMES, json.dumps(document).encode())


def _otlp_span(trace_id: str, index: int, start: int, attributes: dict[str, Any]) -> dict[str, Any]:
    span = {
        "traceId": trace_id,
        "spanId": f"{index + 1:016x}",
        "name": "work",
        "startTimeUnixNano": str((start + index) * 10**9),
        "endTimeUnixNano": str((start + (4 if index == 0 else index + 1)) * 10**9),
        "attributes": [_attribute(name, value) for name, value in attributes.items()],
    } | ({} if index == 0 else {"parentSpanId": f"{1:016x}"})
    resource = {"attributes": [_attribute("service.name", "shop")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}


def _attribute(name: str, value: str | int) -> dict[str, Any]:
    return {"key": name, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
