"""A made-up history as events: requests of known difficulty, answered by versions of known ability."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.builders import NOON

DAY = 86_400.0
ITEMS = 150


def version_events(
    model_version: str,
    *,
    ability: float = 0.0,
    environment: str = "reference",
    started_at: float = NOON,
    items: int = ITEMS,
) -> Iterator[dict[str, Any]]:
    """
    One labelled trace per item, in the form of the native event contract.

    Args:
        model_version: Who answers.
        ability: Logits of failing that the version adds to every item; low is able.
        environment: Where.
        started_at: Start of the first request, Unix seconds; the others follow a second apart.
        items: Items asked; they lie evenly between -5 and 4 logits.
    """
    chance = random.Random(f"{environment} {model_version}")
    for item in range(items):
        logit = -5.0 + 9.0 * item / (ITEMS - 1) + ability
        failed = chance.random() < 1.0 / (1.0 + math.exp(-logit))
        yield {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"{environment}-{model_version}-{item}",
            "service": "shop",
            "environment": environment,
            "model_version": model_version,
            "capability": ("search", "booking", "refund")[item % 3],
            "request_id": f"item-{item}",
            "started_at": datetime.fromtimestamp(started_at + item, UTC).isoformat(),
            "outcome": {"success": not failed, "source": "judge"},
        }


def history_events(versions: int = 8) -> Iterator[dict[str, Any]]:
    """*versions* past models, a day apart, the last one the day before noon."""
    for number in range(versions):
        ability = (number * 5 % 7 - 3) / 3
        yield from version_events(
            f"past-{number}", ability=ability, started_at=NOON - (versions - number) * DAY, environment="reference"
        )


def write_events(path: Path, events: Iterable[dict[str, Any]]) -> str:
    """Write *events* as JSON lines; the path as one types it."""
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return str(path)
