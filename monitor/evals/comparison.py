"""What the pairs say, counted and bounded: over all, by tier and class, and the hard tier's share of failures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, expit, logit, ndtr, ndtri

from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, TIERS, Tier
from monitor.difficulty.trust import wilson
from monitor.evals.cases import Case, Pair
from monitor.rollout.decomposition import decompose
from monitor.rollout.verdict import Decomposition, Interval, ShareComparison

_Array = NDArray[np.float64]
_Kind = TypeVar("_Kind", bound=Hashable)

_DRAWS = 4_000
_SEED = 20_261_125
_CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
_PRIOR_WEIGHT = 0.25
_MOST_STEPS = 60
_LONGEST_STEP = 2.0
_SMALLEST_SLOPE = 1e-12
_TOLERANCE = 1e-10
_SMALLEST_RATE = 1e-6
_LOGISTIC = np.pi / 8
_GROUP_WIDTH = 0.25
_FINEST_SCALE = 5_040  # divisible by 1 to 10: repeats seldom come in other numbers


@dataclass(frozen=True, slots=True)
class Rates:
    """
    Pass rates of one run; one entry per case.

    Attributes:
        passing: Ratio 0 to 1.
        attempts: Scored attempts behind each rate, at least 1.
        worth: Independent cases that say as much as one whose score may be wrong; ratio 0 to 1.
    """

    passing: _Array
    attempts: NDArray[np.int64]
    worth: float = 1.0


def rates_of(cases: Sequence[Case]) -> Rates:
    """The pass rates of *cases*, each of which has a score."""
    attempts = np.array([case.scored for case in cases], dtype=np.int64)
    return Rates(np.array([case.rate for case in cases]), attempts, worth(cases))


def score_interval(rate: float, cases: float, *, confidence: float) -> Interval:
    """
    Score interval of a proportion.

    Args:
        rate: Ratio 0 to 1.
        cases: Independent cases that it rests on, above 0.
        confidence: Ratio 0 to 1.

    >>> score_interval(0.0, 10, confidence=0.95)
    Interval(estimate=0.0, lower=0.0, upper=0.2775327998628892)
    """
    return Interval(rate, *wilson(rate, cases, z=float(ndtri(0.5 + confidence / 2.0))))


def pass_rate(rates: Rates, *, confidence: float) -> Interval:
    """
    Mean of *rates* with score bounds; repeats of a case count as far as they tell more than one attempt.

    Source:
        The effective sample size of clustered proportions of Rao and Scott (1992), Biometrics 48:577.
    """
    return score_interval(float(rates.passing.mean()), _effective_cases(rates) * rates.worth, confidence=confidence)


def paired_change(before: Rates, after: Rates, *, confidence: float) -> Interval:
    """
    Mean of *after* minus *before*, of the same cases, in [-1, 1], with bounds.

    Each case weighs the same, however often it was repeated. Where every case was asked once in both runs, this is
    Newcombe's method 10 to the digit; with repeats, the same square-and-add rule on the effective sample sizes.

    Source:
        Newcombe (1998), Statistics in Medicine 17:2635, method 10, recommended for paired proportions by Fagerland,
        Lydersen and Laake (2014), Statistics in Medicine 33:2850; square-and-add of any two bounded estimates by Zou
        and Donner (2008), Statistics in Medicine 27:1693.
    """
    old, new = pass_rate(before, confidence=confidence), pass_rate(after, confidence=confidence)
    shared = _correlation(before, after)
    change = new.estimate - old.estimate
    below = _square_and_add(new.estimate - new.lower, old.upper - old.estimate, shared)
    above = _square_and_add(new.upper - new.estimate, old.estimate - old.lower, shared)
    return Interval(change, max(change - below, -1.0), min(change + above, 1.0))


def exact_p_value(before: Rates, after: Rates) -> float:
    """
    Two-sided probability of a change at least this large, were the version without any influence on any case.

    Under that hypothesis the two runs of a case may be swapped, so the sign of each case's difference is a coin. Where
    every case was asked once, this is McNemar's exact test.

    Source:
        McNemar (1947), Psychometrika 12:153; the permutation test of Fisher (1935), The Design of Experiments, 21.

    >>> ones = np.ones(8, dtype=np.int64)
    >>> exact_p_value(Rates(np.ones(8), ones), Rates(np.array([0, 0, 0, 0, 0, 0, 1, 1.0]), ones))
    0.03125
    """
    attempts = np.unique(np.concatenate([before.attempts, after.attempts]))
    scale = min(math.lcm(*attempts.tolist()), _FINEST_SCALE)
    steps = np.rint((after.passing - before.passing) * scale).astype(np.int64)
    steps = steps[steps != 0]
    if not len(steps):
        return 1.0
    sizes, counts = np.unique(np.abs(steps), return_counts=True)
    common = int(np.gcd.reduce(sizes))
    sizes, reached = sizes // common, abs(int(steps.sum())) // common
    if len(sizes) == 1:
        # Of the rarer sign.
        return min(1.0, 2.0 * float(bdtr((int(counts[0]) - reached) // 2, counts[0], 0.5)))
    from scipy.signal import fftconvolve  # noqa: PLC0415  (every command would wait two seconds for these imports)
    from scipy.stats import binom  # noqa: PLC0415

    distribution = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        spread = np.zeros(2 * size * count + 1)
        spread[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.clip(fftconvolve(distribution, spread), 0.0, None)
    middle = len(distribution) // 2
    return min(1.0, 2.0 * float(distribution[middle + reached :].sum())) if reached else 1.0


def holm(p_values: Mapping[_Kind, float]) -> Mapping[_Kind, float]:
    """
    *p_values* of several questions, raised so that the chance of one false discovery among them stays bounded.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6:65.

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    raised: dict[_Kind, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        raised[name] = largest
    return {name: raised[name] for name in p_values}


def simultaneous(confidence: float, questions: int) -> float:
    """
    Confidence that each of several bounds needs, for all of them to hold together (Bonferroni).

    >>> round(simultaneous(0.95, 5), 3)
    0.99
    """
    return 1.0 - (1.0 - confidence) / max(questions, 1)


def _effective_cases(rates: Rates) -> float:
    """Independent attempts that say as much as the repeated ones: from one per case to all of them."""
    cases, total, rate = len(rates.passing), int(rates.attempts.sum()), float(rates.passing.mean())
    if total == cases or cases < _FEWEST_TO_SPREAD or rate in {0.0, 1.0}:
        return float(cases)
    variance = float(rates.passing.var(ddof=1)) / cases
    return float(total) if variance == 0.0 else min(max(rate * (1.0 - rate) / variance, float(cases)), float(total))


_FEWEST_TO_SPREAD = 2


def _correlation(before: Rates, after: Rates) -> float:
    """Correlation of the two runs over cases, with Newcombe's correction towards none."""
    old, new, worth = before.passing, after.passing, before.worth * after.worth
    spread = float(old.std() * new.std())
    if worth < 1.0:  # what a score may hide spreads the cases beyond what their corrected rates show
        one, other = float(old.mean()), float(new.mean())
        spread = math.sqrt(one * (1.0 - one) * other * (1.0 - other) / worth)
    if spread == 0.0:
        return 0.0
    covariance = float(((old - old.mean()) * (new - new.mean())).mean())
    if covariance > 0.0:
        covariance = max(covariance - 1.0 / (2.0 * len(old)), 0.0)
    return covariance / spread


def _square_and_add(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one * one - 2.0 * correlation * one * other + other * other, 0.0))


