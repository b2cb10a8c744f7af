"""Finds rollouts in what is known of each model version: which is established, which is new, when a watch is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VersionActivity:
    """
    What the ledger knows of one model version of one service and environment.

    Attributes:
        first_started_at: Start of its first request, Unix seconds.
        last_started_at: Start of its latest request, Unix seconds.
        requests: Requests counted so far.
        requests_since: (model_version, requests) for each version that first appeared later in the same service and
            environment: requests of *this* version since then; tells a candidate's share of traffic.
    """

    service: str
    environment: str
    model_version: str
    first_started_at: float
    last_started_at: float
    requests: int
    requests_since: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """
    A change of the model version behind one service in one environment.

    Attributes:
        rollout_id: Stable name, the same whichever replica finds it.
        started_at: Start of the candidate's first request, Unix seconds.
        ended_at: When the watch ended, Unix seconds, or None.
        calibration_id: The calibration that both arms are read under.
    """

    rollout_id: str
    service: str
    environment: str
    baseline: str
    candidate: str
    started_at: float
    ended_at: float | None = None
    calibration_id: str = ""
