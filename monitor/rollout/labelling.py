"""Checks the labels of a rollout: which are missing, one-sided or wrong; and corrects the counts for it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, repeat
from operator import add

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from monitor.difficulty.tiers import Tier
from monitor.labels import double_sampling
from monitor.labels.double_sampling import JUDGED, MISSING, Array, Rate, Sources
from monitor.labels.source_verdicts import KINDS, SaidCount
from monitor.rollout.cohort import Arm, ArmName, Cohort, Comparison, Stratum, TierGroup, group_of
from monitor.rollout.confidence_sequence import Counts, bernoulli_bounds, differ
from monitor.rollout.verdict import ArmLabels, CountBy, Interval, JudgeDrift, JudgeErrors

LEAST_AUDITS = 30
"""Judged requests of each arm that people must have checked before its rates are corrected..."""

LEAST_AUDITED_SHARE = 0.02
"""... or this share of the judged requests: checks then come as fast as requests, so the verdict can wait."""

ALL_LABELLED = 0.95
"""If so many requests are labelled, hardly any label is missing: without a failure, the service simply never fails."""

_FEW_AUDITS = 10  # of judged failures and of judged passes: a tier with more is corrected by its own audits
_LEFT_OUT = 0.2  # share of the expected audits: fewer are hardly chance
_AS_SAID = np.array([1e12, 1e12, 1e12, 1e12, 0.0, 1e12])  # audits by which the judge never errs
_LEAST_ONE_SIDED = 5  # verdicts of a source that looks at some runs only
_LEAST_ALL_ALIKE = 200  # labels of each arm, whoever gave them
_REPORTED, _JUDGE = KINDS.index("reported"), KINDS.index("judge")
_MOST = 0.5  # share of an arm's requests that reports have to be about, to stand for it
_LEAST_LOOKS = 10  # expected verdicts of a judge: if there are none, it was not there
_DEVIATIONS = 3.0  # standard deviations of a bound that holds at every look
_ASSUMED_ERRORS = 0.05  # error rate of a judge that nobody has checked
FAILURE, SUCCESS = "failure", "success"
_JUDGE_LEVEL = 0.002  # chance of a false alarm about a judge that errs alike in both arms, in each direction
_HOUR = 3_600.0
_DRIFT_LEVEL = _JUDGE_LEVEL / 10  # for each hour that splits a rollout: ten weeks have ten such hours


@dataclass(frozen=True, slots=True)
class Labelling:
    """
    What the labels of a rollout are worth.

    Attributes:
        cohort: With counts corrected for missing and wrong labels (`Stratum.effective`).
        arms: Baseline and candidate; an earlier finding from other labels (`count_by`) may be their error.
        one_sided: `failure` or `success` if the labels never say anything else; empty otherwise.
        moved: Groups in which the judge errs more often in one arm than in the other.
        drift: How the judge changed within an arm; None unless that is shown.
        doubt: Variance of the failure rate that a single audit would give; 0 without a judge.
    """

    cohort: Cohort
    arms: tuple[ArmLabels, ArmLabels] = (ArmLabels(), ArmLabels())
    one_sided: str = ""
    moved: tuple[TierGroup, ...] = ()
    drift: JudgeDrift | None = None
    doubt: float = 0.0

    def audits_needed(self, margin: float) -> int:
        """Further verdicts of people that each arm needs for a failure rate within *margin*, if chosen evenly."""
        enough = math.ceil(_DEVIATIONS**2 * self.doubt / margin**2)
        return max(0, enough - min(each.audited for each in self.arms))


def weigh_labels(cohort: Cohort, *, error_rate: float) -> Labelling:
    """
    What the labels of *cohort* are worth.

    If only the final labels are known, the counts stay as they are.

    Args:
        cohort: Both arms as the ledger counted them.
        error_rate: Chance that a bound on a judge's errors is ever wrong.
    """
    sides = cohort.arms
    said = [_by_words(arm) for arm in sides]
    counts = [[count for _, count in of_arm] for of_arm in said]
    sources = Sources.of(chain(*counts))
    if sources.is_judged and cohort.comparison is Comparison.CONCURRENT:
        sides = _before_the_judge(sides)
        said = [_by_words(arm) for arm in sides]
    one_sided = _one_sided(sides, counts)
    if not sources.looks:
        arms = [_arm_labels(*pair) for pair in zip(sides, counts, strict=True)]
        return Labelling(cohort, (arms[0], arms[1]), one_sided)
    audited = [_audited(of_arm, sources) for of_arm in counts]
    tallies = [_Tallies.of(of_arm, sources) for of_arm in said]
    left_out = _left_out(tallies)
    tallies = [each.believing(left_out) for each in tallies]
    errors = [each.errors() if number else {} for each, number in zip(tallies, audited, strict=True)]
    checked = errors[1].keys() & tallies[0].checked() & tallies[1].checked()
    moved = tuple(group for group, found in errors[0].items() if group in checked and _moved(found, errors[1][group]))
    is_checked = all(_is_checked(*pair, sources) for pair in zip(audited, counts, strict=True))
    is_corrected = is_checked or bool(moved)
    rates = _corrected(tallies) if is_corrected else [each.rates() for each in tallies]
    believed = [_believed(arm, spoken, sources, of) for arm, spoken, of in zip(sides, said, rates, strict=True)]
    before, after = (
        replace(
            _arm_labels(arm, spoken),
            audited=number,
            count_by=CountBy.AUDITS if is_corrected else CountBy.LOOKS,
            correction=tally.correction(of),
            judge={group: _judge_errors(pair, left_out[group], error_rate) for group, pair in found.items()},
            unchecked={
                group: tuple(compress(("failed", "passed"), words)) for group, words in left_out.items() if words.any()
            },
        )
        for arm, spoken, number, tally, of, found in zip(believed, counts, audited, tallies, rates, errors, strict=True)
    )
    named = zip(ArmName, sides, audited, strict=True)
    drifts = (_drift(name, arm, sources) for name, arm, number in named if number)
    return Labelling(
        replace(cohort, baseline=believed[0], candidate=believed[1]),
        (before, after),
        one_sided,
        moved,
        next(filter(None, drifts), None),
        max(each.doubt(is_checked=is_checked) for each in tallies) if sources.is_judged else 0.0,
    )


def _before_the_judge(arms: tuple[Arm, Arm]) -> tuple[Arm, Arm]:
    """
    The arms, with reports in place of the judge's verdicts in the hours before its first one.

    Beside a judge a reported pass does not count, but before there was one it is all there is. Both arms served in
    those hours, most of their requests have such a report, and a judge would have looked at some; otherwise the arms
    stay as they are.
    """
    strata = [*chain(*(arm.strata for arm in arms))]
    looks = [(each.block, said.requests) for each in strata for said in each.said if _has_spoken(_JUDGE, said.words)]
    first = min((block for block, _ in looks), default=0)
    before, since = (sum(each.requests for each in strata if (each.block < first) is so) for so in (True, False))
    if before * sum(judged for _, judged in looks) < _LEAST_LOOKS * since:
        return arms
    for arm in arms:
        early = [each for each in arm.strata if each.block < first]
        reported = sum(said.requests for each in early for said in each.said if _has_spoken(_REPORTED, said.words))
        if reported <= _MOST * sum(each.requests for each in early):
            return arms
    baseline, candidate = (
        replace(arm, strata=[_as_judged(each) if each.block < first else each for each in arm.strata]) for arm in arms
    )
    return baseline, candidate


def _as_judged(stratum: Stratum) -> Stratum:
    """*stratum*, with what was reported in the judge's place."""
    # Words are empty where nobody has said anything yet.
    said = [SaidCount(words and f"{words[0]}-{words[1]}{words[3]}", *numbers) for words, *numbers in stratum.said]
    return structs.replace(stratum, said=said)


