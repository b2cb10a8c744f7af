"""A small world for tests of rollouts: a history, a baseline and a candidate, served and judged in a moment."""

from __future__ import annotations

from monitor.difficulty.settings import DifficultySettings
from monitor.ledger.ledger import Ledger
from monitor.review import Review
from monitor.rollout.policy import Policy
from monitor.service_settings import ServiceSettings
from tests.builders import NOON, a_batch, a_trace, failure, success, tagged

DAY = 86_400.0


def a_review(ledger: Ledger, policy: Policy | None = None) -> Review:
    return Review(ledger, settings=ServiceSettings(), difficulty=DifficultySettings(), policy=policy or Policy())


def serve(
    ledger: Ledger,
    model_version: str,
    *,
    environment: str = "production",
    started_at: float,
    fails_from: int = 120,
    salt: int = 0,
) -> None:
    """Two hundred labelled requests of a version; those from *fails_from* on fail, but for every seventeenth."""
    events = []
    for item in range(200):
        is_odd = (item * 7 + salt) % 17 == 0
        fails = (item >= fails_from) != is_odd
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


def serve_history(ledger: Ledger, versions: int = 10) -> None:
    for number in range(versions):
        serve(
            ledger,
            f"old-{number}",
            environment="reference",
            started_at=NOON - (versions - number) * DAY,
            fails_from=140 - 5 * number,
            salt=number,
        )


def roll_out(ledger: Ledger, review: Review, *, fails_from: int = 120) -> None:
    """A history, a baseline, and a candidate that is just like it where it need not be worse; looked at after each."""
    serve_history(ledger)
    review.before_new_versions({"live-1"}, now=NOON)
    review.look(now=NOON)
    serve(ledger, "live-1", started_at=NOON)
    serve(ledger, "live-2", started_at=NOON + DAY, fails_from=fails_from, salt=3)
    review.look(now=NOON + 2 * DAY)
