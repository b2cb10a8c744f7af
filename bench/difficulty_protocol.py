"""
The measuring protocol for difficulty: how well a history of versions predicts the failures of later ones.

Versions are in release order. The history is K consecutive versions of the first half, learnt and frozen; rollouts are
all ordered pairs of the second half. Live requests are 41 % of all requests; a part of them is in the history's pool,
whose size is constant. Both arms see all live requests; rates of constructed cliffs and of null pairs come from
disjoint halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, ndtr
from scipy.stats import rankdata

from bench.difficulty_rivals import RIVALS, PredictedDifficulty, by_calibration, history_of
from bench.outcomes import Outcomes
from monitor.difficulty.calibrating import bin_edges
from monitor.difficulty.correction import (
    DifficultyBin,
    MeasuredArm,
    ShareShift,
    compare_shares,
    measure_arm,
    soft_tiers,
)
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import HARD_TIER, TIERS, TierCuts
from monitor.difficulty.trust import Trust
from monitor.difficulty.trust_gate import Prediction, assess, assess_traffic

_Array = NDArray[np.float64]
_Flags = NDArray[np.bool_]
_Indices = NDArray[np.int64]

LIVE_SHARE = 0.41
TIER_QUANTILES = (0.50, 0.75, 0.90)
FIXED_SHARE = 0.70
LARGE_EXCESS = 0.05
FEWEST_KNOWN = 0.1
GATE_VERSIONS = 3
_Z_90 = 1.645
_ORACLE_VARIANCE = 9.0
_ORACLE_STEPS = 200
_LARGEST_ABILITY = 60.0
_IS_HARD = np.array([tier in HARD_TIER for tier in TIERS], dtype=float)
_NO_GATE = DifficultySettings()


@dataclass(frozen=True, slots=True)
class Oracle:
    """Difficulty fitted to all versions together (Rasch), and whether a request is in the hardest quarter."""

    logit: _Array
    is_hard: _Flags

    @classmethod
    def of(cls, outcomes: Outcomes) -> Oracle:
        """Fit by penalised Newton steps; ties are broken by a fixed draw."""
        failed = outcomes.failed
        logit, ability = np.zeros(failed.shape[1]), np.zeros(failed.shape[0])
        for _ in range(_ORACLE_STEPS):
            rate = expit(logit + ability[:, None])
            gradient = (failed - rate).sum(axis=0) - logit / _ORACLE_VARIANCE
            logit += np.clip(gradient / ((rate * (1 - rate)).sum(axis=0) + 1 / _ORACLE_VARIANCE), -1, 1)
            logit -= logit.mean()
            rate = expit(logit + ability[:, None])
            ability += np.clip((failed - rate).sum(axis=1) / (rate * (1 - rate)).sum(axis=1), -1, 1)
        tie_break = np.random.default_rng(0).random(len(logit))
        rank = rankdata(logit + 1e-9 * tie_break) / len(logit)
        return cls(logit, rank > TIER_QUANTILES[1])

    def share(self, failed: _Flags, live: _Indices) -> float:
        """Hard tier's share of the failures among *live* requests."""
        return float((failed & self.is_hard[live]).sum() / failed.sum())

    def uniform_gain_share(self, failed: _Flags, live: _Indices) -> float:
        """The share that the uniform-gain curve gives at the same aggregate."""
        rate = expit(self.logit[live] + _ability(self.logit[live], float(failed.mean())))
        return float(rate[self.is_hard[live]].sum() / rate.sum())


@dataclass(frozen=True, slots=True)
class Split:
    """One repetition: versions and requests of the history, and live requests, as indices."""

    history: list[int]
    later: list[int]
    pool: _Indices
    live: _Indices
    seed: tuple[int, int]

    @classmethod
    def of(cls, outcomes: Outcomes, *, versions: int, seen: float, start: int, seed: int) -> Split:
        """Draw the live requests and the pool; *seen* is the part of the live ones that the pool holds."""
        count = len(outcomes.features)
        rng = np.random.default_rng((seed, start))
        order = rng.permutation(count)
        live, others = np.split(order, [round(LIVE_SHARE * count)])
        known = round(seen * len(live))
        pool = np.concatenate([live[:known], others[: len(others) - known]])
        half = len(outcomes.versions) // 2
        return cls(
            history=list(range(start, start + versions)),
            later=list(range(half, len(outcomes.versions))),
            pool=rng.permutation(pool),
            live=live,
            seed=(seed, start),
        )


