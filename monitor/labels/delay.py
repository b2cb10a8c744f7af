"""How long labels take: the age by which 95 % of the labels that ever come have come, though young requests wait."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from monitor.trace.outcome_policy import BUDGET, STATUS

_SHARE = 0.95
_LEAST_LABELS = 30
_LEAST_PART = 0.25


TimedLabel = tuple[str, bool, float, float]
"""Who gave a label, whether it says success, and the seconds from its request's start to the label and to now."""


class LabelDelay(NamedTuple):
    """
    When the labels of one source and outcome have come.

    Attributes:
        source: Who gives them.
        success: What they say.
        seconds: Age of a request by which 95 % of those that ever come have come.
        labels: How many this is learnt from.
    """

    source: str
    success: bool
    seconds: float
    labels: int


def label_delays(labels: Iterable[TimedLabel]) -> Sequence[LabelDelay]:
    """The delay of each source and outcome that has at least 30 *labels*."""
    times: defaultdict[tuple[str, bool], list[tuple[float, float]]] = defaultdict(list)
    for source, success, delay, age in labels:
        times[source, success].append((delay, age))
    return [
        LabelDelay(*kind, age_when_labelled([delay for delay, _ in of], [age for _, age in of]), len(of))
        for kind, of in sorted(times.items())
        if len(of) >= _LEAST_LABELS
    ]


def age_when_labelled(delays: Sequence[float], ages: Sequence[float]) -> float:
    """
    Age by which 95 % of the labels that ever come have come, in the unit of *delays*.

    A label is seen only if its request is old enough, so the delays that are seen are too short (right truncation). In
    reverse time such labels enter late, and the product-limit estimate allows for that: of the labels that came by an
    age, on requests at least that old, it counts how many came at that age. A clock that is wrong makes no label come
    before its request or after now.

    Args:
        delays: From each request's start to its label, at least 30.
        ages: From each request's start to now.

    Source:
        Lagakos, Barraj and De Gruttola (1988), Biometrika 75:515; Kalbfleisch and Lawless (1989), J. Am. Stat. Assoc.
        84:360. Like theirs, the estimate is of the labels that come within the longest age that was watched: here the
        age that 30 labelled requests have reached.
    """
    reached = sorted(max(age, 0.0) for age in ages)
    came = Counter(min(max(delay, 0.0), max(age, 0.0)) for delay, age in zip(delays, ages, strict=True))
    moments = sorted((moment for moment in came if moment <= reached[-_LEAST_LABELS]), reverse=True)
    found, have_come, by_then = moments[0], 1.0, sum(came[moment] for moment in moments)
    for moment in moments:
        if have_come < _SHARE:
            break
        # Those that came by then, less those whose request is younger than that.
        at_risk = by_then - bisect_left(reached, moment)
        found, have_come = moment, have_come * (1.0 - came[moment] / max(at_risk, came[moment]))
        by_then -= came[moment]
    return found


def slowest(delays: Sequence[LabelDelay]) -> LabelDelay | None:
    """
    The delay that a verdict has to wait for; None without any.

    It does not wait for a source that speaks less than a quarter as often as another: people who check a judge come
    late, and only correct it. Checks are waited for whatever they say, and let no other source look rare.
    """
    checks, most = (STATUS, BUDGET), {True: 0, False: 0}
    for each in delays:
        if each.source not in checks:
            most[each.success] = max(most[each.success], each.labels)
    counted = (each for each in delays if each.source in checks or each.labels >= _LEAST_PART * most[each.success])
    return max(counted, key=lambda each: each.seconds, default=None)
