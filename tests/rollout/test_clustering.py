"""Design effects: conversations, users and items whose requests are alike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.rollout.clustering import design_effects
from monitor.rollout.cohort import Arm, ClusterSums, Cohort, SharedClusterSums, TierGroup

Counts = NDArray[np.int64]


def sums(n: Counts, f: Counts) -> ClusterSums:
    parts = (len(n), n.sum(), f.sum(), (n * n).sum(), (n * f).sum(), (f * f).sum())
    return ClusterSums(TierGroup.ALL, *map(int, parts))


def effects(n: Counts, baseline: Counts, candidate: Counts, *, is_shared: bool = False) -> tuple[float, float]:
    crossed = ((n * n).sum(), (baseline * n).sum(), (n * candidate).sum(), (baseline * candidate).sum())
    shared = [SharedClusterSums(TierGroup.ALL, *map(int, crossed))] if is_shared else []
    arms = [Arm("version", [], [sums(n, failures)]) for failures in (baseline, candidate)]
    return design_effects(Cohort(arms[0], arms[1], "", shared_clusters=shared))[TierGroup.ALL]


def conversations(correlation: float, *, size: int, count: int = 2_000, seed: int = 1) -> tuple[Counts, Counts, Counts]:
    rng = np.random.default_rng(seed)
    spread = 1 / correlation - 1
    failures = [rng.binomial(size, rng.beta(0.3 * spread, 0.7 * spread, count)) for _ in range(2)]
    return np.full(count, size), failures[0], failures[1]


@pytest.mark.parametrize(("size", "expected"), [(5, 2.2), (10, 3.7)])
def test_alike_requests_count_for_less(size: int, expected: float) -> None:
    """Conversations of m requests with correlation .3 have an effect of 1 + .3 (m - 1)."""
    baseline, candidate = effects(*conversations(0.3, size=size))

    assert expected == pytest.approx(baseline, rel=0.08)
    assert baseline == pytest.approx(candidate), "both arms share what is known of the correlation"


def test_independent_requests_count_whole() -> None:
    """Conversations whose requests fail independently have almost no effect."""
    rng = np.random.default_rng(2)
    n = np.full(2_000, 5)

    assert 1.0 == pytest.approx(effects(n, rng.binomial(n, 0.3), rng.binomial(n, 0.3))[0], abs=0.12)


def test_a_single_request_per_cluster_has_no_effect() -> None:
    """Where nothing comes again there is nothing alike."""
    ones = np.ones(100, dtype=int)

    told = effects(ones, ones * 0 + (np.arange(100) < 30), ones * 0 + (np.arange(100) < 40))

    assert (1.0, 1.0) == pytest.approx(told)


def test_a_large_conversation_that_fails_as_a_whole_is_one_failure() -> None:
    """The failure rate is known no better than within what that conversation adds to it."""
    rng = np.random.default_rng(4)
    n = np.array([5] * 1_000 + [500])
    usual = rng.binomial(n, 0.1)
    failing = np.array([*usual[:-1], 500])

    effect = effects(n, usual, failing)[1]

    rate, requests = failing.sum() / n.sum(), n.sum()
    added = 500 * (1 - rate) / requests
    assert added <= (effect * rate * (1 - rate) / requests) ** 0.5


def test_items_that_both_arms_served_are_hard_in_both() -> None:
    """Items of different difficulty say less against the difference when both arms answer them."""
    rng = np.random.default_rng(3)
    rate, n = rng.beta(0.5, 1.5, 500), np.full(500, 10)
    failures = [rng.binomial(n, rate) for _ in range(2)]

    apart, together = (effects(n, *failures, is_shared=shared)[0] for shared in (False, True))

    assert apart > 3.0
    assert 1.0 == pytest.approx(together, abs=0.3)


def test_few_clusters_are_judged_with_caution() -> None:
    """Three conversations cannot show that their requests are independent."""
    n = np.full(3, 10)

    assert effects(n, np.array([3, 3, 3]), np.array([3, 3, 3]))[0] > 2.0


def test_an_arm_without_clusters_counts_every_request() -> None:
    """No key, no effect."""
    assert (1.0, 1.0) == design_effects(Cohort(Arm("old", []), Arm("new", []), ""))[TierGroup.HARD]


def test_items_that_fail_alike_in_both_arms_cost_nothing() -> None:
    """Sixty items of one failure rate, met by both arms: nothing speaks against counting every request."""
    rng = np.random.default_rng(4)
    n = np.full(60, 12)
    apart, together = (
        effects(n, rng.binomial(n, 0.6), rng.binomial(n, 0.6), is_shared=shared)[0] for shared in (False, True)
    )

    assert 1.0 <= together <= 1.25 < apart
