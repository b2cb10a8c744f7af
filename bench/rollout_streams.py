"""Simulated rollouts: what both arms look like at every look, when the truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from monitor.difficulty.cuts import TierCuts
from monitor.difficulty.tiers import TIERS
from monitor.difficulty.trust import Trust
from monitor.rollout.cohort import Arm, Cell, Cohort

_Array = NDArray[np.float64]
_Counts = NDArray[np.int64]

TRAFFIC_MIX = np.array([0.6, 0.3, 0.1, 0.0])
FAILURE_RATE = np.array([0.02, 0.10, 0.60, 0.999])
CLASSIC_CANDIDATE_RATE = np.array([0.01, 0.04, 0.55, 0.999])
_EXACT = 1e-9  # logits squared: tiers known without doubt


_CUTS = TierCuts(*(float(logit(rate)) for rate in (0.05, 0.25, 0.95)))
_TRUST = Trust(
    is_trusted=True, reasons=(), auc=0.9, auc_lower=0.88, calibration_error=0.0, versions=12, known_share=1.0
)


@dataclass(frozen=True, slots=True)
class KnownTiers:
    """Tiers known without doubt: a calibration as good as one can be."""

    calibration_id: str = "known-tiers"
    cuts: TierCuts = _CUTS
    trust: Trust = _TRUST


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """
    One kind of rollout.

    Attributes:
        baseline_mix, candidate_mix: Traffic per tier, shape (4,); each sums to 1.
        baseline_rate, candidate_rate: Failure rate per tier, shape (4,).
        candidate_share: Part of the traffic that goes to the candidate, ratio 0 to 1.
    """

    candidate_rate: _Array
    baseline_rate: _Array = field(default_factory=FAILURE_RATE.copy)
    baseline_mix: _Array = field(default_factory=TRAFFIC_MIX.copy)
    candidate_mix: _Array = field(default_factory=TRAFFIC_MIX.copy)
    candidate_share: float = 0.5


def uniform_gain(rate: _Array, *, logits: float) -> _Array:
    """*rate* with every request's log-odds of failing lowered by *logits*."""
    lowered: _Array = expit(logit(rate) - logits)
    return lowered


def cohorts(truth: Truth, *, looks: int, candidate_per_look: int, rng: np.random.Generator) -> Iterator[Cohort]:
    """What is seen at each look: both arms grow by as many requests per look as their share of the traffic gives."""
    baseline_per_look = round(candidate_per_look * (1.0 / truth.candidate_share - 1.0))
    baseline = _arm(truth.baseline_mix, truth.baseline_rate, looks, baseline_per_look, rng)
    candidate = _arm(truth.candidate_mix, truth.candidate_rate, looks, candidate_per_look, rng)
    for before, after in zip(baseline, candidate, strict=True):
        yield Cohort(Arm("baseline", before), Arm("candidate", after), calibration_id="known-tiers")


def _arm(mix: _Array, rate: _Array, looks: int, per_look: int, rng: np.random.Generator) -> Iterator[list[Cell]]:
    arriving = rng.multinomial(per_look, mix, size=looks)
    failing = rng.binomial(arriving, rate)
    for requests, failures in zip(arriving.cumsum(axis=0), failing.cumsum(axis=0), strict=True):
        yield cells(requests, requests, failures)


def cells(requests: _Counts, labelled: _Counts, failures: _Counts) -> list[Cell]:
    """One cell per tier, from counts of shape (4,)."""
    return [
        Cell(
            tier=tier,
            capability="any",
            bin=index,
            is_known=True,
            requests=int(requests[index]),
            labelled=int(labelled[index]),
            failures=int(failures[index]),
            logit_sum=float(requests[index] * logit(FAILURE_RATE[index])),
            variance_sum=float(requests[index] * _EXACT),
        )
        for index, tier in enumerate(TIERS)
        if requests[index] > 0
    ]
