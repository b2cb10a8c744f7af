"""How many more labelled candidate requests a rollout needs, if both arms go on as they have so far."""

from __future__ import annotations

import math
from collections.abc import Iterator

from monitor.rollout.cohort import Cohort, Comparison, TierGroup, TiersBy
from monitor.rollout.measurement import Measurement
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Interval

_LARGEST_FORECAST = 10_000_000
_DAY = 86_400.0
_SOON_DAYS = 14.0


def requests_needed(measurement: Measurement, policy: Policy) -> int:
    """
    Labelled candidate requests until `waiting` ends, at the present estimates; at least 1.

    Bounds narrow with the root of the counts. What is as much worse as a margin is headed for a regression instead.
    """
    smaller = min(measurement.labelled)
    if not smaller:
        return policy.min_labelled_requests
    ahead = _growth(measurement, policy)
    if math.isinf(ahead):  # too little is known yet of what the baseline can decide
        ahead = min(_growth_of_both(measurement, policy), _LARGEST_FORECAST)
    growth = max(policy.min_labelled_requests / smaller, ahead)
    return min(max(1, math.ceil((growth - 1.0) * measurement.labelled[1])), _LARGEST_FORECAST)


def is_beyond_baseline(measurement: Measurement, policy: Policy) -> bool:
    """Whether the baseline serves hardly any more and its labels are too few, whatever the candidate's."""
    would_end = not math.isinf(_growth_of_both(measurement, policy))
    has_labels = min(measurement.labelled) >= policy.min_labelled_requests
    return would_end and has_labels and math.isinf(_growth(measurement, policy))


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
    new, both = cohort.candidate.requests, cohort.candidate.requests + cohort.baseline.requests
    labelled = cohort.candidate.labelled
    if cohort.comparison is not Comparison.CONCURRENT or not labelled or not needed or seconds <= 0:
        return None
    per_day = labelled / seconds * _DAY
    days = needed / per_day
    if days <= policy.ramp_seconds / _DAY:
        return None
    share = new / both
    enough = share * days / _SOON_DAYS
    remedy = (
        f"At {100 * enough:.2g} % they take {_SOON_DAYS:.0f}."
        if enough < 1
        else f"Even all of the traffic would take {days * share:,.0f}."
    )
    return (
        f"The candidate gets {100 * share:.2g} % of the traffic, about {per_day:,.0f} labelled requests a day: "
        f"the {needed:,} still needed take {days:,.0f} days. {remedy}"
    )


def _growth(measurement: Measurement, policy: Policy) -> float:
    """Factor by which the candidate's labels have to grow; the baseline's with them, unless it serves no more."""
    both = _growth_of_both(measurement, policy)
    if measurement.comparison is Comparison.CONCURRENT or math.isinf(both):
        return both
    of_baseline = measurement.labelled[1] / sum(measurement.labelled)  # its part of the variance, which stays
    return (1 - of_baseline) / (1 / both - of_baseline) if both * of_baseline < 1 else math.inf


def _growth_of_both(measurement: Measurement, policy: Policy) -> float:
    return min(_growth_to_regression(measurement), _growth_to_ok(measurement, policy))


def _growth_to_ok(measurement: Measurement, policy: Policy) -> float:
    """Factor by which both arms have to grow before every margin is ruled out; infinite where none would do."""
    open_margins = margins(measurement, policy)
    return max(_growth_to_rule_out(measurement.latest[group], margin) for group, margin in open_margins)


def _growth_to_rule_out(change: Interval | None, margin: float) -> float:
    if change is None or change.estimate >= margin:
        return math.inf
    return ((change.upper - change.estimate) / (margin - change.estimate)) ** 2


def _growth_to_regression(measurement: Measurement) -> float:
    rising = [change for change in measurement.latest.values() if change is not None and change.estimate > 0]
    return min((((change.estimate - change.lower) / change.estimate) ** 2 for change in rising), default=math.inf)