def _has_spoken(place: int, words: str) -> bool:
    """Whether the source at *place* of `KINDS` said anything of requests with these *words*."""
    return words[place : place + 1] not in {"", "-"}


_Said = Sequence[tuple[Tier, SaidCount]]


def _by_words(arm: Arm) -> _Said:
    """What was said of the requests of *arm*, by tier; hours and classes are too many to weigh one by one."""
    sums: dict[tuple[Tier, str], Sequence[float]] = {}
    for stratum in arm.strata:
        for words, *numbers in stratum.said:
            sums[stratum.tier, words] = [*map(add, sums.get((stratum.tier, words), repeat(0.0)), numbers)]
    return [(tier, SaidCount(words, *numbers)) for (tier, words), numbers in sums.items()]


_Errors = tuple[tuple[float, float], tuple[float, float]]
_Words = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Tallies:
    """What was said of the requests of one arm, by tier."""

    by_tier: Mapping[Tier, Array]

    @classmethod
    def of(cls, said: _Said, sources: Sources) -> _Tallies:
        by_tier: dict[Tier, Array] = defaultdict(lambda: np.zeros(14))
        for tier, count in said:
            by_tier[tier] += sources.tally(count)
        return cls(dict(by_tier))

    def believing(self, left_out: Mapping[TierGroup, _Words]) -> _Tallies:
        """The same, with the judge taken at its word for what people leave out when they check it."""
        by_tier = {tier: tally.copy() for tier, tally in self.by_tier.items()}
        for tier, tally in by_tier.items():
            tally[8:14] = np.where(np.repeat(left_out[group_of(tier)], 3), _AS_SAID, tally[8:14])
        return _Tallies(by_tier)

    def group(self, tier: Tier) -> Array:
        """The sum over all tiers in the group of *tier*."""
        of_group = [each for other, each in self.by_tier.items() if group_of(other) is group_of(tier)]
        return np.asarray(np.sum(of_group, axis=0))

    def rates(self) -> Mapping[Tier, Rate]:
        return {tier: double_sampling.estimate(tally) for tier, tally in self.by_tier.items()}

    def corrected(self, own: set[Tier]) -> Mapping[Tier, Rate]:
        """Rates, each corrected by the tier's own audits if it is in *own*, else by its part of the group's audits."""
        rates = {}
        for tier, tally in self.by_tier.items():
            audits = tally[8:14]
            if tier not in own:
                group = self.group(tier)
                # Tiers that share audits share their error: each gets a part, and the parts add up to all of them.
                part = np.repeat(tally[3:5] / np.maximum(group[3:5], 1e-300), 3)
                audits = group[8:14] * part
            rates[tier] = double_sampling.estimate(tally, audits)
        return rates

    def correction(self, corrected: Mapping[Tier, Rate]) -> float:
        """By how much the correction changed the failure rate of all requests."""
        requests = sum(float(tally[0]) for tally in self.by_tier.values())
        plain = self.rates()
        return sum(float(self.by_tier[t][0]) * (corrected[t].rate - plain[t].rate) for t in plain) / max(requests, 1.0)

    def doubt(self, *, is_checked: bool) -> float:
        """Variance of the failure rate that a single audit would give."""
        tally = np.sum(list(self.by_tier.values()), axis=0)
        return double_sampling.doubt(tally, tally[8:14]) if is_checked else _ASSUMED_ERRORS * (1.0 - _ASSUMED_ERRORS)

    def by_group(self) -> Mapping[TierGroup, Array]:
        sums: dict[TierGroup, Array] = {}
        for tier, tally in self.by_tier.items():
            for group in {TierGroup.ALL, group_of(tier)}:
                sums[group] = sums.get(group, np.zeros(14)) + tally
        return {group: sums[group] for group in TierGroup if group in sums}

    def errors(self) -> Mapping[TierGroup, _Errors]:
        return {group: double_sampling.judge_errors(tally, tally[8:14]) for group, tally in self.by_group().items()}

    def checked(self) -> set[TierGroup]:
        """Groups in which people checked enough of the judge's failures and of its passes, if it has any."""
        tallies = self.by_group().items()
        return {group for group, each in tallies if np.all((_audits(each) >= _FEW_AUDITS) | (each[3:5] == 0))}


