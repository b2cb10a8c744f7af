"""Compares the pass rates of two runs with bounds: of all cases, by tier and class, and the hard share of failures."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
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
from monitor.trace.grouping import grouped

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
_FINEST_SCALE = 5_040  # divisible by 1 to 10, the usual numbers of repeats


@dataclass(frozen=True, slots=True)
class Rates:
    """
    Pass rates of one run; one entry per case.

    Attributes:
        passing: Pass rate of each case, ratio 0 to 1.
        attempts: Scored attempts behind each rate, at least 1.
        efficiency: Effective sample size per case, ratio 0 to 1; below 1 if scores may be wrong.
    """

    passing: _Array
    attempts: NDArray[np.int64]
    efficiency: float = 1.0


def rates_of(cases: Sequence[Case]) -> Rates:
    """The pass rates of *cases*, each of which has a score."""
    attempts = np.array([case.scored for case in cases], dtype=np.int64)
    return Rates(np.array([case.rate for case in cases]), attempts, efficiency(cases))


def score_interval(rate: float, cases: float, *, confidence: float) -> Interval:
    """
    Score interval of a proportion.

    Args:
        rate: Ratio 0 to 1.
        cases: Independent cases behind it, above 0.
        confidence: Ratio 0 to 1.

    >>> score_interval(0.0, 10, confidence=0.95)
    Interval(estimate=0.0, lower=0.0, upper=0.2775327998628892)
    """
    return Interval(rate, *wilson(rate, cases, z=float(ndtri(0.5 + confidence / 2.0))))


def pass_rate(rates: Rates, *, confidence: float) -> Interval:
    """
    Mean of *rates* with score bounds; repeats of a case count as far as they add information.

    Source:
        The effective sample size of clustered proportions of Rao and Scott (1992), Biometrics 48:577.
    """
    cases = _effective_cases(rates) * rates.efficiency
    return score_interval(float(rates.passing.mean()), cases, confidence=confidence)


def paired_change(before: Rates, after: Rates, *, confidence: float) -> Interval:
    """
    Mean of *after* minus *before* over the same cases, in [-1, 1], with bounds.

    Each case has the same weight, however often it was repeated. If every case was asked once in both runs, this is
    Newcombe's method 10; with repeats, it is the same square-and-add rule on the effective sample sizes.

    Source:
        Newcombe (1998), Statistics in Medicine 17:2635, method 10, recommended for paired proportions by Fagerland,
        Lydersen and Laake (2014), Statistics in Medicine 33:2850; square-and-add of any two bounded estimates by Zou
        and Donner (2008), Statistics in Medicine 27:1693.
    """
    old, new = pass_rate(before, confidence=confidence), pass_rate(after, confidence=confidence)
    correlation = _correlation(before, after)
    change = new.estimate - old.estimate
    below = _square_and_add(new.estimate - new.lower, old.upper - old.estimate, correlation)
    above = _square_and_add(new.upper - new.estimate, old.estimate - old.lower, correlation)
    return Interval(change, max(change - below, -1.0), min(change + above, 1.0))


def exact_p_value(before: Rates, after: Rates) -> float:
    """
    Two-sided p-value of the change, under the hypothesis that the version has no influence on any case.

    Under that hypothesis the two runs of a case are exchangeable, so each case's difference has a random sign. If every
    case was asked once, this is McNemar's exact test.

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
    sizes, observed = sizes // common, abs(int(steps.sum())) // common
    if len(sizes) == 1:
        rarer_sign = (int(counts[0]) - observed) // 2
        return min(1.0, 2.0 * float(bdtr(rarer_sign, counts[0], 0.5)))
    from scipy.signal import fftconvolve  # noqa: PLC0415  (every command would wait two seconds for these imports)
    from scipy.stats import binom  # noqa: PLC0415

    distribution = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        of_size = np.zeros(2 * size * count + 1)
        of_size[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = np.clip(fftconvolve(distribution, of_size), 0.0, None)
    middle = len(distribution) // 2
    return min(1.0, 2.0 * float(distribution[middle + observed :].sum())) if observed else 1.0


def holm(p_values: Mapping[_Kind, float]) -> Mapping[_Kind, float]:
    """
    *p_values* of several tests, adjusted so that the chance of any false discovery among them stays bounded.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6:65.

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    adjusted: dict[_Kind, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def simultaneous(confidence: float, intervals: int) -> float:
    """
    Confidence that each of several intervals needs so that all of them hold together (Bonferroni).

    >>> round(simultaneous(0.95, 5), 3)
    0.99
    """
    return 1.0 - (1.0 - confidence) / max(intervals, 1)


def _effective_cases(rates: Rates) -> float:
    """Effective sample size of repeated attempts: between one per case and all attempts."""
    cases, total, rate = len(rates.passing), int(rates.attempts.sum()), float(rates.passing.mean())
    if total == cases or cases < _LEAST_FOR_VARIANCE or rate in {0.0, 1.0}:
        return float(cases)
    variance = float(rates.passing.var(ddof=1)) / cases
    return float(total) if variance == 0.0 else min(max(rate * (1.0 - rate) / variance, float(cases)), float(total))


_LEAST_FOR_VARIANCE = 2


def _correlation(before: Rates, after: Rates) -> float:
    """Correlation of the two runs over cases, with Newcombe's correction towards 0."""
    old, new, efficiency_of_both = before.passing, after.passing, before.efficiency * after.efficiency
    deviations = float(old.std() * new.std())
    if efficiency_of_both < 1.0:  # wrong scores add variance that the corrected rates do not show
        one, other = float(old.mean()), float(new.mean())
        deviations = math.sqrt(one * (1.0 - one) * other * (1.0 - other) / efficiency_of_both)
    if deviations == 0.0:
        return 0.0
    covariance = float(((old - old.mean()) * (new - new.mean())).mean())
    if covariance > 0.0:
        covariance = max(covariance - 1.0 / (2.0 * len(old)), 0.0)
    return covariance / deviations


def _square_and_add(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one * one - 2.0 * correlation * one * other + other * other, 0.0))


