"""The hard tier's share of failures before and after, what a uniform gain would make of it, and what is beyond that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from monitor.difficulty.tiers import HARD_TIER, TIERS, Tier
from monitor.evals.cases import Pair
from monitor.rollout.decomposition import decompose
from monitor.rollout.verdict import Decomposition, Interval

_Array = NDArray[np.float64]

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


@dataclass(frozen=True, slots=True)
class ShareReport:
    """
    The hard tier's share of failures over the cases that have a tier; ratios 0 to 1, changes -1 to 1.

    Attributes:
        change: Candidate minus baseline.
        expected_change: The change that a uniform gain in ability, of the size that was seen, would give.
        excess: *change* minus *expected_change*: above 0 the hard tier was left behind.
        decomposition: What of the change easier and hard tiers did; None where a step has no failure to share out.
    """

    baseline: Interval
    candidate: Interval
    change: Interval
    expected_change: float
    excess: Interval
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
    before, after = (np.array([group.failures[:, run].mean() for group in groups]) for run in (0, 1))
    suite = _Suite(groups)
    if min(before @ suite.mix, after @ suite.mix) <= 0.0:
        return None
    baseline, candidate = float(suite.hard_shares(before)), float(suite.hard_shares(after))
    expected = float(suite.expected_shares(before[None, :], after[None, :])[0])
    random = np.random.default_rng(_SEED)
    drawn = np.array([group.draw(random) for group in groups])  # by group, run, draw
    draws_before, draws_after = drawn[:, 0].T, drawn[:, 1].T
    shares_before, shares_after = suite.hard_shares(draws_before), suite.hard_shares(draws_after)
    change = shares_after - shares_before
    excess = shares_after - suite.expected_shares(draws_before, draws_after)
    return ShareReport(
        baseline=_bounded(baseline, shares_before, confidence),
        candidate=_bounded(candidate, shares_after, confidence),
        change=_bounded(candidate - baseline, change, confidence),
        expected_change=expected - baseline,
        excess=_bounded(candidate - expected, excess, confidence),
        decomposition=_decomposition(suite, before, after),
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """
    Cases of one tier that are about equally hard.

    Attributes:
        failures: Failure rates before and after of each case, shape (cases, 2).
        difficulty_logit, difficulty_variance: Mean over the cases; the logit is None where only a label is known.
        prior_weight: Weight of each pseudo-case.
    """

    tier: Tier
    failures: _Array
    difficulty_logit: float | None
    difficulty_variance: float
    prior_weight: float

    def draw(self, random: np.random.Generator) -> _Array:
        """Believable mean failure rates before and after, shape (2, draws)."""
        kinds, counts = np.unique(np.concatenate([self.failures, _CORNERS]), axis=0, return_counts=True)
        is_corner = ((kinds == 0.0) | (kinds == 1.0)).all(axis=1)
        weights = counts - is_corner * (1.0 - self.prior_weight)
        drawn: _Array = (random.dirichlet(weights, size=_DRAWS) @ kinds).T
        return drawn


def _groups(pairs: Sequence[Pair]) -> Sequence[_Group]:
    by_kind: dict[tuple[Tier, int], list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.tier is not Tier.UNTIERED:
            step = 0 if pair.grade.difficulty_logit is None else round(pair.grade.difficulty_logit / _GROUP_WIDTH)
            by_kind[pair.tier, step].append(pair)
    in_tier = {tier: sum(each is tier for each, _ in by_kind) for tier in TIERS}
    return [
        _Group(
            tier=tier,
            failures=np.array([(1.0 - pair.before, 1.0 - pair.after) for pair in group]),
            difficulty_logit=_mean_logit(group),
            difficulty_variance=float(np.mean([pair.grade.difficulty_variance for pair in group])),
            prior_weight=_PRIOR_WEIGHT / in_tier[tier],
        )
        for (tier, _), group in sorted(by_kind.items(), key=lambda item: (TIERS.index(item[0][0]), item[0][1]))
    ]


def _mean_logit(pairs: Sequence[Pair]) -> float | None:
    logits = [pair.grade.difficulty_logit for pair in pairs if pair.grade.difficulty_logit is not None]
    return float(np.mean(logits)) if len(logits) == len(pairs) else None


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

    def __init__(self, groups: Sequence[_Group]) -> None:
        cases = np.array([len(group.failures) for group in groups], dtype=float)
        logits = [group.difficulty_logit for group in groups if group.difficulty_logit is not None]
        variances = np.array([group.difficulty_variance for group in groups])
        self.mix = cases / cases.sum()
        self.is_hard = np.array([group.tier in HARD_TIER for group in groups], dtype=float)
        self.difficulty_logit = np.array(logits) if len(logits) == len(groups) else None
        self.attenuation = 1.0 / np.sqrt(1.0 + _LOGISTIC * variances)
        self.tiers = [group.tier for group in groups]

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
