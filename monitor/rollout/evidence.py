"""Evidence over time: the few numbers of a verdict that tell how it came about, and which of them are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.rollout.verdict import Interval, Verdict, VerdictState

MOST_EVIDENCE = 300
"""Looks that are remembered of one rollout: as many as a chart is units wide."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What one look at a rollout found.

    Attributes:
        at: When, Unix seconds.
        labelled: Labelled requests of the candidate.
        share_change: Change of the hard tier's share of failures; None while it could not be told.
        excess: The part of it that a uniform gain does not explain; None in the same cases.
        hard_change: Change of the hard tier's failure rate; None in the same cases.
    """

    at: float
    state: VerdictState
    labelled: int
    share_change: Interval | None
    excess: Interval | None
    hard_change: Interval | None


def evidence_of(verdict: Verdict, *, at: float) -> Evidence:
    """What *verdict*, given *at* Unix seconds, rests on."""
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
    Which looks to forget so that *most* are left, evenly spread over the time that they cover.

    The first and the last stay; of the others, the one whose neighbours are closest to each other goes, repeatedly.

    Args:
        times: When each look was, in order, Unix seconds.
        most: At least 2.

    >>> superfluous([0.0, 10.0, 20.0, 21.0, 22.0, 30.0], most=4)
    [21.0, 22.0]
    """
    kept = list(times)
    forgotten = []
    while len(kept) > most:
        closest = min(range(1, len(kept) - 1), key=lambda index: kept[index + 1] - kept[index - 1])
        forgotten.append(kept.pop(closest))
    return forgotten