@dataclass(frozen=True, slots=True)
class ShareReport(ShareComparison):
    """
    The hard tier's share of failures over the cases that have a tier, with the suite as the traffic.

    Attributes:
        decomposition: Parts of the change by easier and hard tiers; None if a step has no failures.
    """

    decomposition: Decomposition | None


def measure_share(pairs: Sequence[Pair], *, confidence: float) -> ShareReport | None:
    """
    The hard tier's share of failures over the *pairs* with a tier; None if a run fails none of them.

    The mix of tiers is fixed; bounds allow for other cases of the same tiers. They come from a Bayesian bootstrap over
    cases, with one pseudo-case per tier so that a tier without failures does not get a variance of 0.

    Source:
        Rubin (1981), Annals of Statistics 9:130; the pseudo-case as in Perks (1947), J. Inst. Actuaries 73:285.
    """
    groups = _groups(pairs)
    if not groups:
        return None
    failures = [np.array([(1.0 - pair.before, 1.0 - pair.after) for pair in group]) for group in groups.values()]
    before, after = np.array([rates.mean(axis=0) for rates in failures]).T
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
    """Pairs by tier and difficulty step, easiest first."""

    def step(pair: Pair) -> int:
        logit = pair.grade.difficulty_logit
        return 0 if logit is None else round(logit / _GROUP_WIDTH)

    tiered = [pair for pair in pairs if pair.tier is not Tier.UNTIERED]
    groups = grouped(tiered, lambda pair: (TIERS.index(pair.tier), step(pair)))
    return {(TIERS[place], at): groups[place, at] for place, at in sorted(groups)}


def _draw(random: np.random.Generator, failures: _Array, pairs: Sequence[Pair], prior_weight: float) -> _Array:
    """
    Posterior draws of the mean failure rates of *pairs* before and after, shape (2, draws).

    Args:
        random: Random generator.
        failures: Failure rates before and after of each case, shape (cases, 2).
        pairs: The cases.
        prior_weight: Weight of each pseudo-case.
    """
    kinds, counts = np.unique(np.concatenate([failures, _CORNERS]), axis=0, return_counts=True)
    is_corner = ((kinds == 0.0) | (kinds == 1.0)).all(axis=1)
    weights = counts - is_corner * (1.0 - prior_weight)
    drawn: _Array = (random.dirichlet(weights, size=_DRAWS) @ kinds).T
    variance = _score_variance(pairs)
    if variance.any():
        # Never 0 or 1: a run without failures has no share, and a rate of 0 or 1 has no logit.
        drawn = np.clip(random.normal(drawn, np.sqrt(variance)), 1e-6, 1.0 - 1e-6)
    return drawn


