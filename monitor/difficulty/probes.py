"""Selects requests for a probe panel by their expected information about the tiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.correction import soft_tiers
from monitor.difficulty.estimator import failure_probability
from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS

_Array = NDArray[np.float64]

_INFORMATION_WEIGHT = 4.0
_PLANNED_RUNS = 6
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, slots=True)
class ProbeCandidate:
    """A request that may become a probe, and how often it occurs in the traffic (1 if it was not counted)."""

    features: RequestFeatures
    requests: int = 1


def select_probes(
    candidates: Sequence[ProbeCandidate], calibration: Calibration | None, *, count: int, settings: DifficultySettings
) -> Sequence[int]:
    """
    Indexes of the *count* candidates that together have the most information about the tiers, the best first.

    Each step takes the candidate that adds most to the sum of four parts. This greedy choice reaches at least 63 % of
    the best possible sum:

    - the information that its outcomes on six versions are expected to give about its own difficulty, which is large if
      the difficulty is uncertain and versions neither always nor never fail;
    - for each tier, the logarithm of its number of probes, weighted by its share of the traffic, because a panel of
      uncertain requests alone cannot show how well difficulty is predicted;
    - for each capability, the same;
    - the share of the traffic whose family (same masked prompt, else same tools) has a probe.

    Args:
        candidates: Requests to choose from, each once.
        calibration: Predicts their difficulty. Unless it is trusted for the hard tier's rate, only capabilities and
            families count, because a few early versions predict too little.
        count: Number of probes.
        settings: Sets the failure rate at which the hard tier begins.

    Source:
        Expected information of a Bayesian design as in Lindley (1956), Annals of Mathematical Statistics 27:986; the
        bound of the greedy choice by Nemhauser, Wolsey and Fisher (1978), Mathematical Programming 14:265.
    """
    if not candidates:
        return []
    requests = [candidate.features for candidate in candidates]
    traffic = np.array([candidate.requests for candidate in candidates], dtype=float)
    traffic /= traffic.sum()
    capability = _codes([features.capability for features in requests])
    # The masked prompt, else the tools; a request without either is a family of its own.
    family = _codes([each.prompt_family or each.tool_set or f"alone {index}" for index, each in enumerate(requests)])
    capability_share, family_share = np.bincount(capability, traffic), np.bincount(family, traffic)
    information, tiers = _information_and_tiers(requests, calibration, settings)
    information *= _INFORMATION_WEIGHT / count
    tier_share, of_tier = traffic @ tiers, np.zeros(tiers.shape[1])
    of_capability, has_probe = np.zeros(len(capability_share)), np.zeros(len(family_share), dtype=bool)
    free = np.ones(len(candidates), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        gain = information + np.log1p(tiers / (1.0 + of_tier)) @ tier_share
        gain += (capability_share * np.log1p(1.0 / (1.0 + of_capability)))[capability]
        gain += np.where(has_probe, 0.0, family_share)[family]
        best = int(np.argmax(np.where(free, gain, -np.inf)))
        chosen.append(best)
        free[best] = False
        of_tier += tiers[best]
        of_capability[capability[best]] += 1
        has_probe[family[best]] = True
    return chosen


def reference_failure_probability(
    features: RequestFeatures, calibration: Calibration, settings: DifficultySettings
) -> float:
    """
    Probability that the reference version fails a request, ratio 0 to 1.

    Args:
        features: Features of the request.
        calibration: Predicts its difficulty.
        settings: Sets the failure rate at which the hard tier begins.
    """
    estimate = calibration.difficulty.estimate(features)
    return failure_probability(estimate.logit + _ability(calibration, settings), estimate.variance)


def _ability(calibration: Calibration, settings: DifficultySettings) -> float:
    """Ability of the reference version, from the cut at which it has the failure rate of the settings."""
    return float(logit(settings.hard_failure_rate)) - calibration.cuts.hard


def _information_and_tiers(
    requests: Sequence[RequestFeatures], calibration: Calibration | None, settings: DifficultySettings
) -> tuple[_Array, _Array]:
    """Expected information of outcomes about each difficulty, in nats, and tier probabilities; zeros without trust."""
    if calibration is None or not calibration.trust.is_trusted_for_hard_rate:
        return np.zeros(len(requests)), np.zeros((len(requests), len(TIERS)))
    estimates = [calibration.difficulty.estimate(features)[:2] for features in requests]
    logits, variances = np.array(estimates, dtype=float).T
    precision = _PLANNED_RUNS * _information(logits, variances, _ability(calibration, settings))
    return 0.5 * np.log1p(variances * precision), soft_tiers(logits, variances, calibration.cuts)


def _information(logits: _Array, variances: _Array, ability: float) -> _Array:
    """Expected Fisher information of one outcome, at that *ability*, about each difficulty, in 1/logits squared."""
    probability = expit(logits[:, None] + np.sqrt(variances)[:, None] * _NODES + ability)
    return (probability * (1.0 - probability)) @ _WEIGHTS


def _codes(names: Sequence[str]) -> NDArray[np.intp]:
    return np.unique(names, return_inverse=True)[1].reshape(-1)