def _audits(tally: Array) -> Array:
    """Independent audits of the judge's failures and of its passes, shape (2,)."""
    return np.asarray(tally[[8, 11]] ** 2 / np.maximum(tally[[10, 13]], 1e-300))


def _left_out(tallies: Sequence[_Tallies]) -> Mapping[TierGroup, _Words]:
    """By group: whether people leave out the judge's failures, or its passes, in either arm; shapes (2,)."""
    found: dict[TierGroup, _Words] = {}
    for of_arm in tallies:
        groups = {group_of(tier): of_arm.group(tier) for tier in of_arm.by_tier}
        audited = sum(float(_audits(tally).sum()) for tally in groups.values())
        share = audited / max(sum(float(tally[3:5].sum()) for tally in groups.values()), 1.0)
        for group, tally in groups.items():
            due = tally[3:5] * share  # expected audits if they were spread evenly
            few = (due >= _FEW_AUDITS) & (_audits(tally) < np.minimum(due * _LEFT_OUT, _FEW_AUDITS))
            found[group] = found.get(group, np.zeros(2, dtype=bool)) | few
    return {**found, TierGroup.ALL: np.any([*found.values()], axis=0)}


def _corrected(tallies: Sequence[_Tallies]) -> list[Mapping[Tier, Rate]]:
    """Rates of both arms; a tier is corrected by its own audits if it has enough of them in both arms."""
    tiers = {tier for each in tallies for tier in each.by_tier}
    known = [tier for tier in tiers if all(tier in each.by_tier for each in tallies)]
    own = {tier for tier in known if min(_audits(each.by_tier[tier]).min() for each in tallies) >= _FEW_AUDITS}
    return [each.corrected(own) for each in tallies]