def _score_variance(pairs: Sequence[Pair]) -> _Array:
    """Variance of the mean rates from wrong scores, beyond the variance among cases; shape (2, 1)."""
    added = np.zeros((2, 1))
    for run, cases in enumerate(([pair.baseline for pair in pairs], [pair.candidate for pair in pairs])):
        total = [case.corrected.variance for case in cases if case.corrected is not None]
        among_cases = float(np.var([case.rate for case in cases]))
        added[run] = max(float(np.mean(total)) - among_cases, 0.0) / len(cases) if total else 0.0
    return added


class _Suite:
    """
    The suite's mix of groups; arrays have shape (groups,), rates (..., groups).

    Attributes:
        mix: Share of the cases in each group; sums to 1.
        is_hard: 1 for groups of the hard tier, else 0.
        difficulty_logit: Mean difficulty of each group; None if unknown, then the baseline's failure rates stand in.
        attenuation: Factor by which the spread of difficulty in a group flattens its logistic curve.
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
        """The hard groups' share of failures; *rates* have at least one failure."""
        shares: _Array = rates @ (self.mix * self.is_hard) / (rates @ self.mix)
        return shares

    def expected_shares(self, before: _Array, after: _Array) -> _Array:
        """
        The candidate's share if its whole change were the same gain in logits for every case; row by row.

        Source:
            The model of Rasch (1960). If cases have a difficulty, the model is fitted to the overall failure rate of
            each run, and the share changes as between the two fits; with labels only, the baseline's failure rate sets
            the difficulty of each tier.
        """
        aggregate = after @ self.mix
        if self.difficulty_logit is None:
            return self._share_at(logit(np.clip(before, _SMALLEST_RATE, 1.0 - _SMALLEST_RATE)), aggregate)
        known = np.broadcast_to(self.difficulty_logit, before.shape)
        change = self._share_at(known, aggregate) - self._share_at(known, before @ self.mix)
        return self.hard_shares(before) + change

    def _share_at(self, difficulty: _Array, aggregate: _Array) -> _Array:
        """Hard share at the ability whose overall failure rate is *aggregate*."""
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
    """Equal-tailed bounds from *draws*, widened to contain the estimate."""
    lower, upper = np.quantile(draws, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return Interval(estimate, min(float(lower), estimate), max(float(upper), estimate))


@dataclass(frozen=True, slots=True)
class Stratum:
    """
    Both runs on the same cases.

    Attributes:
        cases: Cases with a score in both runs.
        hard_cases: Those in the hard tier.
        passed_before, passed_after: Sum of the cases' pass rates: a whole number if every case was asked once.
        before, after: Pass rates with bounds, ratio 0 to 1.
        newly_failing, newly_passing: Cases that pass by majority of attempts in one run only.
        change: After minus before, paired, with bounds.
        p_value: Exact, two-sided, adjusted for the number of strata that are tested together.
        level: Largest p-value that shows a change, ratio 0 to 1.
        flaky: Cases that passed some attempts and failed others within a run.
        tries: Smallest number of attempts that a case has in either run.
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
        """Whether it passes more often, by both the bounds and the exact test."""
        return self.change.lower > 0.0 and self.p_value <= self.level

    @property
    def has_fallen(self) -> bool:
        """Whether it passes less often, by both the bounds and the exact test."""
        return self.change.upper < 0.0 and self.p_value <= self.level

    @property
    def failures_before(self) -> float:
        """Failed cases of the baseline; a whole number if every case was asked once."""
        return self.cases - self.passed_before

    @property
    def failures_after(self) -> float:
        """Failed cases of the candidate; a whole number if every case was asked once."""
        return self.cases - self.passed_after


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    All estimates of a report.

    Attributes:
        aggregate: All pairs; None if no case has a score in both runs.
        tiers: Tiers that have cases, easiest first, untiered last.
        hard_tier: Hard and frontier together; None without such a case.
        easier_tiers: Easy and medium together; None without such a case.
        capabilities: Capability classes.
        share: The hard tier's share of failures; None if it is unknown.
        confidence: Confidence that all bounds of the tiers hold together, and all of the capabilities; ratio 0 to 1.
    """

    aggregate: Stratum | None
    tiers: Mapping[Tier, Stratum]
    hard_tier: Stratum | None
    easier_tiers: Stratum | None
    capabilities: Mapping[str, Stratum]
    share: ShareReport | None
    confidence: float

    def rows(self) -> Mapping[str, Stratum]:
        """Rows of a table: tiers easiest first, the hard tier if it has two of them, then all cases."""
        rows = {tier.value: stratum for tier, stratum in self.tiers.items()}
        if self.hard_tier is not None and Tier.FRONTIER in self.tiers:
            rows["hard tier"] = self.hard_tier
        return rows if self.aggregate is None else {**rows, "all": self.aggregate}

    def judged(self) -> Mapping[str, Stratum]:
        """The strata that a verdict judges, by scope."""
        main = {"all": self.aggregate, "hard": self.hard_tier, "easier": self.easier_tiers}
        classes = {f"capability:{name}": stratum for name, stratum in self.capabilities.items()}
        classes = classes if len(classes) > 1 else {}  # a single class is the same as all cases
        return {name: stratum for name, stratum in (main | classes).items() if stratum is not None}


def compare(pairs: Sequence[Pair], *, confidence: float) -> Comparison:
    """
    Estimates and tests over *pairs*.

    Args:
        pairs: Cases with a score in both runs.
        confidence: Confidence that all bounds of the tiers hold together, and all of the capabilities, ratio 0 to 1.
            The bounds of all cases, the hard tier and the easier tiers have this confidence each; their p-values are
            adjusted together.
    """
    by_tier = grouped(pairs, lambda pair: pair.tier)
    tiers = {tier: by_tier[tier] for tier in (*TIERS, Tier.UNTIERED) if tier in by_tier}
    capabilities = grouped([pair for pair in pairs if pair.capability], lambda pair: pair.capability)
    groups = {
        "all": pairs,
        "hard": [pair for pair in pairs if pair.tier in HARD_TIER],
        "easier": [pair for pair in pairs if pair.tier in EASIER_TIERS],
    }
    main = _adjusted({name: _stratum(group, confidence, 1.0 - confidence) for name, group in groups.items() if group})
    return Comparison(
        aggregate=main.get("all"),
        tiers=_strata(tiers, confidence),
        hard_tier=main.get("hard"),
        easier_tiers=main.get("easier"),
        capabilities=_strata(dict(sorted(capabilities.items())), confidence),
        share=measure_share(pairs, confidence=confidence),
        confidence=confidence,
    )


def _strata(groups: Mapping[_Kind, Sequence[Pair]], confidence: float) -> Mapping[_Kind, Stratum]:
    each = simultaneous(confidence, len(groups))
    return _adjusted({kind: _stratum(group, each, 1.0 - confidence) for kind, group in groups.items()})


def _adjusted(strata: Mapping[_Kind, Stratum]) -> dict[_Kind, Stratum]:
    """*strata* with their p-values adjusted for testing all of them."""
    p_values = holm({kind: stratum.p_value for kind, stratum in strata.items()})
    return {kind: replace(stratum, p_value=p_values[kind]) for kind, stratum in strata.items()}


def _stratum(pairs: Sequence[Pair], confidence: float, level: float) -> Stratum:
    before, after = rates_of([pair.baseline for pair in pairs]), rates_of([pair.candidate for pair in pairs])
    change = paired_change(before, after, confidence=confidence)
    has_true_scores = before.efficiency == after.efficiency == 1.0
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
        p_value=exact_p_value(before, after) if has_true_scores else _p_value(change, confidence),
        level=level,
        flaky=sum(pair.is_flaky for pair in pairs),
        tries=tries,
        all_tries_before=_all_tries(before, tries),
        all_tries_after=_all_tries(after, tries),
    )


