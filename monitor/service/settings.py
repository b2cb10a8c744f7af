"""The rhythm of the service: how long it waits, and how often it looks at the ledger as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt
from typing_extensions import Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How often records are polled, rollouts judged and calibrations made."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    poll_timeout_seconds: Annotated[float, Gt(0), Doc("Longest wait for records, in seconds.")] = 1.0
    snapshot_interval_seconds: Annotated[
        float, Gt(0), Doc("Time between two snapshots of what a scrape shows, in seconds.")
    ] = 1.0
    assembly_interval_seconds: Annotated[
        float, Gt(0), Doc("Time between two looks for traces whose spans are complete, in seconds.")
    ] = 1.0
    review_interval_seconds: Annotated[float, Gt(0), Doc("Time between two looks at the rollouts, in seconds.")] = 15.0
    review_rest_ratio: Annotated[
        float, Ge(0), Doc("Rest after a look at the rollouts, in multiples of the time that it took.")
    ] = 5.0
    calibration_interval_seconds: Annotated[
        float, Gt(0), Doc("Time between two calibrations while history grows, in seconds.")
    ] = 21_600.0
    min_history_growth: Annotated[
        float, Ge(0), Doc("Growth of the labelled history that is worth a new calibration, ratio.")
    ] = 0.10
    max_labels_per_version: Annotated[
        int, Ge(100), Doc("Labels of one model version that a calibration learns from, the latest ones.")
    ] = 50_000
    retry_seconds: Annotated[
        float, Gt(0), Doc("First wait after an outage, in seconds; doubled up to max_retry_seconds.")
    ] = 0.5
    max_retry_seconds: Annotated[float, Gt(0), Doc("Longest wait between two tries during an outage, in seconds.")] = (
        15.0
    )
    grace_seconds: Annotated[
        float, Gt(0), Doc("Longest time to end after SIGTERM, in seconds; below the orchestrator's own grace period.")
    ] = 25.0
    stall_unhealthy_seconds: Annotated[
        float, Gt(0), Doc("Time without a turn of the loop after which /-/healthy fails, in seconds.")
    ] = 300.0
    stall_exit_seconds: Annotated[
        float,
        Gt(0),
        Doc("Time without a turn of the loop after which the process logs its stacks and ends, seconds."),
    ] = 600.0
