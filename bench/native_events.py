"""Generates native events of realistic sizes, each with its own trace id, as fast as possible."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence

CAPABILITIES = ("search", "book", "pay", "refund")
TOOL_SETS = 20
REQUESTS = 500
_DAY_SECONDS = 86_400.0
_HEAD = b'{"schema": "cliffwatch.trace/v1", "trace_id": "%032x", "started_at": "%b.%03dZ", "ended_at": "%b.%03dZ", %b'
_PROSE = (
    "please find a quiet table for our team in the old town and tell everyone when to be there because last time "
    "nobody knew whether the order had been paid or what to do with the invoice that came back from the bank"
)
_WORDS = _PROSE.split()


def lean_events(events: int, *, services: int = 1, seed: int = 0, candidate_from: int | None = None) -> Iterator[bytes]:
    """
    Events of about 480 bytes, without text or tools; one in five failed, 500 requests come again and again.

    From the event *candidate_from* on, a new version serves half of the requests of every service.
    """
    dice = random.Random(seed)
    baseline, candidate = (_lean_tails(version, services) for version in ("gpt-4-0613", "gpt-4-0125-preview"))
    before = events if candidate_from is None else min(events, candidate_from)
    yield from _events(events, [(before, baseline), (events, baseline + candidate)], dice)


def _lean_tails(version: str, services: int) -> list[bytes]:
    return [
        json.dumps(
            {
                "service": f"agent-{service}",
                "environment": "production",
                "model_version": version,
                "capability": CAPABILITIES[number % len(CAPABILITIES)],
                "request_id": f"probe-{number}",
                "usage": {"input_tokens": 812, "output_tokens": 90, "cost_usd": 0.0041},
                "tool_calls": 2,
                "steps": 3,
                "outcome": {"success": number % 5 > 0, "failure_class": "wrong_tool", "source": "judge"},
            }
        )[1:].encode()
        for service in range(services)
        for number in range(REQUESTS)
    ]


def full_events(events: int, *, services: int = 1, seed: int = 0) -> Iterator[bytes]:
    """Events of about 1.5 kB: a question of 20 to 60 words, one to three tools; one in ten is a known request."""
    dice = random.Random(seed)
    tool_sets = [_tools(number, dice) for number in range(TOOL_SETS)]
    tails = [
        json.dumps(
            {
                "service": f"agent-{service}",
                "environment": "production",
                "model_version": "gpt-4-0613",
                "capability": CAPABILITIES[number % len(CAPABILITIES)],
                "request_id": f"probe-{number}" if number % 10 == 0 else None,
                "request": {
                    "text": " ".join(dice.choices(_WORDS, k=dice.randint(20, 60))),
                    "messages": 3,
                    "tools": tool_sets[number % TOOL_SETS],
                    "attributes": {"codebase_scope": float(number % 7)},
                },
                "usage": {"input_tokens": 812, "output_tokens": 90, "cost_usd": 0.0041},
                "tool_calls": 2,
                "steps": 3,
                "outcome": {"success": number % 5 > 0, "failure_class": "wrong_tool", "source": "judge"},
            }
        )[1:].encode()
        for service in range(services)
        for number in range(10 * REQUESTS)
    ]
    yield from _events(events, [(events, tails)], dice)


EVENTS = {"lean": lean_events, "full": full_events}


def _events(events: int, spells: Sequence[tuple[int, Sequence[bytes]]], dice: random.Random) -> Iterator[bytes]:
    """So many *events* over a day; each spell has the number of the event before which it ends, and its tails."""
    start = time.time() - _DAY_SECONDS
    pace = _DAY_SECONDS / max(events, 1)
    second, stamp = -1, b""
    coming = iter(spells)
    end, tails = next(coming)
    for number in range(events):
        if number == end:
            end, tails = next(coming)
        at = int(start + number * pace)
        if at != second:
            second, stamp = at, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)).encode()
        millisecond = number % 500
        yield _HEAD % (dice.getrandbits(128), stamp, millisecond, stamp, 500 + millisecond, dice.choice(tails))


def _tools(number: int, dice: random.Random) -> list[dict[str, object]]:
    return [
        {
            "name": f"tool_{number}_{tool}",
            "description": " ".join(dice.choices(_WORDS, k=15)),
            "parameters": {
                "type": "object",
                "properties": {
                    name: {"type": "string", "description": " ".join(dice.choices(_WORDS, k=8))}
                    for name in ("place", "people", "date")
                },
                "required": ["place"],
            },
        }
        for tool in range(1 + number % 3)
    ]
