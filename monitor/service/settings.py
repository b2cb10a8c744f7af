"""Settings of the service: intervals, retries and shutdown."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from pydantic import NonNegativeFloat, PositiveFloat

from monitor.config.settings import Settings


class ServiceSettings(Settings):
    """How often to poll records, judge rollouts and calibrate, and how to handle outages."""

    poll_timeout_seconds: PositiveFloat = 1.0
    """Longest wait for records, in seconds."""

    snapshot_interval_seconds: PositiveFloat = 1.0
    """Time between two snapshots for scrapes, in seconds."""

    assembly_interval_seconds: PositiveFloat = 1.0
    """Time between two checks for complete traces, in seconds."""

    review_interval_seconds: PositiveFloat = 15.0
    """Time between two reviews of the rollouts, in seconds."""

    review_rest_ratio: NonNegativeFloat = 5.0
    """Pause after a review of the rollouts, in multiples of the time that it took."""

    calibration_interval_seconds: PositiveFloat = 21_600.0
    """Time between two calibrations while history grows, in seconds."""

    min_history_growth: NonNegativeFloat = 0.10
    """Growth of the labelled history that triggers a new calibration, ratio."""

    max_labels_per_version: Annotated[int, Ge(100)] = 50_000
    """Most labels of one model version that a calibration learns from, the latest ones."""

    retry_seconds: PositiveFloat = 0.5
    """First wait in an outage, in seconds; it doubles up to max_retry_seconds."""

    max_retry_seconds: PositiveFloat = 15.0
    """Longest wait between two tries during an outage, in seconds."""

    unready_seconds: Annotated[float, Ge(1)] = 30.0
    """Silence of the brokers after which Cliffwatch checks them, in seconds; if none answers, /-/ready fails."""

    grace_seconds: PositiveFloat = 25.0
    """Time limit for shutting down after SIGTERM, in seconds; keep it below the orchestrator's grace period."""

    stall_unhealthy_seconds: PositiveFloat = 300.0
    """Time without progress of the main loop after which /-/healthy fails, in seconds."""

    stall_exit_seconds: PositiveFloat = 600.0
    """Time without progress of the main loop after which the process logs its stacks and exits, in seconds."""
