"""Evidence over time: the few numbers of each verdict that the ledger keeps to show how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.rollout.verdict import Interval, Verdict, VerdictState

MOST_EVIDENCE = 300
"""Looks that the ledger keeps per rollout: a chart shows no more."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    The estimates of one look at a rollout.

    Attributes:
        at: Time of the look, Unix seconds.
        labelled: Labelled requests of the candidate.
        share_change: Change of the hard tier's share of failures; None if it was unknown.
        excess: The part of it that a uniform gain does not explain; None if it was unknown.
        hard_change: Change of the hard tier's failure rate; None if it was unknown.
    """

    at: float
    state: VerdictState
    labelled: int
    share_change: Interval | None
    excess: Interval | None
    hard_change: Interval | None


def evidence_of(verdict: Verdict, *, at: float) -> Evidence:
    """The evidence of *verdict*, given *at* Unix seconds."""
    return Evidence(
        at=at,
        state=verdict.state,
        labelled=verdict.aggregate.candidate.requests,
        share_change=None if verdict.share is None else verdict.share.change,
        excess=None if verdict.share is None else verdict.share.excess,
        hard_change=None if verdict.hard_tier is None else verdict.hard_tier.change,
    )


def superfluous(times: Sequence[float], *, most: int = MOST_EVIDENCE) -> Sequence[float]:
    """
    Which looks to delete so that *most* are left, spread evenly over time.

    The first and the last stay. Of the others, it repeatedly deletes the one whose neighbours are closest together.

    Args:
        times: Time of each look, in order, Unix seconds.
        most: Number of looks to keep, at least 2.

    >>> superfluous([0.0, 10.0, 20.0, 21.0, 22.0, 30.0], most=4)
    [21.0, 22.0]
    """
    remaining = list(times)
    deleted = []
    while len(remaining) > most:
        closest = min(range(1, len(remaining) - 1), key=lambda index: remaining[index + 1] - remaining[index - 1])
        deleted.append(remaining.pop(closest))
    return deleted
