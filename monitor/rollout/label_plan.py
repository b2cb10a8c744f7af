"""
What to label next: requests whose labels tell most, drawn with known chances.

The chance of a request is in proportion to its part in the change of the failure rate, of all requests and of the hard
tier, times the standard deviation of its label (Neyman 1934, J. R. Stat. Soc. 97:558), and larger where people have
labelled little. The draw is Madow's systematic sampling (1949, Ann. Math. Stat. 20:333) in random order: as many as
asked for, each with exactly its chance, so one over the chance is the weight of a person's verdict (Horvitz and
Thompson 1952, J. Am. Stat. Assoc. 47:663).
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
from monitor.labels.source_verdicts import SaidCount
from monitor.rollout.cohort import ArmName, TierGroup

_JUDGE_ODDS = {"f": 19.0, "p": 1 / 19}  # of a judge that is right on 95 % of the runs, before people have checked it
_PRIOR_LABELS = 10.0  # that all requests lend to those of one tier, class and difficulty
_GROUPS = TierGroup.ALL, TierGroup.HARD
_LEAST_DEVIATION = 0.1  # what looks certain is asked about as well, should the guess be wrong


class ServedRequest(NamedTuple):
    """
    A request of one arm.

    Attributes:
        tier: The declared one, else the learnt one.
        said: The verdicts on it, as in `Said.words`; empty without any.
        success: What the label says that counts, or None.
        bin: Its difficulty.
        sampling_probability: Chance that it was chosen, ratio; before a draw, the chance that it was read.
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
        labels: Requests to label, with the chances to send with their verdicts.
        open: How many could be: what a judge labelled and no person did, or without a judge, what has no label.
        budget: Labels that the errors are for.
        standard_errors: Those that as many labels alone leave in the change of the failure rate; ratios.
    """

    labels: Sequence[ServedRequest]
    open: int
    budget: int
    standard_errors: Mapping[TierGroup, float]


def plan_labels(served: Sequence[ServedRequest], *, count: int, budget: int, seed: int) -> LabelPlan:
    """*count* of the requests *served* by both arms, the same for one *seed*, and what *budget* labels would buy."""
    from monitor.labels.double_sampling import Sources  # noqa: PLC0415  (brings NumPy, for which no start need wait)

    requests = sorted(served, key=lambda each: each.trace_id)
    said = Counter(each.said for each in requests)
    is_judged = Sources.of(SaidCount(words, number, *[0.0] * 6) for words, number in said.items()).is_judged
    candidates = [each for each in requests if _is_open(each.said or "----", is_judged=is_judged)]
    of_arm, of_hard = (Counter(each.arm for each in requests if each.is_hard or not hard) for hard in (False, True))
    checked = Counter((each.arm, each.is_hard) for each in requests if each.said[3:] not in {"", "-"})
    # What each label may change in the failure rate of all requests of its arm, and of its hard tier.
    doubts, sizes = [], []
    for each, deviation in zip(candidates, _deviations(requests, candidates), strict=True):
        doubts.append((deviation / of_arm[each.arm], deviation / of_hard[each.arm] if each.is_hard else 0.0))
        sizes.append(math.hypot(*doubts[-1]) / (checked[each.arm, each.is_hard] + count / 4))
    by_group = list(zip(*doubts, strict=True))
    chances, bought = (inclusion_probabilities(sizes, number) for number in (count, budget))
    labels = [
        candidates[at]._replace(sampling_probability=chances[at] * candidates[at].sampling_probability)
        for at in systematic_sample(chances, Random(seed))  # noqa: S311  (repeatable, and no secret)
    ]
    errors = [math.hypot(*(doubt / chance**0.5 for doubt, chance in zip(of, bought, strict=True))) for of in by_group]
    left = {group: error for group, error in zip(_GROUPS, errors, strict=False) if error}
    return LabelPlan(labels, len(candidates), budget, left)


def inclusion_probabilities(sizes: Sequence[float], count: int) -> Sequence[float]:
    """
    Chances in proportion to *sizes* (above 0) that add up to *count*, none above 1; all 1 where there are no more.

    Source:
        Tillé (2006), Sampling Algorithms, section 2.10.
    """
    left, rest, certain = count, sum(sizes), math.inf
    for size in sorted(sizes, reverse=True):
        if size * left < rest:
            break
        left, rest, certain = left - 1, rest - size, size
    return [1.0 if size >= certain else size * left / rest for size in sizes]


def systematic_sample(chances: Sequence[float], random: Random) -> Sequence[int]:
    """Places that are drawn, each with its chance: as many as *chances* add up to."""
    order = random.sample(range(len(chances)), len(chances))
    ends = list(accumulate((chances[at] for at in order), initial=-random.random()))
    return [at for at, before, end in zip(order, ends, ends[1:], strict=False) if math.floor(before) < math.floor(end)]


def _is_open(words: str, *, is_judged: bool) -> bool:
    return words[0] != "f" and words[3] == "-" and (words[2] != "-" or not is_judged)


def _deviations(requests: Sequence[ServedRequest], candidates: Sequence[ServedRequest]) -> Sequence[float]:
    """Standard deviation of the label of each candidate: by the failures of its like, and the judge."""
    words = Counter(each.success for each in requests)
    labels = Counter((each.tier, each.capability, each.bin, each.success) for each in requests)
    fails = (words[False] + 0.5) / (words[False] + words[True] + 1.0)
    deviations = []
    for each in candidates:
        failed, passed = (labels[each.tier, each.capability, each.bin, word] for word in (False, True))
        odds = (failed + _PRIOR_LABELS * fails) / (passed + _PRIOR_LABELS * (1.0 - fails))
        odds *= _JUDGE_ODDS.get(each.said[2:3], 1.0)
        deviations.append(max(odds**0.5 / (1.0 + odds), _LEAST_DEVIATION))
    return deviations
