"""Requests of one conversation, user or item: what a sample of them says of all, and of those that both arms served."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import add
from typing import Any, NamedTuple

from monitor.rollout.cohort import ClusterSums, Mix, SharedClusterSums, TierGroup

Alike = tuple[tuple[Any, ...], float, int, int]
"""Cluster, prompt family and tools on offer of some requests; how many they stand for, labelled ones and failures."""


class Sample(NamedTuple):
    """
    The clusters to read.

    A *part* of all, by their hash, and the *largest* ones of either arm; of the requests that are clusters of their
    own, the part *alone*.
    """

    part: float
    alone: float
    largest: frozenset[int]

    def weight(self, cluster: int) -> float:
        """How many clusters it stands for (Horvitz and Thompson 1952, J. Am. Stat. Assoc. 47:663)."""
        return 1.0 if cluster in self.largest else 1.0 / (self.alone if cluster < 0 else self.part)


@dataclass(frozen=True)
class Clusters:
    """
    Labelled requests and failures of one arm.

    Attributes:
        sample: The clusters that were read.
        alone: Counts by group of the requests without a cluster; each is a cluster of its own.
        kinds: What was read, by group, each with all that tells which requests are alike.
    """

    sample: Sample
    alone: Mapping[TierGroup, Sequence[int]]
    kinds: Mapping[TierGroup, Sequence[Alike]]

    @cached_property
    def _sizes(self) -> Mapping[TierGroup, Mapping[Any, Sequence[float]]]:
        """What was read, added up by cluster."""
        return {group: _sizes(kinds, 0) for group, kinds in self.kinds.items()}

    def sums(self) -> Iterator[ClusterSums]:
        """Sums over all clusters, estimated from those that were read."""
        for group, sizes in self._sizes.items():
            moments = [
                (w, w * n, w * f, w * n * n, w * n * f, w * f * f)
                for w, n, f in ((self.sample.weight(cluster), *size[:2]) for cluster, size in sizes.items())
            ]
            alone, failed = self.alone.get(group, (0, 0))
            moments.append((alone, alone, failed, alone, failed, failed))
            yield ClusterSums(group, *(round(sum(column)) for column in zip(*moments, strict=True)))

    def shared_with(self, other: Clusters) -> Iterator[SharedClusterSums]:
        """Products over the clusters that both arms served, and what they tell with other requests that are alike."""
        for group, kinds in self.kinds.items():
            sizes, others = self._sizes[group], other._sizes.get(group, {})
            products = [(0.0,) * 4]
            for cluster in sizes.keys() & others.keys():
                (n, f, *_), (m, g, *_), weight = sizes[cluster], others[cluster], self.sample.weight(cluster)
                products.append((weight * n * m, weight * f * m, weight * n * g, weight * f * g))
            if mixes := [*_mixes((sizes, others), (kinds, other.kinds.get(group, ())))]:
                nm, fm, ng, fg = (round(sum(column)) for column in zip(*products, strict=True))
                yield SharedClusterSums(group, nm, fm, ng, fg, mixes)


def _sizes(kinds: Sequence[Alike], level: int) -> Mapping[Any, Sequence[float]]:
    """Labelled requests and failures by what tells which are alike; then as many as they stand for."""
    sizes: dict[Any, list[float]] = defaultdict(lambda: [0.0] * 4)
    for alike_by, weight, labelled, failures in kinds:
        if (name := alike_by[level]) is not None:
            size = sizes[name]
            size[0] += labelled
            size[1] += failures
            size[2] += weight * labelled
            size[3] += weight * failures
    return sizes


def _mixes(sizes: Sequence[Mapping[Any, Sequence[float]]], kinds: Sequence[Sequence[Alike]]) -> Iterator[Mix]:
    """By what both arms served, from fine to coarse: cluster (of these *sizes*), else prompt family, else tools."""
    alike, served, left = [0.0] * 3, [0.0] * 4, kinds
    for level in range(3):
        baseline, candidate = sizes if level == 0 else (_sizes(of_arm, level) for of_arm in left)
        both = baseline.keys() & candidate.keys()
        for name in both:
            (n, f, *before), (m, g, *after) = baseline[name], candidate[name]
            alike = [have + each / (n + m) for have, each in zip(alike, (n * m, f * m, n * g), strict=True)]
            served = [*map(add, served, (*before, *after))]
        if both:
            yield Mix(tuple(alike), tuple(map(round, served)))
        left = [[each for each in of_arm if each[0][level] not in both] for of_arm in left]