@dataclass(frozen=True, slots=True)
class ShareReport(ShareComparison):
    """
    The share over the cases that have a tier; the suite is the traffic.

    Attributes:
        decomposition: What of the change easier and hard tiers did; None where a step has no failure to share out.
    """

    decomposition: Decomposition | None


def measure_share(pairs: Sequence[Pair], *, confidence: float) -> ShareReport | None:
    """
    The share over those of *pairs* that have a tier; None where a run fails none of them.

    The suite is taken as it is: bounds say what other cases like those of each tier would have done. They are those of
    a Bayesian bootstrap over cases, with one pseudo-case per tier so that a tier without a failure is not taken to be
    without doubt.

    Source:
        Rubin (1981), Annals of Statistics 9:130; the pseudo-case as in Perks (1947), J. Inst. Actuaries 73:285.
    """
    groups = _groups(pairs)
    if not groups:
        return None
    failures = [np.array([(1.0 - pair.before, 1.0 - pair.after) for pair in group]) for group in groups.values()]
    before, after = np.array([each.mean(axis=0) for each in failures]).T
    suite = _Suite(groups)
    if min(before @ suite.mix, after @ suite.mix) <= 0.0:
        return None
    baseline, candidate = float(suite.hard_shares(before)), float(suite.hard_shares(after))
    expected = float(suite.expected_shares(before[None, :], after[None, :])[0])
    random = np.random.default_rng(_SEED)
    prior_weights = [_PRIOR_WEIGHT / suite.tiers.count(tier) for tier in suite.tiers]
    parts = zip(failures, groups.values(), prior_weights, strict=True)
    drawn = np.array([_draw(random, *part) for part in parts])  # by group, run, draw
    draws_before, draws_after = drawn[:, 0].T, drawn[:, 1].T
    shares_before, shares_after = suite.hard_shares(draws_before), suite.hard_shares(draws_after)
    excess = shares_after - suite.expected_shares(draws_before, draws_after)
    return ShareReport(
        baseline=_bounded(baseline, shares_before, confidence),
        candidate=_bounded(candidate, shares_after, confidence),
        change=_bounded(candidate - baseline, shares_after - shares_before, confidence),
        expected_change=expected - baseline,
        excess=_bounded(candidate - expected, excess, confidence),
        decomposition=_decomposition(suite, before, after),
    )


