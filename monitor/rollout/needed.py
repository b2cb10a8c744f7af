"""How many more labelled candidate requests a rollout needs, if both arms go on as they have so far."""

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
_FACTORS = [1.01**number for number in range(1_700)]  # beyond the largest forecast
_DAY = 86_400.0
_SOON_DAYS = 14.0


def requests_needed(measurement: Measurement, policy: Policy) -> int:
    """
    Labelled candidate requests until `waiting` ends, at the present estimates; at least 1.

    What is as much worse as a margin is headed for a regression instead.
    """
    if not min(measurement.labelled):
        return policy.min_labelled_requests
    if TierGroup.HARD in dict(margins(measurement, policy)) and measurement.changes[TierGroup.HARD] is None:
        # An arm has none so far. If it gets none by then, that is an obstacle.
        ahead = expected_at(measurement.hard_tier, measurement.labelled) / min(measurement.labelled)
    elif math.isinf(ahead := _growth(measurement, policy, of_baseline=measurement.comparison is Comparison.CONCURRENT)):
        # Too little is known yet of what the baseline can decide.
        ahead = min(_growth(measurement, policy, of_baseline=True), _LARGEST_FORECAST)
    return min(max(1, math.ceil((ahead - 1.0) * measurement.labelled[1])), _LARGEST_FORECAST)


def expected_at(compared: TierComparison, labelled: Sequence[int]) -> float:
    """Labels of the arm that has fewer with which it has some of a group, were it served as much of it as the other."""
    rates = (compared.baseline.requests, compared.candidate.requests)
    shares = (requests / max(number, 1) for requests, number in zip(rates, labelled, strict=True))
    return LEAST_EXPECTED / max(*shares, 1e-9)


def is_beyond_baseline(measurement: Measurement, policy: Policy) -> bool:
    """Whether the baseline serves hardly any more and its labels are too few, whatever the candidate's."""
    if measurement.comparison is Comparison.CONCURRENT or measurement.labelled[1] < policy.min_labelled_requests:
        return False
    with_baseline, alone = (_growth(measurement, policy, of_baseline=of_baseline) for of_baseline in (True, False))
    return math.isinf(alone) and not math.isinf(with_baseline)


def is_contradicted(measurement: Measurement, policy: Policy) -> bool:
    """Whether what the same items or hours tell and what all requests tell differ so that no number decides."""
    is_told_twice = bool(measurement.other_mixes) or measurement.beside is not None
    has_enough = min(measurement.labelled) >= policy.min_labelled_requests
    return is_told_twice and has_enough and math.isinf(_growth(measurement, policy, of_baseline=True))


def is_ruled_out(
    changes: Mapping[TierGroup, Interval | None],
    measurement: Measurement,
    policy: Policy,
    factors: Factors = (1.0, 1.0),
) -> bool:
    """Whether these *changes* leave no margin that can still be exceeded, by enough labels in each arm."""
    enough = all(n * f >= policy.min_labelled_requests for n, f in zip(measurement.labelled, factors, strict=True))
    return enough and all(
        (change := changes[group]) is not None and change.upper < margin
        for group, margin in margins(measurement, policy)
    )


def margins(measurement: Measurement, policy: Policy) -> Iterator[tuple[TierGroup, float]]:
    """What `ok` has to rule out: rises of these sizes."""
    yield TierGroup.ALL, policy.ok_margin
    if measurement.tiers_by is not TiersBy.NONE and measurement.has_hard_requests:
        yield TierGroup.HARD, policy.ok_margin_hard


def too_small(cohort: Cohort, policy: Policy, *, needed: int, seconds: float) -> str | None:
    """
    A sentence where the requests still needed take longer than the policy's ramp; None where they do not.

    Args:
        cohort: Both arms since the rollout began.
        policy: How long a ramp is.
        needed: Labelled requests of the candidate that are still needed.
        seconds: How long the candidate has served.
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


def _growth(measurement: Measurement, policy: Policy, *, of_baseline: bool) -> float:
    """Factor by which labels have to grow to end the waiting; those of the candidate, and *of_baseline* too."""

    def has_ended(place: int) -> bool:
        factors = _FACTORS[place] if of_baseline else 1.0, _FACTORS[place]
        grown = measurement.grown(factors)
        is_worse = any(change is not None and change.lower > 0 for change in grown.values())
        return is_worse or is_ruled_out(grown, measurement, policy, factors)

    place = bisect_left(range(len(_FACTORS)), True, key=has_ended)
    return _FACTORS[place] if place < len(_FACTORS) else math.inf