@dataclass(frozen=True, slots=True)
class View:
    """Predicted difficulty of the live requests, with tiers of the same sizes as the oracle's."""

    logit: _Array
    variance: _Array
    is_known: _Array
    cuts: TierCuts
    edges: _Array

    @classmethod
    def of(cls, predicted: PredictedDifficulty, split: Split) -> View:
        """Cuts lie where the pool's difficulties have the oracle's quantiles."""
        cuts = _quantile_cuts(predicted.logit[split.pool], predicted.variance[split.pool])
        live = split.live
        return cls(
            predicted.logit[live], predicted.variance[live], predicted.is_known[live], cuts, np.array(bin_edges(cuts))
        )

    def measure(self, failed: _Flags, chosen: _Indices | slice = slice(None)) -> MeasuredArm:
        """The *chosen* live requests as one arm, through the product's bins."""
        arm = measure_arm(self.bins(failed, chosen), self.cuts)
        if arm is None:
            raise ValueError("an arm has known labels")
        return arm

    def bins(self, failed: _Flags, chosen: _Indices | slice = slice(None)) -> list[DifficultyBin]:
        """The *chosen* live requests, grouped."""
        columns = [array[chosen] for array in (self.logit, self.variance, self.is_known, failed)]
        logit, variance, is_known, outcome = columns
        group = 2 * np.searchsorted(self.edges, logit, side="right") + is_known
        bins = []
        for member in (group == each for each in np.unique(group)):
            count = int(member.sum())
            failures = int(outcome[member].sum())
            known = bool(is_known[member][0])
            bins.append(
                DifficultyBin(
                    float(logit[member].mean()), float(variance[member].mean()), known, count, count, failures
                )
            )
        return bins

    @property
    def is_tagged_hard(self) -> _Flags:
        """Requests whose most probable tier is hard or frontier."""
        flags: _Flags = _IS_HARD[np.argmax(soft_tiers(self.logit, self.variance, self.cuts), axis=1)] == 1
        return flags


Figures = dict[str, float]


def figures_of(outcomes: Outcomes, oracle: Oracle, split: Split, *, with_rivals: bool) -> Figures:
    """All figures of one repetition."""
    history = history_of(outcomes, split.history, split.pool)
    predicted = by_calibration(outcomes, history)
    view = View.of(predicted, split)
    failed = outcomes.failed[:, split.live]
    figures = {f"product {name}": value for name, value in _discrimination(outcomes, predicted, split).items()}
    figures["known"] = float(view.is_known.mean())
    if view.is_known.mean() >= FEWEST_KNOWN:  # rates use known requests only
        figures |= _shares(oracle, split, view, failed)
        figures |= _cliffs_and_nulls(oracle, split, view, failed)
    figures |= _gate(outcomes, predicted, split)
    if with_rivals:
        for name, predict in RIVALS.items():
            rival = predict(outcomes, history)
            figures |= {f"{name} {key}": value for key, value in _discrimination(outcomes, rival, split).items()}
            figures[f"{name} tag counting"] = _counting_error(oracle, split, View.of(rival, split), failed)
    return figures


def _discrimination(outcomes: Outcomes, predicted: PredictedDifficulty, split: Split) -> Figures:
    """AUC and calibration error on live requests, mean over later versions."""
    assessed = [_assess_live(outcomes, predicted, split, version) for version in split.later]
    return {
        "auc": float(np.mean([trust.auc for trust in assessed if trust.auc is not None])),
        "ece": float(np.mean([trust.calibration_error for trust in assessed if trust.calibration_error is not None])),
    }


def _assess_live(outcomes: Outcomes, predicted: PredictedDifficulty, split: Split, version: int) -> Trust:
    predictions = [
        Prediction(
            "",
            predicted.logit[i],
            predicted.variance[i],
            bool(predicted.is_known[i]),
            bool(outcomes.failed[version, i]),
        )
        for i in split.live
    ]
    return assess(predictions, versions=len(split.history), settings=_NO_GATE)


def _shares(oracle: Oracle, split: Split, view: View, failed: _Flags) -> Figures:
    arms = {version: view.measure(failed[version]) for version in split.later}
    true_share = {version: oracle.share(failed[version], split.live) for version in split.later}
    true_curve = {version: oracle.uniform_gain_share(failed[version], split.live) for version in split.later}
    pairs = list(combinations(split.later, 2))
    shifts = [_compare(arms[old], arms[new]) for old, new in pairs]
    change = np.array([true_share[new] - true_share[old] for old, new in pairs])
    excess = change - np.array([true_curve[new] - true_curve[old] for old, new in pairs])
    predicted_excess = np.array([shift.excess for shift in shifts])
    is_large = np.abs(excess) >= LARGE_EXCESS
    improved = np.array([failed[new].mean() < failed[old].mean() for old, new in pairs])
    return {
        "share error, as measured": _mean_error([shift.change for shift in shifts], change),
        "share error, aggregate-only curve": _mean_error([shift.expected_change for shift in shifts], change),
        "share error, tag counting": _counting_error(oracle, split, view, failed),
        "telling pairs": float(is_large.sum()),
        "excess sign": _share_of(np.sign(predicted_excess) == np.sign(excess), is_large),
        "excess sign, by the aggregate alone": _share_of(improved == (excess > 0), is_large),
        "excess error": _mean_error(predicted_excess, excess),
        "excess covered by 90 %": float(
            np.mean(
                [abs(t - e) <= _Z_90 * s.excess_se for t, e, s in zip(predicted_excess, excess, shifts, strict=True)]
            )
        ),
    }


