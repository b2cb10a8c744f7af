"""Outages: hours in which one arm failed as if it was down, and the other did not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from monitor.rollout.cohort import Arm, Cohort
from monitor.rollout.confidence_sequence import Counts, differ

_DOWN = 0.5  # an arm was down with a smaller part of the passes that it has in other hours, and the other arm in this
_MOST_HOURS = 1 / 3  # with more such hours, that is how the arm is
_LEVEL = 0.001  # chance that chance alone passes for an outage

_ByHour = Mapping[int, Counts]


def outages(cohort: Cohort, design_effects: Sequence[float]) -> Sequence[Mapping[int, float]]:
    """
    Labelled failures of each arm in every hour in which it was down alone, by hour since 1970.

    One fault outside the model fails nearly all requests of such an hour, so they are one failure rather than many.
    Where the other arm fails as much in the same hour, or passes less than half of what this one usually does, both
    were down, or the requests are to blame.

    Args:
        cohort: Both arms.
        design_effects: How many requests of each arm tell as much as one independent one.

    Returns:
        Of baseline and candidate; nothing for an arm that was so in more than a third of its hours.
    """
    baseline, candidate = (_by_hour(arm) for arm in cohort.arms)
    return _outages(baseline, candidate, design_effects[0]), _outages(candidate, baseline, design_effects[1])


def without_hours(cohort: Cohort, hours: Collection[int]) -> Cohort:
    """*cohort* without what either arm served in *hours*."""
    if not hours:
        return cohort
    arms = [replace(arm, strata=[each for each in arm.strata if each.block not in hours]) for arm in cohort.arms]
    return replace(cohort, baseline=arms[0], candidate=arms[1])


def _outages(by_hour: _ByHour, others: _ByHour, design_effect: float) -> Mapping[int, float]:
    found = {}
    requests, failures = (sum(getattr(each, name) for each in by_hour.values()) for name in ("requests", "failures"))
    for hour in by_hour.keys() & others.keys():
        here = by_hour[hour]
        rest = Counts(requests - here.requests, failures - here.failures)
        is_other_up = rest.requests > 0 and 1.0 - others[hour].rate >= _DOWN * (1.0 - rest.rate)
        is_down = is_other_up and 1.0 - here.rate < _DOWN * (1.0 - max(rest.rate, others[hour].rate))
        if is_down and differ(rest.shrunk(design_effect), here.shrunk(design_effect), level=_LEVEL / len(by_hour)):
            found[hour] = here.failures
    return found if len(found) <= _MOST_HOURS * len(by_hour) else {}


def _by_hour(arm: Arm) -> _ByHour:
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for stratum in arm.strata:
        for place, number in enumerate(stratum.evidence):
            sums[stratum.block][place] += number
    return {hour: Counts(*counted) for hour, counted in sums.items() if counted[0] > 0}
