"""The last committed snapshot as metric families."""

from __future__ import annotations

from collections.abc import Iterator

from monitor.metrics.collect_monitor import collect_calibration, collect_health, collect_model_versions, collect_policy
from monitor.metrics.collect_requests import collect_requests
from monitor.metrics.collect_rollouts import collect_rollouts
from monitor.metrics.family import Family, families
from monitor.metrics.snapshot import Snapshot

_GROUPS = (collect_model_versions, collect_rollouts, collect_policy, collect_calibration, collect_health)


def families_of(snapshot: Snapshot) -> Iterator[Family]:
    """
    Everything that *snapshot* shows, in the same order at every scrape.

    A scrape reads one snapshot from start to end, so it never mixes two commits, and it touches neither database nor
    model.
    """
    yield from collect_requests(snapshot)
    for collect in _GROUPS:
        yield from families(collect(snapshot))
