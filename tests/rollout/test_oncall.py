"""Failures per 1,000 requests before and after a rollout."""

from __future__ import annotations

import pytest

from monitor.difficulty.tiers import Tier
from monitor.rollout.cohort import Arm, Cell
from monitor.rollout.oncall import Signature, SignatureLoad, arm_failures, expected_load, load_by_tier

EASY = Signature(Tier.EASY, "search")
HARD = Signature(Tier.HARD, "search")


def test_load_is_counted_over_requests_of_every_tier() -> None:
    """A tier's load is what a page of 1,000 mixed requests brings, so tiers add up to the aggregate."""
    loads = expected_load({EASY: 20, HARD: 30}, {EASY: 5, HARD: 14}, baseline_requests=1000, candidate_requests=500)

    assert [SignatureLoad(HARD, 30.0, 28.0), SignatureLoad(EASY, 20.0, 10.0)] == loads
    assert (30.0, 28.0) == load_by_tier(loads)[Tier.HARD]
    assert (0.0, 0.0) == load_by_tier(loads)[Tier.FRONTIER]


def test_signature_of_one_arm_alone_is_shown() -> None:
    """A kind of incident that is new, or gone, counts as 0 on the other side."""
    loads = expected_load({EASY: 1}, {HARD: 1}, baseline_requests=100, candidate_requests=100)

    assert [SignatureLoad(HARD, 0.0, 10.0), SignatureLoad(EASY, 10.0, 0.0)] == loads


@pytest.mark.parametrize(("before", "after"), [(0, 10), (10, 0)])
def test_load_is_unknown_without_labels(before: int, after: int) -> None:
    """An arm without a labelled request has no rate."""
    assert not expected_load({EASY: 0}, {EASY: 0}, baseline_requests=before, candidate_requests=after)


def test_failures_of_cells_add_up_by_tier_and_capability() -> None:
    """Bins and known or not do not matter to the people on call."""
    cells = [
        Cell(Tier.HARD, "search", 3, True, 10, 10, 4, 0.0, 0.0),
        Cell(Tier.HARD, "search", 4, False, 10, 10, 5, 0.0, 0.0),
        Cell(Tier.EASY, "search", 0, True, 10, 10, 1, 0.0, 0.0),
    ]

    assert {HARD: 9, EASY: 1} == arm_failures(Arm("v1", cells))
