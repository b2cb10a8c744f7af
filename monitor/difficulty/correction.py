"""Tier rates and shares corrected for noisy tags, and what a uniform gain in ability would have done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.difficulty.calibration import TierCuts


@dataclass(frozen=True, slots=True)
class DifficultyBin:
    """
    Requests of one arm that are about equally hard: one calibration bin, known or not.

    Attributes:
        difficulty_logit: Mean difficulty logit of the requests.
        difficulty_variance: Mean posterior variance of it, logits squared.
        requests: Requests, labelled or not.
        labelled: Those with an outcome.
        failures: Those whose outcome is a failure.
    """

    difficulty_logit: float
    difficulty_variance: float
    is_known: bool
    requests: int
    labelled: int
    failures: int


@dataclass(frozen=True, slots=True)
class MeasuredArm:
    """
    One arm as measured; arrays are indexed by tier, easiest first (shape (4,)).

    Attributes:
        tier_mix: Share of the arm's traffic per tier (soft tiers over all requests), sums to 1.
        failure_rate: Corrected failure rate per tier, ratio 0 to 1.
        failure_rate_covariance: Covariance of *failure_rate*, shape (4, 4).
        uniform_gain_rate: Failure rate per tier that the uniform-gain curve gives at this arm's aggregate failure rate.
        uniform_gain_rate_gradient: Derivative of *uniform_gain_rate* by the aggregate failure rate.
        aggregate_failure_rate: Failures per labelled request, ratio 0 to 1.
        aggregate_variance: Variance of *aggregate_failure_rate*.
        known_failures: Failures in the known stratum: the evidence that the correction stands on.
    """

    tier_mix: NDArray[np.float64]
    failure_rate: NDArray[np.float64]
    failure_rate_covariance: NDArray[np.float64]
    uniform_gain_rate: NDArray[np.float64]
    uniform_gain_rate_gradient: NDArray[np.float64]
    aggregate_failure_rate: float
    aggregate_variance: float
    known_failures: int


@dataclass(frozen=True, slots=True)
class ShareShift:
    """
    Change of the hard tier's share of failures from baseline to candidate, at the baseline's tier mix.

    Each `_se` is a standard error; all are ratios 0 to 1 (changes -1 to 1).
    """

    baseline: float
    baseline_se: float
    candidate: float
    candidate_se: float
    change: float
    change_se: float
    expected_change: float
    excess: float
    excess_se: float


def measure_arm(bins: Sequence[DifficultyBin], cuts: TierCuts, *, prior_weight: float = 4.0) -> MeasuredArm | None:
    """Corrected tier rates of one arm by expectation-maximisation on the known stratum; None without known labels."""
    raise NotImplementedError


def compare_shares(baseline: MeasuredArm, candidate: MeasuredArm) -> ShareShift | None:
    """The share shift with its expected part and excess; None where an arm has no failure to share out."""
    raise NotImplementedError