def _believed(arm: Arm, said: _Said, sources: Sources, rates: Mapping[Tier, Rate]) -> Arm:
    unheard = _unheard(said, sources)
    parts = {(tier, said.words): (sources.place(said.words), rates[tier]) for tier, said in said}
    return replace(arm, strata=[_as_believed(each, parts, unheard.get(each.tier, 0.0)) for each in arm.strata])


def _unheard(said: _Said, sources: Sources) -> Mapping[Tier, float]:
    """By tier: share of the requests without errors that no sampled verdict represents, beyond chance."""
    sums: dict[Tier, Array] = defaultdict(lambda: np.zeros(3))
    for tier, count in said:
        place = sources.place(count.words)
        if place == MISSING or place >= JUDGED:
            heard = place != MISSING
            sums[tier] += (count.requests, heard * count.looked, heard * count.looked_squared)
    return {
        tier: max(0.0, 1.0 - (looked + _DEVIATIONS * math.sqrt(max(squares - looked, 0.0))) / max(requests, 1.0))
        for tier, (requests, looked, squares) in sums.items()
    }


def _as_believed(stratum: Stratum, parts: Mapping[tuple[Tier, str], tuple[int, Rate]], unheard: float) -> Stratum:
    if not stratum.said:
        return stratum
    requests = failures = labelled = failed = missing = 0.0
    for count in stratum.said:
        place, rate = parts[stratum.tier, count.words]
        of = rate.of(count, place)
        requests, failures = requests + of[0], failures + of[1]
        if place != MISSING:
            labelled, failed = labelled + count.labelled, failed + count.failures
        sampled = place == MISSING or place >= JUDGED
        missing += unheard * count.requests if sampled else count.requests - count.labelled
    return structs.replace(
        stratum, labelled=int(labelled), failures=int(failed), effective=(requests, failures), missing=missing
    )