def efficiency(cases: Sequence[Case]) -> float:
    """Effective sample size per case, ratio 0 to 1; below 1 if scores may be wrong."""
    corrections = [case.corrected for case in cases if case.corrected is not None]
    plain, total = sum(each.plain_variance for each in corrections), sum(each.variance for each in corrections)
    return 1.0 if math.isclose(plain, total) else plain / total


def _p_value(change: Interval, confidence: float) -> float:
    """Two-sided p-value by the distance of *change* from 0, in standard errors of its bound on that side."""
    width = change.estimate - change.lower if change.estimate > 0.0 else change.upper - change.estimate
    deviations = abs(change.estimate) / width * ndtri(0.5 + confidence / 2.0) if width > 0.0 else 0.0
    return 2.0 * float(ndtr(-deviations))


def _all_tries(rates: Rates, tries: int) -> float:
    """
    Probability that *tries* attempts drawn from a case all pass, mean over cases.

    Source:
        pass^k of Yao et al. (2024), tau-bench, section 3.
    """
    chances: list[float] = [
        math.prod(max(rate * scored - drawn, 0.0) / (scored - drawn) for drawn in range(tries))
        for rate, scored in zip(rates.passing.tolist(), rates.attempts.tolist(), strict=True)
    ]
    return sum(chances) / len(chances)