def _counting_error(oracle: Oracle, split: Split, view: View, failed: _Flags) -> float:
    hard = view.is_tagged_hard
    counted = {version: float((failed[version] & hard).sum() / failed[version].sum()) for version in split.later}
    true = {version: oracle.share(failed[version], split.live) for version in split.later}
    return float(
        np.mean([abs(counted[new] - counted[old] - true[new] + true[old]) for old, new in combinations(split.later, 2)])
    )


def _cliffs_and_nulls(oracle: Oracle, split: Split, view: View, failed: _Flags) -> Figures:
    rng = np.random.default_rng((*split.seed, 1))
    halves = np.array_split(rng.permutation(len(split.live)), 2)
    hard = oracle.is_hard[split.live]
    cliffs, null_rates, null_shares, covered = [], [], [], []
    for version in split.later:
        outcome = failed[version]
        fixed = outcome & (hard | (rng.random(len(outcome)) >= FIXED_SHARE))
        for first, second in (halves, halves[::-1]):  # both orders, so that differences of the halves cancel
            baseline, same = view.measure(outcome, first), view.measure(outcome, second)
            rate = _hard_rate(baseline, baseline)
            cliffs.append(_hard_rate(view.measure(fixed, second), baseline) - rate)
            null_rates.append(_hard_rate(same, baseline) - rate)
            shift = _compare(baseline, same)
            null_shares.append(shift.change)
            covered.append(abs(shift.change) <= _Z_90 * shift.change_se)
    return {
        "cliff: bias of the hard rate's change": float(np.mean(cliffs)),
        "null: bias of the hard rate's change": float(np.mean(null_rates)),
        "null: bias of the share's change": float(np.mean(null_shares)),
        "null: change covered by 90 %": float(np.mean(covered)),
    }


def _gate(outcomes: Outcomes, predicted: PredictedDifficulty, split: Split) -> Figures:
    if predicted.calibration is None:
        raise ValueError("only a calibration has a gate")
    by_version = [
        [
            LabelledRequest(
                outcomes.features[request], outcomes.versions[version], bool(outcomes.failed[version, request]), 0.0
            )
            for request in split.live
        ]
        for version in split.later[:GATE_VERSIONS]
    ]
    live = assess_traffic(
        predicted.calibration, [label for labels in by_version for label in labels], settings=DifficultySettings()
    )
    alone = [assess_traffic(predicted.calibration, labels, settings=DifficultySettings()) for labels in by_version]
    return {
        "gate: untrusted on live traffic": float(not live.is_trusted),
        "gate: untrusted on one live version alone": float(np.mean([not trust.is_trusted for trust in alone])),
        "gate: untrusted for the hard rate": float(not live.is_trusted_for_hard_rate),
        "gate: untrusted on the history": float(not predicted.calibration.trust.is_trusted),
    }


def _compare(baseline: MeasuredArm, candidate: MeasuredArm) -> ShareShift:
    shift = compare_shares(baseline, candidate)
    if shift is None:
        raise ValueError("an arm has failures")
    return shift


def _hard_rate(arm: MeasuredArm, baseline: MeasuredArm) -> float:
    """Failure rate of the hard tier at the baseline's mix of hard and frontier."""
    weight = baseline.tier_mix * _IS_HARD
    return float(weight @ arm.failure_rate / weight.sum())


def _ability(logit: _Array, rate: float) -> float:
    rate = min(max(rate, 1e-4), 1 - 1e-4)
    return float(brentq(lambda ability: expit(logit + ability).mean() - rate, -_LARGEST_ABILITY, _LARGEST_ABILITY))


def _quantile_cuts(logit: _Array, variance: _Array) -> TierCuts:
    deviation = np.sqrt(np.maximum(variance, 1e-12))
    lowest, highest = float(logit.min() - 40), float(logit.max() + 40)
    medium, hard, frontier = (
        float(brentq(lambda cut, part=part: ndtr((cut - logit) / deviation).mean() - part, lowest, highest))
        for part in TIER_QUANTILES
    )
    return TierCuts(medium=medium, hard=hard, frontier=frontier)


def _mean_error(predicted: Sequence[float] | _Array, true: _Array) -> float:
    return float(np.abs(np.asarray(predicted) - true).mean())


def _share_of(condition: _Flags, among: _Flags) -> float:
    return float(condition[among].mean()) if among.any() else float("nan")