def _arm_labels(arm: Arm, counts: Iterable[SaidCount]) -> ArmLabels:
    spoken: Counter[str] = Counter()
    unfinished = 0
    for count in counts:
        unfinished += int(count.requests - count.labelled) if not count.words else 0
        for kind, word in zip(KINDS, count.words, strict=False):
            spoken[kind] += int(count.requests) if word != "-" else 0
    # Share of requests that are labelled or represented by labelled ones.
    coverage = 1.0 - sum(stratum.unlabelled for stratum in arm.strata) / arm.requests if arm.requests else None
    return ArmLabels(coverage=coverage, sources=dict(+spoken), unfinished=unfinished)


def _audited(counts: Iterable[SaidCount], sources: Sources) -> int:
    return int(sum(of.requests for of in counts if of.words and "-" not in (of.words[sources.judge], of.words[3])))


def _is_checked(audited: int, counts: Iterable[SaidCount], sources: Sources) -> bool:
    judged = sum(each.requests for each in counts if _has_spoken(sources.judge, each.words))
    return audited > 0 and audited >= min(LEAST_AUDITS, LEAST_AUDITED_SHARE * judged)


def _one_sided(arms: Sequence[Arm], counts: Iterable[Iterable[SaidCount]]) -> str:
    """`failure` or `success` if all labels say that, or all of the sources that look at some runs only; else empty."""
    passed = failed = silent = 0.0
    for count in chain(*counts):
        others = count.words[1:]
        failed += count.requests * ("f" in others)
        passed += count.requests * ("p" in others and "f" not in others)
        silent += count.requests * (not others.strip("-"))
    if failed >= _LEAST_ONE_SIDED and not passed:
        return FAILURE
    if passed >= _LEAST_ALL_ALIKE and not failed and silent > passed and not any(arm.failures for arm in arms):
        return SUCCESS
    if min(arm.labelled for arm in arms) < _LEAST_ALL_ALIKE:
        return ""
    failures, labelled = (sum(getattr(arm, name) for arm in arms) for name in ("failures", "labelled"))
    if failures == labelled:
        return FAILURE
    return SUCCESS if not failures and labelled < ALL_LABELLED * sum(arm.requests for arm in arms) else ""


def _judge_errors(pair: _Errors, left_out: _Words, error_rate: float) -> JudgeErrors:
    told = (None if is_out else _interval(*each, error_rate) for each, is_out in zip(pair, left_out, strict=True))
    return JudgeErrors(*told)


def _interval(requests: float, errors: float, error_rate: float) -> Interval | None:
    if requests <= 0:
        return None
    return Interval(errors / requests, *bernoulli_bounds(errors, requests, error_rate=error_rate))


def _moved(before: _Errors, after: _Errors, level: float = _JUDGE_LEVEL) -> bool:
    return any(differ(Counts(*old), Counts(*new), level=level) for old, new in zip(before, after, strict=True))


def _drift(name: ArmName, arm: Arm, sources: Sources) -> JudgeDrift | None:
    """
    How the judge's errors changed at some hour; None unless that is shown.

    The hour stays the same until the arm has served twice as long, so that later requests are always compared from the
    same beginning. Each tier group is compared with itself: more hard requests do not mean that the judge changed. If
    people left out the judge's failures or its passes, before that hour or after it, its errors there are unknown.
    """
    hours = [stratum.block for stratum in arm.strata if stratum.said]
    first, last = min(hours, default=0), max(hours, default=0)
    since = first + (1 << max((last - first + 1).bit_length() - 2, 0))
    parts = ([each for each in arm.strata if (each.block >= since) is is_late] for is_late in (False, True))
    before, after = (_Tallies.of(_by_words(replace(arm, strata=part)), sources) for part in parts)
    groups = {*before.by_group(), *after.by_group()} - {TierGroup.ALL} or {TierGroup.ALL}
    for group in sorted(groups & before.checked() & after.checked()):
        old, new = before.errors()[group], after.errors()[group]
        if _moved(old, new, _DRIFT_LEVEL):
            told = (JudgeErrors(*(_interval(*pair, _DRIFT_LEVEL) for pair in each)) for each in (old, new))
            return JudgeDrift(name, group, since * _HOUR, *told)
    return None
