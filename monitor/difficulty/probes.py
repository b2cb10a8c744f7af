"""Which requests make a good probe panel: those that say most about the tiers."""

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
    """A request that may become a probe, and how often the traffic asks for it (1 where it was not counted)."""

    features: RequestFeatures
    requests: int = 1


def select_probes(
    candidates: Sequence[ProbeCandidate], calibration: Calibration | None, *, count: int, settings: DifficultySettings
) -> Sequence[int]:
    """
    Indices of the *count* candidates that together say most about the tiers, the best first.

    Each step takes the candidate that adds most to the sum of four parts, so that the panel is within 63 % of the best
    one for that sum:

    - what its outcomes on half a dozen versions are expected to say about its own difficulty: much where it is not
      known yet and where versions fail neither always nor never;
    - for each tier, the logarithm of its number of probes, weighed by its share of the traffic: a panel of doubtful
      requests alone cannot show how well difficulty is predicted;
    - for each capability, the same;
    - the share of the traffic whose family (same prompt but for masked parts, else same tools) has a probe.

    Args:
        candidates: Requests to choose from, each once.
        calibration: What predicts their difficulty; without one that is trusted for the hard tier's rate, capabilities
            and families decide: a few early versions say too little.
        count: Probes wanted.
        settings: The failure rate that the hard tier begins at.

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
    # What makes requests alike, widest last; a request like no other is a family of its own.
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
    Probability that the reference version fails such a request, ratio 0 to 1.

    Args:
        features: Of the request.
        calibration: What predicts its difficulty.
        settings: The failure rate that the hard tier begins at.
    """
    estimate = calibration.difficulty.estimate(features)
    return failure_probability(estimate.logit + _ability(calibration, settings), estimate.variance)


def _ability(calibration: Calibration, settings: DifficultySettings) -> float:
    """Ability of the reference version: the cuts lie where it fails as often as the settings say."""
    return float(logit(settings.hard_failure_rate)) - calibration.cuts.hard


def _information_and_tiers(
    requests: Sequence[RequestFeatures], calibration: Calibration | None, settings: DifficultySettings
) -> tuple[_Array, _Array]:
    """What outcomes would say about each difficulty, in nats, and how probable each tier is; zeros without trust."""
    if calibration is None or not calibration.trust.is_trusted_for_hard_rate:
        return np.zeros(len(requests)), np.zeros((len(requests), len(TIERS)))
    estimates = [calibration.difficulty.estimate(features)[:2] for features in requests]
    logits, variances = np.array(estimates, dtype=float).T
    precision = _PLANNED_RUNS * _information(logits, variances, _ability(calibration, settings))
    return 0.5 * np.log1p(variances * precision), soft_tiers(logits, variances, calibration.cuts)


def _information(logits: _Array, variances: _Array, ability: float) -> _Array:
    """What one outcome of a version of that ability says about each difficulty, in 1/logits squared."""
    failing = expit(logits[:, None] + np.sqrt(variances)[:, None] * _NODES + ability)
    return (failing * (1.0 - failing)) @ _WEIGHTS


def _codes(names: Sequence[str]) -> NDArray[np.intp]:
    return np.unique(names, return_inverse=True)[1].reshape(-1)
