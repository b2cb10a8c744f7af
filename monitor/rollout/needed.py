"""Forecasts how many more labelled candidate requests a rollout needs, if both arms continue as they are."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from monitor.rollout.cohort import LEAST_EXPECTED, Cohort, Comparison, TierGroup, TiersBy
from monitor.rollout.measurement import Factors, Measurement
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Interval, TierComparison
from monitor.rollout.wording import counted

_LARGEST_FORECAST = 10_000_000
_FACTORS = [1.01**number for number in range(1_700)]  # of growth; the last one is beyond the largest forecast
_DAY = 86_400.0
_SOON_DAYS = 14.0


def requests_needed(measurement: Measurement, policy: Policy) -> int:
    """
    Labelled candidate requests until `waiting` ends in `ok` or `regression`, at the present estimates; at least 1.
    """
    if not min(measurement.labelled):
        return policy.min_labelled_requests
    is_concurrent = measurement.comparison is Comparison.CONCURRENT
    if TierGroup.HARD in dict(margins(measurement, policy)) and measurement.changes[TierGroup.HARD] is None:
        # An arm has no hard requests yet. If it has none after this many labels either, that is an obstacle.
        growth = expected_at(measurement.hard_tier, measurement.labelled) / min(measurement.labelled)
    elif math.isinf(growth := _growth(measurement, policy, is_baseline_growing=is_concurrent)):
        growth = min(_growth(measurement, policy, is_baseline_growing=True), _LARGEST_FORECAST)
    return min(max(1, math.ceil((growth - 1.0) * measurement.labelled[1])), _LARGEST_FORECAST)


def expected_at(compared: TierComparison, labelled: Sequence[int]) -> float:
    """
    Labels of an arm after which lacking a group is more than chance, if its share is that of the arm with more of it.

    Args:
        compared: Both arms in the group.
        labelled: Labelled requests of both arms, of all groups.
    """
    in_group = (compared.baseline.requests, compared.candidate.requests)
    shares = (requests / max(number, 1) for requests, number in zip(in_group, labelled, strict=True))
    return LEAST_EXPECTED / max(*shares, 1e-9)


def is_beyond_baseline(measurement: Measurement, policy: Policy) -> bool:
    """Whether the baseline hardly serves any more and has too few labels for `ok`, whatever the candidate gets."""
    if measurement.comparison is Comparison.CONCURRENT or measurement.labelled[1] < policy.min_labelled_requests:
        return False
    with_baseline, alone = (_growth(measurement, policy, is_baseline_growing=each) for each in (True, False))
    return math.isinf(alone) and not math.isinf(with_baseline)


def is_contradicted(measurement: Measurement, policy: Policy) -> bool:
    """Whether the change within the same items or hours contradicts that of all requests, so that none can decide."""
    has_two_estimates = bool(measurement.other_mixes) or measurement.side_by_side is not None
    has_enough = min(measurement.labelled) >= policy.min_labelled_requests
    return has_two_estimates and has_enough and math.isinf(_growth(measurement, policy, is_baseline_growing=True))


def is_ruled_out(
    changes: Mapping[TierGroup, Interval | None],
    measurement: Measurement,
    policy: Policy,
    factors: Factors = (1.0, 1.0),
) -> bool:
    """Whether *changes* rule out a rise by any margin, with enough labels in each arm (times *factors*)."""
    enough = all(n * f >= policy.min_labelled_requests for n, f in zip(measurement.labelled, factors, strict=True))
    return enough and all(
        (change := changes[group]) is not None and change.upper < margin
        for group, margin in margins(measurement, policy)
    )


def margins(measurement: Measurement, policy: Policy) -> Iterator[tuple[TierGroup, float]]:
    """Rises of the failure rate that `ok` has to rule out, by group; ratios."""
    yield TierGroup.ALL, policy.ok_margin
    if measurement.tiers_by is not TiersBy.NONE and measurement.has_hard_requests:
        yield TierGroup.HARD, policy.ok_margin_hard


def too_small(cohort: Cohort, policy: Policy, *, needed: int, seconds: float) -> str | None:
    """
    A sentence if the requests still needed take longer than the policy's ramp; else None.

    Args:
        cohort: Both arms since the rollout began.
        policy: Sets the length of a ramp.
        needed: Labelled requests of the candidate that are still needed.
        seconds: Time that the candidate has served.
    """
    labelled, new = cohort.candidate.labelled, cohort.candidate.requests
    if cohort.comparison is not Comparison.CONCURRENT or not labelled or not needed or seconds <= 0:
        return None
    per_day = labelled / seconds * _DAY
    days = needed / per_day
    if days <= policy.ramp_seconds / _DAY:
        return None
    share = new / (new + cohort.baseline.requests)
    enough = share * days / _SOON_DAYS
    remedy = (
        f"At {100 * enough:.2g} % they take {_SOON_DAYS:.0f}."
        if enough < 1
        else f"Even all of the traffic would take {days * share:,.0f}."
    )
    return (
        f"The candidate gets {100 * share:.2g} % of the traffic, about {counted(round(per_day), 'labelled request')} a "
        f"day: the {needed:,} still needed take {days:,.0f} days. {remedy}"
    )


def _growth(measurement: Measurement, policy: Policy, *, is_baseline_growing: bool) -> float:
    """Factor by which the candidate's labels, and with *is_baseline_growing* the baseline's, must grow to decide."""
    # More of the baseline's labels count once the candidate has served at all their hours.
    earlier = sum(stratum.evidence[0] for stratum in measurement.labels.cohort.baseline.strata)
    most = math.inf if is_baseline_growing else max(1.0, earlier / max(measurement.matched.requests[0].sum(), 1.0))

    def is_decided(index: int) -> bool:
        factors = min(_FACTORS[index], most), _FACTORS[index]
        changes = measurement.changes_at(factors)
        is_worse = any(change is not None and change.lower > 0 for change in changes.values())
        return is_worse or is_ruled_out(changes, measurement, policy, factors)

    index = bisect_left(range(len(_FACTORS)), True, key=is_decided)
    return _FACTORS[index] if index < len(_FACTORS) else math.inf
