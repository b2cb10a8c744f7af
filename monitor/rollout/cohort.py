"""Cohorts: the matured requests of both arms, grouped so that every statistic can be computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from monitor.difficulty.tiers import Tier


class ArmName(StrEnum):
    """The two sides of a rollout."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class Cell:
    """
    Requests of one arm that are alike: one tier, capability, difficulty bin and known or not.

    Attributes:
        requests: Matured requests, labelled or not.
        labelled: Those with an outcome.
        failures: Those whose outcome is a failure.
        logit_sum: Sum of the difficulty logits of all *requests*.
        variance_sum: Sum of the difficulty variances of all *requests*.
    """

    tier: Tier
    capability: str
    bin: int
    is_known: bool
    requests: int
    labelled: int
    failures: int
    logit_sum: float
    variance_sum: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a rollout: its model version and its cells."""

    model_version: str
    cells: Sequence[Cell]

    @property
    def requests(self) -> int:
        return sum(cell.requests for cell in self.cells)

    @property
    def labelled(self) -> int:
        return sum(cell.labelled for cell in self.cells)

    @property
    def failures(self) -> int:
        return sum(cell.failures for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Both arms, read under one calibration."""

    baseline: Arm
    candidate: Arm
    calibration_id: str