def _groups(pairs: Sequence[Pair]) -> Mapping[tuple[Tier, int], Sequence[Pair]]:
    """Cases of one tier that are about equally hard, easiest first."""

    def step(pair: Pair) -> int:
        logit = pair.grade.difficulty_logit
        return 0 if logit is None else round(logit / _GROUP_WIDTH)

    tiered = [pair for pair in pairs if pair.tier is not Tier.UNTIERED]
    groups = _grouped(tiered, lambda pair: (TIERS.index(pair.tier), step(pair)))
    return {(TIERS[place], at): groups[place, at] for place, at in sorted(groups)}


def _draw(random: np.random.Generator, failures: _Array, pairs: Sequence[Pair], prior_weight: float) -> _Array:
    """
    Believable mean failure rates of *pairs* before and after, shape (2, draws).

    Args:
        random: Draws.
        failures: Failure rates before and after of each case, shape (cases, 2).
        pairs: The cases.
        prior_weight: Weight of each pseudo-case.
    """
    kinds, counts = np.unique(np.concatenate([failures, _CORNERS]), axis=0, return_counts=True)
    is_corner = ((kinds == 0.0) | (kinds == 1.0)).all(axis=1)
    weights = counts - is_corner * (1.0 - prior_weight)
    drawn: _Array = (random.dirichlet(weights, size=_DRAWS) @ kinds).T
    hidden = _hidden(pairs)
    if hidden.any():
        # Never quite 0 or 1: a run without any failure has no share, and a rate of 0 or 1 no place on the curve.
        drawn = np.clip(random.normal(drawn, np.sqrt(hidden)), 1e-6, 1.0 - 1e-6)
    return drawn


def _hidden(pairs: Sequence[Pair]) -> _Array:
    """Variance of the mean rates that the cases do not show, since scores may be wrong, shape (2, 1)."""
    hidden = np.zeros((2, 1))
    for run, cases in enumerate(([pair.baseline for pair in pairs], [pair.candidate for pair in pairs])):
        known = [case.belief.known for case in cases if case.belief is not None]
        seen = float(np.var([case.rate for case in cases]))
        hidden[run] = max(float(np.mean(known)) - seen, 0.0) / len(cases) if known else 0.0
    return hidden


