"""The prometheus-client collector: the last committed snapshot as metric families."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as PrometheusFamily
from prometheus_client.registry import Collector

from monitor.metrics.collect_monitor import (
    collect_calibration,
    collect_health,
    collect_loop,
    collect_model_versions,
)
from monitor.metrics.collect_policy import collect_policy
from monitor.metrics.collect_requests import collect_requests
from monitor.metrics.collect_rollouts import collect_rollouts
from monitor.metrics.family import Family
from monitor.metrics.names import METRICS
from monitor.metrics.snapshot import Snapshot, SnapshotHolder

_GROUPS = (
    collect_requests,
    collect_model_versions,
    collect_rollouts,
    collect_policy,
    collect_calibration,
    collect_health,
    collect_loop,
)


class SnapshotCollector(Collector):
    """
    Shows the current snapshot of *snapshots*, in the same order at every scrape.

    A scrape reads one snapshot from start to end, so it never mixes two commits, and it touches neither database nor
    model.
    """

    def __init__(self, snapshots: SnapshotHolder) -> None:
        self._snapshots = snapshots

    def describe(self) -> Iterator[PrometheusFamily]:
        """Every family that a scrape may show."""
        return (Family(metric) for metric in METRICS)

    def collect(self) -> Iterator[PrometheusFamily]:
        return families_of(self._snapshots.current)


def families_of(snapshot: Snapshot) -> Iterator[Family]:
    """Everything that *snapshot* shows, in the same order at every scrape."""
    for collect in _GROUPS:
        yield from collect(snapshot)


def metrics_registry(snapshots: SnapshotHolder) -> CollectorRegistry:
    """A fresh registry that shows *snapshots* and nothing else."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(snapshots))
    return registry
