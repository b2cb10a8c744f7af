"""Whether a canary is too small to be judged within its ramp, and which share of the traffic would do."""

from __future__ import annotations

from monitor.rollout.cohort import Cohort, Comparison
from monitor.rollout.policy import Policy

_DAY = 86_400.0
_SOON_DAYS = 14.0


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
        f"At {_percent(enough)} they take {_SOON_DAYS:.0f}."
        if enough < 1
        else f"Even all of the traffic would take {days * share:,.0f}."
    )
    return (
        f"The candidate gets {_percent(share)} of the traffic, about {per_day:,.0f} labelled requests a day: "
        f"the {needed:,} still needed take {days:,.0f} days. {remedy}"
    )


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %"
