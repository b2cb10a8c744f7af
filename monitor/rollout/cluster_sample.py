"""Estimates sums over clusters (conversations, users or items) from a sample of the clusters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import add
from typing import Any, NamedTuple

from monitor.rollout.cohort import ClusterSums, Mix, SharedClusterSums, TierGroup

ClusterRow = tuple[tuple[Any, ...], float, int, int]
"""
Requests with the same (cluster, prompt family, tools on offer): that key, how many requests each represents, labelled
requests, and failures.
"""


class Sample(NamedTuple):
    """
    The clusters to read.

    Attributes:
        part: Sampling rate of clusters, by their hash; ratio.
        alone: Sampling rate of requests without a cluster key, which are clusters of their own; ratio.
        largest: The largest clusters of either arm, which are always read.
    """

    part: float
    alone: float
    largest: frozenset[int]

    def weight(self, cluster: int) -> float:
        """Clusters that *cluster* represents (Horvitz and Thompson 1952, J. Am. Stat. Assoc. 47:663)."""
        return 1.0 if cluster in self.largest else 1.0 / (self.alone if cluster < 0 else self.part)


@dataclass(frozen=True)
class Clusters:
    """
    Labelled requests and failures of one arm.

    Attributes:
        sample: The clusters that were read.
        alone: Labelled requests and failures without a cluster key, by group; each request is a cluster of its own.
        rows: What was read, by group.
    """

    sample: Sample
    alone: Mapping[TierGroup, Sequence[int]]
    rows: Mapping[TierGroup, Sequence[ClusterRow]]

    @cached_property
    def _sizes(self) -> Mapping[TierGroup, Mapping[Any, Sequence[float]]]:
        """`rows` added up by cluster."""
        return {group: _sizes(rows, 0) for group, rows in self.rows.items()}

    def sums(self) -> Iterator[ClusterSums]:
        """Sums over all clusters, estimated from the sample."""
        for group, sizes in self._sizes.items():
            moments = [
                (w, w * n, w * f, w * n * n, w * n * f, w * f * f)
                for w, n, f in ((self.sample.weight(cluster), *size[:2]) for cluster, size in sizes.items())
            ]
            alone, failed = self.alone.get(group, (0, 0))
            moments.append((alone, alone, failed, alone, failed, failed))
            yield ClusterSums(group, *(round(sum(column)) for column in zip(*moments, strict=True)))

    def shared_with(self, other: Clusters) -> Iterator[SharedClusterSums]:
        """Sums over the clusters, prompt families and tool sets that both arms served."""
        for group, rows in self.rows.items():
            sizes, others = self._sizes[group], other._sizes.get(group, {})
            products = [(0.0,) * 4]
            for cluster in sizes.keys() & others.keys():
                (n, f, *_), (m, g, *_), weight = sizes[cluster], others[cluster], self.sample.weight(cluster)
                products.append((weight * n * m, weight * f * m, weight * n * g, weight * f * g))
            mixes = [*_mixes((sizes, others), (rows, other.rows.get(group, ())))]
            if any(mix.weighted[0] for mix in mixes):
                nm, fm, ng, fg = (round(sum(column)) for column in zip(*products, strict=True))
                yield SharedClusterSums(group, nm, fm, ng, fg, mixes)


def _sizes(rows: Sequence[ClusterRow], level: int) -> Mapping[Any, Sequence[float]]:
    """
    Sums of *rows* by one part of their key: labelled requests, failures, then both times the weight.

    Args:
        rows: What was read of one arm.
        level: Part of the key: 0 cluster, 1 prompt family, 2 tools on offer.
    """
    sizes: dict[Any, list[float]] = defaultdict(lambda: [0.0] * 4)
    for key, weight, labelled, failures in rows:
        if (name := key[level]) is not None:
            size = sizes[name]
            size[0] += labelled
            size[1] += failures
            size[2] += weight * labelled
            size[3] += weight * failures
    return sizes


def _mixes(sizes: Sequence[Mapping[Any, Sequence[float]]], rows: Sequence[Sequence[ClusterRow]]) -> Iterator[Mix]:
    """
    Sums over what both arms served, from fine to coarse: clusters, then prompt families, then tool sets as well.

    The first is of clusters, even if the arms share none.

    Args:
        sizes: Sums of both arms by cluster.
        rows: What was read of both arms.
    """
    within, served, remaining = [0.0] * 3, [0.0] * 4, rows
    for level in range(3):
        baseline, candidate = sizes if level == 0 else (_sizes(of_arm, level) for of_arm in remaining)
        both = baseline.keys() & candidate.keys()
        for name in both:
            (n, f, *before), (m, g, *after) = baseline[name], candidate[name]
            within = [total + product / (n + m) for total, product in zip(within, (n * m, f * m, n * g), strict=True)]
            served = [*map(add, served, (*before, *after))]
        if both or level == 0:
            yield Mix(tuple(within), tuple(map(round, served)))
        remaining = [[row for row in of_arm if row[0][level] not in both] for of_arm in remaining]
