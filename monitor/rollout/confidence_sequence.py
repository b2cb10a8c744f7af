"""
Bounds that hold however often they are looked at.

A bound made for one look errs far more often when it is looked at all day; these hold at every look at once.
"""

from __future__ import annotations

import math
from functools import lru_cache

from scipy.special import lambertw

_SMALLEST_LOGIT = -700.0
_PRECISE = 1e-12
_STEPS = 200


def bernoulli_bounds(
    failures: float, requests: float, *, error_rate: float, prior: tuple[float, float] = (0.5, 0.5)
) -> tuple[float, float]:
    """
    Exact confidence sequence for a failure rate.

    Args:
        failures: Failures so far, 0 to *requests*; fractions are allowed (effective counts).
        requests: Labelled requests so far.
        error_rate: Chance that the true rate is ever outside, over all looks, in (0, 1).
        prior: Beta mixture over the rate; any two positive numbers keep the coverage.

    Returns:
        (lower, upper), ratios 0 to 1; (0, 1) without requests.

    Source:
        Robbins (1970), Ann. Math. Stat. 41:1397, with the beta-binomial mixture of Howard, Ramdas, McAuliffe and
        Sekhon (2021), Ann. Stat. 49:1055: the likelihood ratio of the mixture to the true rate is a martingale that
        starts at 1, so by Ville's inequality it ever reaches 1 / error_rate with at most that chance.
    """
    if requests <= 0:
        return 0.0, 1.0
    threshold = _log_mixture(failures, requests, prior) + math.log(error_rate)
    return _lowest_rate(failures, requests, threshold), 1.0 - _lowest_rate(requests - failures, requests, threshold)


def normal_mixture_bounds(
    estimate: float, standard_error: float, *, error_rate: float, best_standard_error: float
) -> tuple[float, float]:
    """
    Asymptotic confidence sequence for anything that has a standard error.

    The estimate times its information (1 / standard_error^2) moves like a Brownian motion in the information, so the
    normal-mixture boundary holds at every look at once, as soon as the standard errors can be believed: callers ask
    for minimum counts first. Shares, changes of rates, and excesses all go this way.

    Args:
        estimate: Any number.
        standard_error: Its standard error now; 0 or less gives the widest bounds, since nothing is known of it.
        error_rate: Chance that the truth is ever outside, over all looks, in (0, 1); half of it on either side.
        best_standard_error: Where the bounds are tightest: the standard error at which a decision is due.

    Returns:
        (lower, upper), in the unit of *estimate*.

    Source:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Ann. Stat. 52:2613, "Time-uniform central limit theory
        and asymptotic confidence sequences"; boundary of Robbins (1970) as in Howard et al. (2021), eq. (14).
    """
    if standard_error <= 0:
        return -math.inf, math.inf
    half_width = standard_error * normal_mixture_z(
        standard_error, error_rate=error_rate, best_standard_error=best_standard_error
    )
    return estimate - half_width, estimate + half_width


def normal_mixture_z(standard_error: float, *, error_rate: float, best_standard_error: float) -> float:
    """Standard errors between the estimate and its bounds; about 3 where a test for a single look would have 2."""
    spread = (best_standard_error / standard_error) ** 2 * _mixture_ratio(error_rate)
    return math.sqrt((1.0 + 1.0 / spread) * (math.log1p(spread) - 2.0 * math.log(error_rate)))


def rate_rise_log_e_value(
    *, baseline_failures: float, baseline_requests: float, candidate_failures: float, candidate_requests: float
) -> float:
    """
    Evidence that the candidate fails more often than the baseline: log of an e-process, exact at any counts.

    Beta mixtures over both rates, against the best explanation under "the candidate fails no more often". Under that
    hypothesis the e-value ever reaches x with a chance of at most 1 / x, whatever the two rates, the allocation of
    traffic and the times of the looks.

    Returns:
        Natural logarithm; positive speaks for a rise, 0 without requests in one arm.

    Source:
        Universal inference, Wasserman, Ramdas and Balakrishnan (2020), PNAS 117:16880, section 7 (the numerator is a
        mixture instead of a prequential estimate, which keeps the proof).
    """
    if baseline_requests <= 0 or candidate_requests <= 0:
        return 0.0
    baseline_rate = baseline_failures / baseline_requests
    candidate_rate = candidate_failures / candidate_requests
    if candidate_rate > baseline_rate:  # the best explanation without a rise is one common rate
        pooled = (baseline_failures + candidate_failures) / (baseline_requests + candidate_requests)
        baseline_rate = candidate_rate = pooled
    prior = (0.5, 0.5)
    return (
        _log_mixture(baseline_failures, baseline_requests, prior)
        + _log_mixture(candidate_failures, candidate_requests, prior)
        - _log_likelihood(baseline_failures, baseline_requests, baseline_rate)
        - _log_likelihood(candidate_failures, candidate_requests, candidate_rate)
    )


@lru_cache(maxsize=64)
def _mixture_ratio(error_rate: float) -> float:
    """
    Information at which the boundary is tightest, in units of the mixture's own precision.

    Source:
        Howard, Ramdas, McAuliffe and Sekhon (2021), Ann. Stat. 49:1055, proposition 3 (lower Lambert W branch).
    """
    return -float(lambertw(-(error_rate**2) / math.e, k=-1).real) - 1.0


def _log_mixture(failures: float, requests: float, prior: tuple[float, float]) -> float:
    a, b = prior
    return _log_beta(a + failures, b + requests - failures) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(failures: float, requests: float, rate: float) -> float:
    passes = requests - failures
    return (failures * math.log(rate) if failures > 0 else 0.0) + (passes * math.log1p(-rate) if passes > 0 else 0.0)


def _lowest_rate(failures: float, requests: float, threshold: float) -> float:
    """
    The rate below failures / requests at which the log-likelihood is *threshold*.

    Newton's method in the logit, where the log-likelihood is concave: from the start, at or below the solution, every
    step stays below it and none is too long.
    """
    if failures <= 0:
        return 0.0
    logit = threshold / failures
    for _ in range(_STEPS):
        rate = 1.0 / (1.0 + math.exp(-logit)) if logit > _SMALLEST_LOGIT else 0.0
        softplus = math.log1p(math.exp(logit)) if logit < 0 else logit + math.log1p(math.exp(-logit))
        slope = failures - requests * rate
        step = (threshold - failures * logit + requests * softplus) / slope if slope > 0 else 0.0
        if step <= _PRECISE * max(1.0, abs(logit)):
            break
        logit += step
    return rate
