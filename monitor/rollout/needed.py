"""How many more labelled candidate requests a rollout needs, if both arms go on as they have so far."""

from __future__ import annotations

import math

from monitor.rollout.bounds import Bounds
from monitor.rollout.comparison import FailureRate
from monitor.rollout.confidence_sequence import normal_mixture_z
from monitor.rollout.measurement import Measurement
from monitor.rollout.policy import Policy

_LARGEST_FORECAST = 10_000_000
_STEPS = 8


def requests_to_ok(measurement: Measurement, policy: Policy) -> int:
    """
    Labelled candidate requests until both arms hold the policy's minimum counts; at least 1.

    Where an arm has no hard-tier failure yet, the other arm's rate of them stands in; where neither has any, the
    forecast is the minimum of labelled requests.
    """
    aggregate, hard = measurement.aggregate, measurement.hard_tier
    baseline_per_candidate = max(aggregate.baseline.requests, 1) / max(aggregate.candidate.requests, 1)
    hard_per_request = _pooled(hard.candidate, aggregate.candidate, hard.baseline, aggregate.baseline)
    needs = [
        policy.min_labelled_requests - aggregate.candidate.requests,
        (policy.min_labelled_requests - aggregate.baseline.requests) / baseline_per_candidate,
    ]
    if hard_per_request > 0:
        needs += [
            (policy.min_hard_failures - hard.candidate.failures) / hard_per_request,
            (policy.min_hard_failures - hard.baseline.failures) / hard_per_request / baseline_per_candidate,
        ]
    if measurement.known_failures > 0:
        growth = policy.min_hard_failures / measurement.known_failures - 1.0
        needs.append(growth * aggregate.candidate.requests)
    return min(max(1, math.ceil(max(needs))), _LARGEST_FORECAST)


def requests_to_cliff(measurement: Measurement, policy: Policy) -> int:
    """Labelled candidate requests until the rise and its excess would be shown, should the estimates hold; else 0."""
    shift = measurement.shift
    if shift is None or shift.change < policy.share_jump or shift.excess <= 0:
        return 0
    bounds = Bounds.of(policy)
    growth = max(
        _growth_to_show(shift.change, shift.change_se, bounds), _growth_to_show(shift.excess, shift.excess_se, bounds)
    )
    return min(math.ceil((growth - 1.0) * measurement.aggregate.candidate.requests), _LARGEST_FORECAST)


def _growth_to_show(estimate: float, standard_error: float, bounds: Bounds) -> float:
    """Factor by which both arms have to grow before the lower bound passes 0; standard errors shrink with its root."""
    growth = 1.0
    for _ in range(_STEPS):
        z = normal_mixture_z(
            standard_error / math.sqrt(growth),
            error_rate=bounds.error_rate,
            best_standard_error=bounds.best_standard_error,
        )
        growth = max(1.0, (z * standard_error / estimate) ** 2)
    return growth


def _pooled(
    candidate: FailureRate, candidate_all: FailureRate, baseline: FailureRate, baseline_all: FailureRate
) -> float:
    """Hard-tier failures per labelled request, of the candidate where it has any."""
    if candidate.failures > 0:
        return candidate.failures / candidate_all.requests
    return baseline.failures / baseline_all.requests if baseline_all.requests else 0.0
