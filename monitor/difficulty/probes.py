"""Which requests make a good probe panel: those that say most about the tiers, and what trust they would buy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from monitor.difficulty.calibration import DEFAULT_SETTINGS, Calibration
from monitor.difficulty.correction import soft_tiers
from monitor.difficulty.estimator import failure_probability
from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from monitor.difficulty.tiers import TIERS

_Array = NDArray[np.float64]

_INFORMATION_WEIGHT = 4.0
_PLANNED_RUNS = 6
_Z_LOWER = 1.2816
_LOGISTIC = np.pi / 8
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_SMALLEST_VARIANCE = 1e-9
_RUNS_TO_BE_KNOWN = 2


@dataclass(frozen=True, slots=True)
class ProbeCandidate:
    """A request that may become a probe, and how often the traffic asks for it (1 where it was not counted)."""

    features: RequestFeatures
    requests: int = 1


def select_probes(
    candidates: Sequence[ProbeCandidate],
    calibration: Calibration | None,
    *,
    count: int,
    settings: DifficultySettings = DEFAULT_SETTINGS,
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


@dataclass(frozen=True, slots=True)
class PanelForecast:
    """
    What a panel would buy, replayed on so many more versions; ratios 0 to 1.

    Attributes:
        versions: Versions that the panel is replayed on.
        labels: Outcomes that this gives.
        auc: Within-version AUC of the difficulty to expect on the panel; None until as many versions were learnt as the
            hard tier's rate needs: earlier, how much requests differ is not known well enough to be extrapolated.
        auc_lower: Lower 90 % bound that this many labels would give it.
        known_share: Share of the candidates' traffic that would be known.
        missing: One sentence per gate that would still not be passed.
    """

    versions: int
    labels: int
    auc: float | None
    auc_lower: float | None
    known_share: float
    missing: Sequence[str]


def forecast_trust(
    candidates: Sequence[ProbeCandidate],
    panel: Sequence[int],
    calibration: Calibration | None,
    *,
    versions: int,
    settings: DifficultySettings = DEFAULT_SETTINGS,
) -> PanelForecast:
    """
    The trust that a panel would buy.

    The versions to come are taken to be as able as the calibration's reference version. A panel that lies at the cuts
    has fewer of the requests that everybody passes, so that its AUC is lower than that of the traffic.

    Args:
        candidates: Requests that the panel was chosen from; they stand for the traffic.
        panel: Indices of the probes among them.
        calibration: What is known so far, or None.
        versions: Versions that the panel would be replayed on.
        settings: The gates.
    """
    probes = [candidates[index].features for index in panel]
    auc = auc_lower = None
    if calibration is not None and probes and calibration.trust.versions >= settings.min_versions_hard_rate:
        # Trust is measured on the latest versions, each beside what those before it had taught.
        runs = max(versions - (settings.evaluated_versions + 1) / 2, 0.0)
        failure_rate, auc = _expected_auc(
            *_beliefs(probes, calibration), runs=runs, ability=_ability(calibration, settings)
        )
        evaluated = len(probes) * min(settings.evaluated_versions, max(versions, 1))
        auc_lower = auc - _Z_LOWER * _auc_deviation(auc, failure_rate, evaluated)
    known_share = _known_share(candidates, panel, calibration, versions)
    learnt = versions + (0 if calibration is None else calibration.trust.versions)
    return PanelForecast(
        versions=versions,
        labels=versions * len(probes),
        auc=auc,
        auc_lower=auc_lower,
        known_share=known_share,
        missing=tuple(_missing(learnt, auc, auc_lower, known_share, settings)),
    )


def reference_failure_probability(
    features: RequestFeatures, calibration: Calibration, settings: DifficultySettings = DEFAULT_SETTINGS
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


def _missing(
    versions: int, auc: float | None, auc_lower: float | None, known_share: float, settings: DifficultySettings
) -> list[str]:
    missing = []
    if versions < settings.min_versions:
        missing.append(f"{settings.min_versions - versions} more versions for tiers.")
    if versions < settings.min_versions_hard_rate:
        missing.append(f"{settings.min_versions_hard_rate - versions} more versions for the hard tier's rate.")
    if auc is not None and auc < settings.min_auc:
        missing.append(f"An AUC of {settings.min_auc:.2f}: the panel tells failures from successes with {auc:.2f}.")
    elif auc_lower is not None and auc_lower < settings.min_auc_lower:
        missing.append(f"More labels: the AUC may be as low as {auc_lower:.2f} ({settings.min_auc_lower:.2f} needed).")
    if known_share < settings.min_known_share:
        missing.append(
            f"Known requests for the hard tier's rate: {known_share:.0%} of the traffic "
            f"({settings.min_known_share:.0%} needed)."
        )
    return missing


def _known_share(
    candidates: Sequence[ProbeCandidate], panel: Sequence[int], calibration: Calibration | None, versions: int
) -> float:
    chosen = [candidates[index].features for index in panel] if versions >= _RUNS_TO_BE_KNOWN else []
    items = {features.item for features in chosen} - {None}
    families = {features.prompt_family for features in chosen} - {None}

    def is_known(features: RequestFeatures) -> bool:
        if features.item in items or features.prompt_family in families:
            return True
        return calibration is not None and calibration.difficulty.estimate(features).is_known

    known = sum(candidate.requests for candidate in candidates if is_known(candidate.features))
    return known / max(1, sum(candidate.requests for candidate in candidates))


def _information_and_tiers(
    requests: Sequence[RequestFeatures], calibration: Calibration | None, settings: DifficultySettings
) -> tuple[_Array, _Array]:
    """What outcomes would say about each difficulty, in nats, and how probable each tier is; zeros without trust."""
    if calibration is None or not calibration.trust.is_trusted_for_hard_rate:
        return np.zeros(len(requests)), np.zeros((len(requests), len(TIERS)))
    logits, variances = _beliefs(requests, calibration)
    precision = _PLANNED_RUNS * _information(logits, variances, _ability(calibration, settings))
    return 0.5 * np.log1p(variances * precision), soft_tiers(logits, variances, calibration.cuts)


def _information(logits: _Array, variances: _Array, ability: float) -> _Array:
    """What one outcome of a version of that ability says about each difficulty, in 1/logits squared."""
    failing = expit(logits[:, None] + np.sqrt(variances)[:, None] * _NODES + ability)
    return (failing * (1.0 - failing)) @ _WEIGHTS


def _beliefs(requests: Sequence[RequestFeatures], calibration: Calibration) -> tuple[_Array, _Array]:
    """Mean and variance of the difficulty of each request, in logits and logits squared."""
    estimates = [calibration.difficulty.estimate(features) for features in requests]
    return np.array([each.logit for each in estimates]), np.array([each.variance for each in estimates])


def _expected_auc(logits: _Array, variances: _Array, *, runs: float, ability: float) -> tuple[float, float]:
    """Failure rate and within-version AUC to expect when each request has been answered *runs* more times."""
    variances = np.maximum(variances, _SMALLEST_VARIANCE)
    left = 1.0 / (1.0 / variances + runs * _information(logits, variances, ability))
    predicted = logits[:, None] + np.sqrt(np.maximum(variances - left, 0.0))[:, None] * _NODES
    probability = expit((predicted + ability) / np.sqrt(1.0 + _LOGISTIC * left)[:, None])
    weight = np.broadcast_to(_WEIGHTS / len(logits), predicted.shape).ravel()
    order = np.argsort(predicted.ravel(), kind="stable")
    failed, passed = (weight * probability.ravel())[order], (weight * (1.0 - probability.ravel()))[order]
    concordant = failed @ (np.cumsum(passed) - 0.5 * passed)
    return float(failed.sum()), float(concordant / (failed.sum() * passed.sum()))


def _auc_deviation(auc: float, failure_rate: float, labels: int) -> float:
    """Standard error of an AUC (Hanley and McNeil 1982, Radiology 143:29)."""
    failed, passed = max(failure_rate * labels, 1.0), max((1.0 - failure_rate) * labels, 1.0)
    both_failed, both_passed = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    variance = auc * (1.0 - auc) + (failed - 1.0) * (both_failed - auc**2) + (passed - 1.0) * (both_passed - auc**2)
    return float(np.sqrt(max(variance, 0.0) / (failed * passed)))


def _codes(names: Sequence[str]) -> NDArray[np.intp]:
    return np.unique(names, return_inverse=True)[1].reshape(-1)