class _Suite:
    """
    The suite's mix of groups; arrays have shape (groups,), rates (..., groups).

    Attributes:
        mix: Cases per group, sums to 1.
        is_hard: 1 for groups of the hard tier, else 0.
        difficulty_logit: Of each group, or None where the baseline's own failures have to tell.
        attenuation: How much flatter the curve of a group is for the spread of its difficulty.
        tiers: Tier of each group.
    """

    def __init__(self, groups: Mapping[tuple[Tier, int], Sequence[Pair]]) -> None:
        cases = np.array([len(group) for group in groups.values()], dtype=float)
        grades = [[pair.grade for pair in group] for group in groups.values()]
        logits = [[grade.difficulty_logit for grade in group if grade.difficulty_logit is not None] for group in grades]
        variances = np.array([np.mean([grade.difficulty_variance for grade in group]) for group in grades])
        is_known = sum(map(len, logits)) == cases.sum()
        self.mix = cases / cases.sum()
        self.tiers = [tier for tier, _ in groups]
        self.is_hard = np.array([tier in HARD_TIER for tier in self.tiers], dtype=float)
        self.difficulty_logit = np.array(list(map(np.mean, logits))) if is_known else None
        self.attenuation = 1.0 / np.sqrt(1.0 + _LOGISTIC * variances)

    def hard_shares(self, rates: _Array) -> _Array:
        """The hard groups' share of failures, for rates that fail something."""
        shares: _Array = rates @ (self.mix * self.is_hard) / (rates @ self.mix)
        return shares

    def expected_shares(self, before: _Array, after: _Array) -> _Array:
        """
        The candidate's share, had its whole change been the same gain in logits for every case; row by row.

        Source:
            The model of Rasch (1960). Where cases have a difficulty, its curve is laid through both runs and the share
            moves as the curve does; with labels only, the baseline's failure rate is each tier's place on it.
        """
        aggregate = after @ self.mix
        if self.difficulty_logit is None:
            return self._share_at(logit(np.clip(before, _SMALLEST_RATE, 1.0 - _SMALLEST_RATE)), aggregate)
        known = np.broadcast_to(self.difficulty_logit, before.shape)
        moved = self._share_at(known, aggregate) - self._share_at(known, before @ self.mix)
        return self.hard_shares(before) + moved

    def _share_at(self, difficulty: _Array, aggregate: _Array) -> _Array:
        """Hard share on the curve of the ability that fails *aggregate* of the suite."""
        ability = np.zeros(len(aggregate))
        for _ in range(_MOST_STEPS):
            rates = expit((difficulty + ability[:, None]) * self.attenuation)
            slope = (rates * (1.0 - rates)) @ (self.mix * self.attenuation)
            step = (rates @ self.mix - aggregate) / np.maximum(slope, _SMALLEST_SLOPE)
            ability -= np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
            if np.abs(step).max() < _TOLERANCE:
                break
        return self.hard_shares(expit((difficulty + ability[:, None]) * self.attenuation))


def _decomposition(suite: _Suite, before: _Array, after: _Array) -> Decomposition | None:
    of_tier = np.array([[each is tier for each in suite.tiers] for tier in TIERS], dtype=float) * suite.mix
    mix = of_tier.sum(axis=1)
    cases = np.where(mix > 0.0, mix, 1.0)
    return decompose([mix, mix], [of_tier @ before / cases, of_tier @ after / cases])


