"""Finds outages: hours in which one arm failed nearly everything and the other did not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from operator import add

from monitor.rollout.cohort import Arm, Cohort
from monitor.rollout.confidence_sequence import Counts, differ

_DOWN = 0.5  # an arm is down if its pass rate is below this part of its own in other hours, and of the other arm's
_MOST_HOURS = 1 / 3  # of an arm's hours: with more, the failures are the arm's normal behaviour
_LEVEL = 0.001  # chance of a false outage

_ByHour = Mapping[int, Counts]


def outages(cohort: Cohort, design_effects: Sequence[float]) -> Sequence[Mapping[int, float]]:
    """
    Labelled failures of each arm in the hours in which it alone was down, by hour (hours since 1970).

    In such an hour, one fault outside the model fails nearly all requests, so they are one failure rather than many.
    If the other arm fails as much in the same hour, or passes less than half of what this arm usually passes, the cause
    is not one arm, and the hour is no outage.

    Args:
        cohort: Both arms.
        design_effects: Design effect of each arm, at least 1.

    Returns:
        The hours of baseline and candidate; none for an arm that was down in more than a third of its hours.
    """
    baseline, candidate = (_by_hour(arm) for arm in cohort.arms)
    return _outages(baseline, candidate, design_effects[0]), _outages(candidate, baseline, design_effects[1])


def without_hours(cohort: Cohort, hours: Collection[int]) -> Cohort:
    """*cohort* without the strata of *hours*, in both arms."""
    if not hours:
        return cohort
    arms = [replace(arm, strata=[each for each in arm.strata if each.block not in hours]) for arm in cohort.arms]
    return replace(cohort, baseline=arms[0], candidate=arms[1])


def _outages(by_hour: _ByHour, others: _ByHour, design_effect: float) -> Mapping[int, float]:
    down = {}
    requests, failures = (sum(getattr(each, name) for each in by_hour.values()) for name in ("requests", "failures"))
    for hour in by_hour.keys() & others.keys():
        here = by_hour[hour]
        rest = Counts(requests - here.requests, failures - here.failures)
        is_other_up = rest.requests > 0 and 1.0 - others[hour].rate >= _DOWN * (1.0 - rest.rate)
        is_down = is_other_up and 1.0 - here.rate < _DOWN * (1.0 - max(rest.rate, others[hour].rate))
        if is_down and differ(rest.shrunk(design_effect), here.shrunk(design_effect), level=_LEVEL / len(by_hour)):
            down[hour] = here.failures
    return down if len(down) <= _MOST_HOURS * len(by_hour) else {}


def _by_hour(arm: Arm) -> _ByHour:
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for stratum in arm.strata:
        sums[stratum.block] = [*map(add, sums[stratum.block], stratum.evidence)]
    return {hour: Counts(*pair) for hour, pair in sums.items() if pair[0] > 0}
