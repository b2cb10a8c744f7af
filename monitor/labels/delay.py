"""Estimates how long labels take: the age of a request by which 95 % of the labels have arrived."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from monitor.trace.grouping import grouped
from monitor.trace.outcome_policy import BUDGET, STATUS

_SHARE = 0.95
_LEAST_LABELS = 30
_LEAST_PART = 0.25


TimedLabel = tuple[str, bool, float, float]
"""Source of a label, whether it is a success, and the seconds from its request's start to the label and to now."""


class LabelDelay(NamedTuple):
    """
    The delay of the labels of one source and outcome.

    Attributes:
        source: Source of the labels.
        success: Whether the labels are successes.
        seconds: Age of a request by which 95 % of these labels have arrived.
        labels: Number of labels behind the estimate.
    """

    source: str
    success: bool
    seconds: float
    labels: int


def label_delays(labels: Iterable[TimedLabel]) -> Sequence[LabelDelay]:
    """The delay of each source and outcome that has at least 30 *labels*."""
    return [
        LabelDelay(*kind, age_when_labelled([delay for *_, delay, _ in of], [age for *_, age in of]), len(of))
        for kind, of in sorted(grouped(labels, lambda label: label[:2]).items())
        if len(of) >= _LEAST_LABELS
    ]


def age_when_labelled(delays: Sequence[float], ages: Sequence[float]) -> float:
    """
    Age by which 95 % of the labels have arrived, in the unit of *delays*.

    Labels that are still to come on young requests are missing, so the observed delays are too short (right
    truncation). The product-limit estimate in reverse time corrects for this: of the labels that arrived by an age, on
    requests at least that old, it counts how many arrived at that age. Delays are limited to the age of the request, in
    case a clock is wrong.

    Args:
        delays: Time from each request's start to its label, at least 30 values.
        ages: Time from each request's start to now.

    Source:
        Lagakos, Barraj and De Gruttola (1988), Biometrika 75:515; Kalbfleisch and Lawless (1989), J. Am. Stat. Assoc.
        84:360. As in these papers, it is the distribution of labels that arrive within the longest observed age: here
        the age that 30 labelled requests have reached.
    """
    sorted_ages = sorted(max(age, 0.0) for age in ages)
    arrivals = Counter(min(max(delay, 0.0), max(age, 0.0)) for delay, age in zip(delays, ages, strict=True))
    moments = sorted((moment for moment in arrivals if moment <= sorted_ages[-_LEAST_LABELS]), reverse=True)
    quantile, share, arrived = moments[0], 1.0, sum(arrivals[moment] for moment in moments)
    for moment in moments:
        if share < _SHARE:
            break
        # Labels that arrived by this age, without those whose request is younger.
        at_risk = arrived - bisect_left(sorted_ages, moment)
        quantile, share = moment, share * (1.0 - arrivals[moment] / max(at_risk, arrivals[moment]))
        arrived -= arrivals[moment]
    return quantile


def slowest(delays: Sequence[LabelDelay]) -> LabelDelay | None:
    """
    The longest delay that a verdict waits for; None without any.

    It leaves out a source with less than a quarter of the labels of another one, such as people who audit a judge: they
    come late and only correct it. Checks always count, but do not make other sources rare, since they see every run.
    """
    checks, most = (STATUS, BUDGET), {True: 0, False: 0}
    for each in delays:
        if each.source not in checks:
            most[each.success] = max(most[each.success], each.labels)
    counted = (each for each in delays if each.source in checks or each.labels >= _LEAST_PART * most[each.success])
    return max(counted, key=lambda each: each.seconds, default=None)
