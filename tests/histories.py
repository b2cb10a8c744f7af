"""A small world for tests of rollouts: a history, a baseline and a candidate, served and judged in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from monitor.difficulty.settings import DifficultySettings
from monitor.ledger.sql import SqlLedger
from monitor.rollout.policy import Policy
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from tests.builders import NOON, a_batch, a_trace, failure, success, tagged

DAY = 86_400.0


def a_review(ledger: SqlLedger, policy: Policy | None = None) -> Reviewer:
    return Reviewer(ledger, settings=ServiceSettings(), difficulty=DifficultySettings(), policy=policy or Policy())


def runs(fails_from: int, salt: int) -> Iterator[tuple[int, bool]]:
    """Two hundred items; those from *fails_from* on fail, but for every seventeenth."""
    for item in range(200):
        is_odd = (item * 7 + salt) % 17 == 0
        yield item, (item >= fails_from) != is_odd


def serve(
    ledger: SqlLedger,
    model_version: str,
    *,
    environment: str = "production",
    started_at: float,
    fails_from: int = 120,
    salt: int = 0,
) -> None:
    """Two hundred labelled requests of a version."""
    events = []
    for item, fails in runs(fails_from, salt):
        trace = a_trace(
            f"{environment}-{model_version}-{item}",
            environment=environment,
            model_version=model_version,
            request_id=f"item-{item}",
            started_at=started_at + item,
            outcome=failure("timeout" if item % 2 else "wrong_tool") if fails else success(),
        )
        events.append(tagged(trace))
    ledger.record(a_batch(*events))


def roll_out_events(*, fails_from: int = 120) -> Iterator[dict[str, Any]]:
    """The rollout of `roll_out` as native events, in the order of time."""
    for number in range(10):
        yield from _events(f"old-{number}", "reference", NOON - (10 - number) * DAY, 140 - 5 * number, number)
    yield from _events("live-1", "production", NOON, 120, 0)
    yield from _events("live-2", "production", NOON + DAY, fails_from, 3)


def _events(version: str, environment: str, begins: float, fails_from: int, salt: int) -> Iterator[dict[str, Any]]:
    for item, fails in runs(fails_from, salt):
        yield {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"{environment}-{version}-{item}",
            "service": "shop",
            "environment": environment,
            "model_version": version,
            "capability": "search",
            "request_id": f"item-{item}",
            "started_at": datetime.fromtimestamp(begins + item, UTC).isoformat(),
            "outcome": {"success": not fails, "source": "judge"},
        }


def serve_history(ledger: SqlLedger, versions: int = 10) -> None:
    for number in range(versions):
        serve(
            ledger,
            f"old-{number}",
            environment="reference",
            started_at=NOON - (versions - number) * DAY,
            fails_from=140 - 5 * number,
            salt=number,
        )


def roll_out(ledger: SqlLedger, reviewer: Reviewer, *, fails_from: int = 120) -> None:
    """A history, a baseline, and a candidate that is just like it where it need not be worse; looked at after each."""
    serve_history(ledger)
    reviewer.freeze_before({"live-1"}, now=NOON)
    reviewer.review(now=NOON)
    serve(ledger, "live-1", started_at=NOON)
    serve(ledger, "live-2", started_at=NOON + DAY, fails_from=fails_from, salt=3)
    reviewer.review(now=NOON + 2 * DAY)
