from __future__ import annotations

import pytest

from monitor.rollout.cluster_sample import ClusterRow, Clusters, Sample
from monitor.rollout.cohort import ClusterSums, Mix, TierGroup

ALL = TierGroup.ALL


def of(sample: Sample, *kinds: ClusterRow, alone: tuple[int, int] = (0, 0)) -> Clusters:
    return Clusters(sample, {ALL: alone}, {ALL: kinds})


def kind(sample: Sample, cluster: int, labelled: int, failures: int, family: str | None = None) -> ClusterRow:
    return (cluster if cluster >= 0 else None, family, None), sample.weight(cluster), labelled, failures


@pytest.mark.parametrize(("cluster", "stands_for"), [(3, 4.0), (9, 1.0), (-5, 20.0)], ids=["any", "largest", "alone"])
def test_a_cluster_stands_for_as_many_as_its_chance_to_be_read_says(cluster: int, stands_for: float) -> None:
    assert stands_for == Sample(part=0.25, alone=0.05, largest=frozenset([9])).weight(cluster)


def test_sums_over_the_sample_are_those_of_all_clusters() -> None:
    """Half of the clusters was read, and the largest; five requests, two of them failed, were clusters of their own."""
    sample = Sample(part=0.5, alone=1.0, largest=frozenset([9]))
    arm = of(sample, kind(sample, 3, 2, 1), kind(sample, 3, 1, 1), kind(sample, 9, 10, 4), alone=(5, 2))

    clusters, requests, failures = 2 + 1 + 5, 2 * 3 + 10 + 5, 2 * 2 + 4 + 2
    squares = 2 * 9 + 100 + 5, 2 * 3 * 2 + 10 * 4 + 2, 2 * 4 + 16 + 2
    assert [ClusterSums(ALL, clusters, requests, failures, *squares)] == list(arm.sums())


def test_what_both_arms_served_is_reported_from_fine_to_coarse() -> None:
    """A cluster that both served, then a prompt family too; what only one served tells nothing."""
    sample = Sample(part=1.0, alone=1.0, largest=frozenset())
    old = of(sample, kind(sample, 3, 2, 1, "p"), kind(sample, -1, 4, 1, "q"), kind(sample, 5, 9, 9, "r"))
    new = of(sample, kind(sample, 3, 2, 0, "p"), kind(sample, -2, 4, 3, "q"), kind(sample, 6, 8, 8, "s"))

    (shared,) = old.shared_with(new)

    assert (4, 2, 0, 0) == (
        shared.requests_requests,
        shared.failures_requests,
        shared.requests_failures,
        shared.failures_failures,
    )
    assert [Mix((1.0, 0.5, 0.0), (2, 1, 2, 0)), Mix((3.0, 1.0, 1.5), (6, 2, 6, 3))] == list(shared.mixes)


def test_prompts_that_both_arms_served_are_never_taken_for_clusters() -> None:
    """Each user is in one arm, as with sticky sessions: the first sums are those of users, and empty."""
    sample = Sample(part=1.0, alone=1.0, largest=frozenset())
    old, new = of(sample, kind(sample, 3, 4, 1, "q")), of(sample, kind(sample, 4, 4, 3, "q"))

    (shared,) = old.shared_with(new)

    assert [Mix((0.0, 0.0, 0.0), (0, 0, 0, 0)), Mix((2.0, 0.5, 1.5), (4, 1, 4, 3))] == list(shared.mixes)
    assert [] == list(of(sample, kind(sample, 3, 4, 1, "p")).shared_with(new))