def _bounded(estimate: float, draws: _Array, confidence: float) -> Interval:
    """Bounds at equal tails of *draws*; the estimate is always within."""
    lower, upper = np.quantile(draws, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(estimate, min(float(lower), estimate), max(float(upper), estimate))


@dataclass(frozen=True, slots=True)
class Stratum:
    """
    Both runs on the same cases.

    Attributes:
        cases: Cases with a score in both runs.
        hard_cases: Those in the hard tier.
        passed_before, passed_after: Sum of the cases' pass rates: a whole number where every case was asked once.
        before, after: Pass rates with bounds, ratio 0 to 1.
        newly_failing, newly_passing: Cases whose majority of attempts changed sides.
        change: After minus before, paired, with bounds.
        p_value: Exact, two-sided, raised for the strata looked at beside this one.
        level: Largest p-value that shows a change, ratio 0 to 1.
        flaky: Cases that passed some attempts and failed others within a run.
        tries: Attempts that every case has in both runs.
        all_tries_before, all_tries_after: Chance that a case passes so many attempts in a row (pass^k), ratio 0 to 1.
    """

    cases: int
    hard_cases: int
    passed_before: float
    passed_after: float
    before: Interval
    after: Interval
    newly_failing: int
    newly_passing: int
    change: Interval
    p_value: float
    level: float
    flaky: int
    tries: int
    all_tries_before: float
    all_tries_after: float

    @property
    def has_risen(self) -> bool:
        """Shown to pass more often: the bounds and the exact test agree."""
        return self.change.lower > 0.0 and self.p_value <= self.level

    @property
    def has_fallen(self) -> bool:
        """Shown to pass less often, as in `has_risen`."""
        return self.change.upper < 0.0 and self.p_value <= self.level

    @property
    def failures_before(self) -> float:
        """Cases less those passed; a whole number where every case was asked once."""
        return self.cases - self.passed_before

    @property
    def failures_after(self) -> float:
        """As `failures_before`, of the candidate."""
        return self.cases - self.passed_after


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Everything that is counted.

    Attributes:
        aggregate: All pairs; None where no case has a score in both runs.
        tiers: Tiers that have cases, easiest first, untiered last.
        hard_tier: Hard and frontier together; None without such a case.
        easier_tiers: Easy and medium together; None without such a case.
        capabilities: By class.
        share: None while it is unknown.
        confidence: Of all bounds together, over the tiers or over the capabilities.
    """

    aggregate: Stratum | None
    tiers: Mapping[Tier, Stratum]
    hard_tier: Stratum | None
    easier_tiers: Stratum | None
    capabilities: Mapping[str, Stratum]
    share: ShareReport | None
    confidence: float

    def rows(self) -> Mapping[str, Stratum]:
        """Tiers easiest first, the hard tier where it is more than one of them, and everything: as tables show them."""
        rows = {tier.value: stratum for tier, stratum in self.tiers.items()}
        if self.hard_tier is not None and Tier.FRONTIER in self.tiers:
            rows["hard tier"] = self.hard_tier
        return rows if self.aggregate is None else {**rows, "all": self.aggregate}

    def judged(self) -> Mapping[str, Stratum]:
        """What a verdict is about, by the name of its scope."""
        main = {"all": self.aggregate, "hard": self.hard_tier, "easier": self.easier_tiers}
        classes = {f"capability:{name}": stratum for name, stratum in self.capabilities.items()}
        classes = classes if len(classes) > 1 else {}  # one class is everything over again
        return {name: stratum for name, stratum in (main | classes).items() if stratum is not None}


def compare(pairs: Sequence[Pair], *, confidence: float) -> Comparison:
    """
    What *pairs* say.

    Args:
        pairs: Cases with a score in both runs.
        confidence: That all bounds of the tiers hold together, and all of the capabilities, ratio 0 to 1. The bounds of
            everything, of the hard tier and of the easier tiers hold one by one; their tests are raised together.
    """
    by_tier = _grouped(pairs, lambda pair: pair.tier)
    tiers = {tier: by_tier[tier] for tier in (*TIERS, Tier.UNTIERED) if tier in by_tier}
    capabilities = _grouped([pair for pair in pairs if pair.capability], lambda pair: pair.capability)
    groups = {
        "all": pairs,
        "hard": [pair for pair in pairs if pair.tier in HARD_TIER],
        "easier": [pair for pair in pairs if pair.tier in EASIER_TIERS],
    }
    main = _raised({name: _stratum(group, confidence, 1.0 - confidence) for name, group in groups.items() if group})
    return Comparison(
        aggregate=main.get("all"),
        tiers=_strata(tiers, confidence),
        hard_tier=main.get("hard"),
        easier_tiers=main.get("easier"),
        capabilities=_strata(dict(sorted(capabilities.items())), confidence),
        share=measure_share(pairs, confidence=confidence),
        confidence=confidence,
    )


def _grouped(pairs: Iterable[Pair], kind: Callable[[Pair], _Kind]) -> dict[_Kind, list[Pair]]:
    groups: dict[_Kind, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[kind(pair)].append(pair)
    return groups


def _strata(groups: Mapping[_Kind, Sequence[Pair]], confidence: float) -> Mapping[_Kind, Stratum]:
    each = simultaneous(confidence, len(groups))
    return _raised({kind: _stratum(group, each, 1.0 - confidence) for kind, group in groups.items()})


def _raised(strata: Mapping[_Kind, Stratum]) -> dict[_Kind, Stratum]:
    """*strata* with their p-values raised for their number."""
    p_values = holm({kind: stratum.p_value for kind, stratum in strata.items()})
    return {kind: replace(stratum, p_value=p_values[kind]) for kind, stratum in strata.items()}


def _stratum(pairs: Sequence[Pair], confidence: float, level: float) -> Stratum:
    before, after = rates_of([pair.baseline for pair in pairs]), rates_of([pair.candidate for pair in pairs])
    change = paired_change(before, after, confidence=confidence)
    is_certain = before.worth == after.worth == 1.0
    tries = int(min(before.attempts.min(), after.attempts.min()))
    return Stratum(
        cases=len(pairs),
        hard_cases=sum(pair.tier in HARD_TIER for pair in pairs),
        passed_before=float(before.passing.sum()),
        passed_after=float(after.passing.sum()),
        before=pass_rate(before, confidence=confidence),
        after=pass_rate(after, confidence=confidence),
        newly_failing=sum(pair.is_newly_failing for pair in pairs),
        newly_passing=sum(pair.is_newly_passing for pair in pairs),
        change=change,
        p_value=exact_p_value(before, after) if is_certain else _p_value(change, confidence),
        level=level,
        flaky=sum(pair.is_flaky for pair in pairs),
        tries=tries,
        all_tries_before=_all_tries(before, tries),
        all_tries_after=_all_tries(after, tries),
    )


def worth(cases: Sequence[Case]) -> float:
    """Independent cases that say as much as one of *cases*, whose scores may be wrong; ratio 0 to 1."""
    beliefs = [case.belief for case in cases if case.belief is not None]
    plain, known = sum(each.plain for each in beliefs), sum(each.known for each in beliefs)
    return 1.0 if math.isclose(plain, known) else plain / known


def _p_value(change: Interval, confidence: float) -> float:
    """Two-sided, by the distance of *change* from 0 in standard errors: those of the bound that is on that side."""
    width = change.estimate - change.lower if change.estimate > 0.0 else change.upper - change.estimate
    deviations = abs(change.estimate) / width * ndtri(0.5 + confidence / 2.0) if width > 0.0 else 0.0
    return 2.0 * float(ndtr(-deviations))


def _all_tries(rates: Rates, tries: int) -> float:
    """
    Chance that *tries* attempts drawn from a case all pass, mean over cases.

    Source:
        pass^k of Yao et al. (2024), tau-bench, section 3.
    """
    chances: list[float] = [
        math.prod(max(rate * scored - drawn, 0.0) / (scored - drawn) for drawn in range(tries))
        for rate, scored in zip(rates.passing.tolist(), rates.attempts.tolist(), strict=True)
    ]
    return sum(chances) / len(chances)
