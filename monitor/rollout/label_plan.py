"""
What to label next: requests whose labels reduce the standard error most, drawn with known probabilities.

The inclusion probability of a request is proportional to its weight in the change of the failure rate, of all requests
and of the hard tier, times the standard deviation of its label (Neyman 1934, J. R. Stat. Soc. 97:558), and larger where
people have labelled little. Madow's systematic sampling (1949, Ann. Math. Stat. 20:333) in random order draws exactly
the number asked for, each request with its own probability, so one over it is the weight of a person's verdict (Horvitz
and Thompson 1952, J. Am. Stat. Assoc. 47:663).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import NamedTuple

from monitor.difficulty.tiers import HARD_TIER
from monitor.labels.source_verdicts import PatternCount
from monitor.rollout.cohort import ArmName, TierGroup

_JUDGE_ODDS = {"f": 19.0, "p": 1 / 19}  # likelihood ratio of failing by the judge's verdict, if it is right in 95 %
_PRIOR_LABELS = 10.0  # labels of all requests that the rate of one tier, class and difficulty is shrunk towards
_GROUPS = TierGroup.ALL, TierGroup.HARD
_LEAST_DEVIATION = 0.1  # of a label: keeps requests whose outcome looks certain in the draw, in case the guess is wrong


class ServedRequest(NamedTuple):
    """
    A request of one arm.

    Attributes:
        tier: The declared one, else the learnt one.
        said: Its verdicts, as in `SourceVerdicts.pattern`; empty without any.
        success: Its final label, or None.
        bin: Its difficulty bin.
        sampling_probability: Probability that it was drawn, ratio; before the draw, that it was read.
    """

    arm: ArmName
    trace_id: str
    started_at: float
    tier: str
    capability: str
    said: str
    success: bool | None
    bin: int | None
    sampling_probability: float = 1.0

    @property
    def is_hard(self) -> bool:
        return self.tier in HARD_TIER


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """
    What to label next in a rollout.

    Attributes:
        labels: Requests to label, with the `sampling_probability` to send with their verdicts.
        open: Requests that could be labelled: those that only a judge labelled, or without a judge, unlabelled ones.
        budget: Labels that *standard_errors* assumes.
        standard_errors: Standard error of the change of the failure rate after *budget* labels, by group; ratios.
    """

    labels: Sequence[ServedRequest]
    open: int
    budget: int
    standard_errors: Mapping[TierGroup, float]


def plan_labels(served: Sequence[ServedRequest], *, count: int, budget: int, seed: int) -> LabelPlan:
    """
    Draws requests to label.

    Args:
        served: Requests of both arms.
        count: Requests to draw.
        budget: Labels to compute standard errors for.
        seed: The same seed draws the same requests.
    """
    from monitor.labels.double_sampling import Sources  # noqa: PLC0415  (brings NumPy, for which no start need wait)

    requests = sorted(served, key=lambda request: request.trace_id)
    patterns = Counter(request.said for request in requests)
    is_judged = Sources.of(PatternCount(pattern, number, *[0.0] * 6) for pattern, number in patterns.items()).is_judged
    open_requests = [request for request in requests if _is_open(request.said or "----", is_judged=is_judged)]
    per_arm, hard_per_arm = (Counter(r.arm for r in requests if r.is_hard or not hard) for hard in (False, True))
    audited = Counter((request.arm, request.is_hard) for request in requests if request.said[3:] not in {"", "-"})
    # Standard deviation that each label adds to the failure rate of its arm: of all requests, and of the hard tier.
    deviations, sizes = [], []
    for each, deviation in zip(open_requests, _deviations(requests, open_requests), strict=True):
        deviations.append((deviation / per_arm[each.arm], deviation / hard_per_arm[each.arm] if each.is_hard else 0.0))
        sizes.append(math.hypot(*deviations[-1]) / (audited[each.arm, each.is_hard] + count / 4))
    chances, within_budget = (inclusion_probabilities(sizes, number) for number in (count, budget))
    labels = [
        open_requests[at]._replace(sampling_probability=chances[at] * open_requests[at].sampling_probability)
        for at in systematic_sample(chances, Random(seed))  # noqa: S311  (repeatable, and no secret)
    ]
    errors = {}
    for group, of_group in zip(_GROUPS, zip(*deviations, strict=True), strict=False):
        errors[group] = math.hypot(*(part / chance**0.5 for part, chance in zip(of_group, within_budget, strict=True)))
    standard_errors = {group: error for group, error in errors.items() if error}
    return LabelPlan(labels, len(open_requests), budget, standard_errors)


def inclusion_probabilities(sizes: Sequence[float], count: int) -> Sequence[float]:
    """
    Probabilities proportional to *sizes* (above 0) that add up to *count*, none above 1; all 1 if there are no more.

    Source:
        Tillé (2006), Sampling Algorithms, section 2.10.
    """
    remaining, total, certain = count, sum(sizes), math.inf  # *certain*: least size that is always drawn
    for size in sorted(sizes, reverse=True):
        if size * remaining < total:
            break
        remaining, total, certain = remaining - 1, total - size, size
    return [1.0 if size >= certain else size * remaining / total for size in sizes]


def systematic_sample(chances: Sequence[float], random: Random) -> Sequence[int]:
    """Indexes drawn without replacement, each with its probability: as many as *chances* add up to."""
    order = random.sample(range(len(chances)), len(chances))
    ends = list(accumulate((chances[at] for at in order), initial=-random.random()))
    return [at for at, before, end in zip(order, ends, ends[1:], strict=False) if math.floor(before) < math.floor(end)]


def _is_open(pattern: str, *, is_judged: bool) -> bool:
    """Whether a person's label adds information: no check failed it, no person labelled it, and a judge did if any."""
    return pattern[0] != "f" and pattern[3] == "-" and (pattern[2] != "-" or not is_judged)


def _deviations(requests: Sequence[ServedRequest], open_requests: Sequence[ServedRequest]) -> Sequence[float]:
    """Standard deviation of each open request's label, from the failure rate of similar requests and the judge."""
    labels = Counter(each.success for each in requests)
    similar = Counter((each.tier, each.capability, each.bin, each.success) for each in requests)
    failure_rate = (labels[False] + 0.5) / (labels[False] + labels[True] + 1.0)
    deviations = []
    for each in open_requests:
        failed, passed = (similar[each.tier, each.capability, each.bin, success] for success in (False, True))
        odds = (failed + _PRIOR_LABELS * failure_rate) / (passed + _PRIOR_LABELS * (1.0 - failure_rate))
        odds *= _JUDGE_ODDS.get(each.said[2:3], 1.0)
        deviations.append(max(odds**0.5 / (1.0 + odds), _LEAST_DEVIATION))
    return deviations
