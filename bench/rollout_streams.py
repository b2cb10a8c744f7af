"""Simulated rollouts with a known truth: both arms at every look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from monitor.difficulty.calibration import Calibration, FrozenDifficulty
from monitor.difficulty.tiers import TIERS, TierCuts
from monitor.difficulty.trust import Trust
from monitor.rollout.cohort import Arm, Cohort, Stratum

_Array = NDArray[np.float64]
_Counts = NDArray[np.int64]

TRAFFIC_MIX = np.array([0.6, 0.3, 0.1, 0.0])
FAILURE_RATE = np.array([0.02, 0.10, 0.60, 0.999])
CLASSIC_CANDIDATE_RATE = np.array([0.01, 0.04, 0.55, 0.999])
_DIFFICULTY = logit(FAILURE_RATE)
_EXACT = 1e-9  # logits squared: tiers known without doubt


_CUTS = TierCuts(*(float(logit(rate)) for rate in (0.05, 0.25, 0.95)))
_TRUST = Trust(
    is_trusted=True, reasons=(), auc=0.9, auc_lower=0.88, calibration_error=0.0, versions=12, known_share=1.0
)


def known_tiers() -> Calibration:
    """A calibration with exact tiers."""
    return Calibration(
        calibration_id="known-tiers",
        frozen_at=0.0,
        cuts=_CUTS,
        trust=_TRUST,
        reference_version="",
        bin_edges=(),
        difficulty=FrozenDifficulty(0.0, {}, {}, {}, {}, frozenset()),
        min_tag_probability=0.6,
        frontier_min_versions=3,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """
    One kind of rollout.

    Attributes:
        candidate_rate: The candidate's failure rate per tier, shape (4,).
        baseline_rate: The baseline's.
        baseline_mix: The baseline's traffic per tier, shape (4,); sums to 1.
        candidate_mix: The candidate's.
        candidate_share: Part of the traffic that goes to the candidate, ratio 0 to 1.
    """

    candidate_rate: _Array
    baseline_rate: _Array = field(default_factory=FAILURE_RATE.copy)
    baseline_mix: _Array = field(default_factory=TRAFFIC_MIX.copy)
    candidate_mix: _Array = field(default_factory=TRAFFIC_MIX.copy)
    candidate_share: float = 0.5

    def baseline_per_look(self, candidate_per_look: int) -> int:
        """The baseline's requests for this number of requests of the candidate."""
        return round(candidate_per_look * (1.0 / self.candidate_share - 1.0))


def uniform_gain(rate: _Array, *, logits: float) -> _Array:
    """*rate* with every request's log-odds of failing lowered by *logits*."""
    lowered: _Array = expit(logit(rate) - logits)
    return lowered


@dataclass(frozen=True, slots=True)
class ArmStream:
    """Counts of one arm at every look: matured requests, labelled ones, failures; each of shape (looks, 4)."""

    requests: _Counts
    labelled: _Counts
    failures: _Counts

    def strata(self, look: int) -> list[Stratum]:
        """One stratum per tier that has requests."""
        return [
            Stratum(
                tier=tier,
                capability="any",
                bin=index,
                is_known=True,
                requests=int(self.requests[look, index]),
                labelled=int(self.labelled[look, index]),
                failures=int(self.failures[look, index]),
                logit_sum=float(self.requests[look, index] * _DIFFICULTY[index]),
                variance_sum=float(self.requests[look, index] * _EXACT),
            )
            for index, tier in enumerate(TIERS)
            if self.requests[look, index] > 0
        ]


@dataclass(frozen=True, slots=True)
class Stream:
    """Both arms of one simulated rollout."""

    baseline: ArmStream
    candidate: ArmStream

    def cohorts(self) -> Iterator[Cohort]:
        """The cohort at each look."""
        for look in range(len(self.baseline.requests)):
            baseline = Arm("baseline", self.baseline.strata(look))
            yield Cohort(baseline, Arm("candidate", self.candidate.strata(look)), calibration_id="known-tiers")


def simulate(truth: Truth, *, looks: int, per_look: int, rng: np.random.Generator) -> Stream:
    """Both arms side by side, labelled at once; *per_look* is the candidate's requests between two looks."""
    return Stream(
        _arm(truth.baseline_mix, truth.baseline_rate, looks, truth.baseline_per_look(per_look), rng),
        _arm(truth.candidate_mix, truth.candidate_rate, looks, per_look, rng),
    )


def _arm(mix: _Array, rate: _Array, looks: int, per_look: int, rng: np.random.Generator) -> ArmStream:
    arriving = rng.multinomial(per_look, mix, size=looks)
    failing = rng.binomial(arriving, rate)
    requests = arriving.cumsum(axis=0)
    return ArmStream(requests, requests, failing.cumsum(axis=0))


@dataclass(frozen=True, slots=True)
class Labelling:
    """When labels arrive, in looks: mean delays of successes and failures, and the age at which requests count."""

    success_delay: float
    failure_delay: float
    maturity: int


def simulate_late_labels(
    truth: Truth, labelling: Labelling, *, looks: int, per_look: int, is_cutover: bool, rng: np.random.Generator
) -> Stream:
    """
    Both arms with labels that arrive late; after a cutover the baseline's are all there from the first look on.

    Look 0 is the one at which the first requests are old enough to count.
    """
    baseline_per_look = truth.baseline_per_look(per_look)
    if is_cutover:
        whole = _arm(truth.baseline_mix, truth.baseline_rate, looks, baseline_per_look, rng)
        baseline = ArmStream(*(np.tile(counts[-1], (looks, 1)) for counts in (whole.requests,) * 2 + (whole.failures,)))
    else:
        baseline = _late_arm(
            truth.baseline_mix, truth.baseline_rate, labelling, looks=looks, per_look=baseline_per_look, rng=rng
        )
    candidate = _late_arm(truth.candidate_mix, truth.candidate_rate, labelling, looks=looks, per_look=per_look, rng=rng)
    return Stream(baseline, candidate)


def _late_arm(
    mix: _Array, rate: _Array, labelling: Labelling, *, looks: int, per_look: int, rng: np.random.Generator
) -> ArmStream:
    arrived = np.repeat(np.arange(looks), per_look)
    tier = rng.choice(len(mix), size=len(arrived), p=mix)
    failed = rng.random(len(arrived)) < rate[tier]
    delay = rng.exponential(np.where(failed, labelling.failure_delay, labelling.success_delay))
    labelled = np.maximum(arrived, np.ceil(arrived + delay - labelling.maturity).astype(int))

    def counted(at: _Counts, chosen: NDArray[np.bool_]) -> _Counts:
        chosen = chosen & (at < looks)
        counts = np.bincount(at[chosen] * len(mix) + tier[chosen], minlength=looks * len(mix))
        return counts.reshape(looks, len(mix)).cumsum(axis=0)

    everything = np.ones_like(failed)
    return ArmStream(counted(arrived, everything), counted(labelled, everything), counted(labelled, failed))
