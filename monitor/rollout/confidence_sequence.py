"""
Anytime-valid bounds.

A bound for a single look errs far more often if you look repeatedly; these bounds hold at all looks together.
docs/statistics.md derives them and shows their measured error rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaln, log_ndtr

_SMALLEST_LOGIT = -700.0
_PRECISE = 1e-9
_STEPS = 200
_NOTHING = 1e-9  # requests
_BETA_MIXTURE = (0.5, 0.5)  # over the rate; any two positive numbers keep the coverage
_PRIOR_DEVIATION = 0.75
"""Standard deviation, in logits, of the changes that bounds are tuned for: 60 -> 70 % is 0.44, 10 -> 20 % is 0.81."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Effective numbers of independent labelled requests, and of failures among them; rarely whole numbers."""

    requests: float
    failures: float

    @property
    def rate(self) -> float:
        return self.failures / self.requests

    def shrunk(self, design_effect: float) -> Counts:
        """The independent requests and failures among clustered ones."""
        return Counts(self.requests / design_effect, self.failures / design_effect)

    def with_fewer_failures(self, rate: float) -> Counts:
        """The same with the failure rate lowered by *rate*, a ratio."""
        return Counts(self.requests, max(self.failures - rate * self.requests, 0.0))


def bernoulli_bounds(failures: float, requests: float, *, error_rate: float) -> tuple[float, float]:
    """
    Exact confidence sequence for a failure rate.

    Args:
        failures: Failures so far, 0 to *requests*; fractions are allowed (effective counts).
        requests: Labelled requests so far.
        error_rate: Chance that the true rate is outside at any look, in (0, 1).

    Returns:
        (lower, upper), ratios 0 to 1; (0, 1) without requests.

    Source:
        Robbins (1970), Ann. Math. Stat. 41:1397, with the beta-binomial mixture of Howard, Ramdas, McAuliffe and
        Sekhon (2021), Ann. Stat. 49:1055: the likelihood ratio of the mixture to the true rate is a martingale that
        starts at 1, so by Ville's inequality it ever reaches 1 / error_rate with at most that chance.
    """
    a, b = _BETA_MIXTURE
    log_mixture = float(betaln(a + failures, b + requests - failures) - betaln(a, b))
    threshold = log_mixture + math.log(error_rate)
    return _lowest_rate(failures, requests, threshold), 1.0 - _lowest_rate(requests - failures, requests, threshold)


def mixture_z(information: float, *, level: float) -> float:
    """
    Standard errors between an estimate and its one-sided bound; about 3 where a test for a single look uses 2.

    Args:
        information: Variance of the changes that the bound is tuned for, over the variance of the estimate; above 0.
        level: Chance that the true value is beyond the bound at any look, in (0, 0.5).

    Source:
        Normal mixture of Robbins (1970) as in Howard et al. (2021), eq. (14), with half of the two-sided level on
        either side; for estimates of any kind Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Ann. Stat.
        52:2613.
    """
    return math.sqrt((1.0 + 1.0 / information) * (math.log1p(information) - 2.0 * math.log(2.0 * level)))


def normal_bounds(estimate: float, standard_error: float, *, level: float, scale: float) -> tuple[float, float]:
    """
    Asymptotic confidence sequence for any estimate with a standard error.

    Args:
        estimate: Any number.
        standard_error: Standard error of *estimate*, above 0.
        level: Chance that the true value is beyond one of the bounds at any look.
        scale: Standard deviation of the values that the bounds are tuned for, in the unit of *estimate*.
    """
    half_width = standard_error * mixture_z((scale / standard_error) ** 2, level=level)
    return estimate - half_width, estimate + half_width


def change_bounds(
    baseline: Counts, candidate: Counts, *, lower_level: float, upper_level: float
) -> tuple[float, float]:
    """
    Confidence sequence for the difference of two failure rates, from the first request on.

    Each rate gets a likelihood interval at the deviation of the normal mixture, and the two half-widths are combined
    as standard errors are. Likelihood intervals are skewed near 0 and 1, as the estimates are, which keeps the error
    rate at small counts (docs/statistics.md measures it at rates from 0.1 to 99.5 % and canaries of 1 %).

    Args:
        baseline: At least one request.
        candidate: At least one request.
        lower_level: Chance that the true difference is below the lower bound at any look.
        upper_level: Chance that it is above the upper bound at any look.

    Returns:
        (lower, upper), candidate minus baseline, -1 to 1.

    Source:
        Zou and Donner (2008), Stat. Med. 27:1693 (MOVER), after Newcombe (1998), Stat. Med. 17:873, with likelihood
        intervals and the boundary of `mixture_z`.
    """
    information = _information(baseline, candidate)
    below, above = mixture_z(information, level=lower_level), mixture_z(information, level=upper_level)
    change = candidate.rate - baseline.rate
    return (
        change - math.hypot(candidate.rate - _lowest(candidate, below), _highest(baseline, below) - baseline.rate),
        change + math.hypot(_highest(candidate, above) - candidate.rate, baseline.rate - _lowest(baseline, above)),
    )


def differ(baseline: Counts, candidate: Counts, *, level: float) -> bool:
    """
    Whether two rates differ significantly, at any look; never if neither arm has a failure.

    Args:
        baseline: Counts, possibly 0.
        candidate: Counts, possibly 0.
        level: Chance of a false alarm at any look, in each direction.
    """
    if min(baseline.requests, candidate.requests) <= 0:
        return False
    lower, upper = change_bounds(baseline, candidate, lower_level=level, upper_level=level)
    return lower > 0 or upper < 0


def rise_log_e_value(baseline: Counts, candidate: Counts) -> float:
    """
    Evidence that the candidate fails more often than the baseline, as the natural logarithm of an e-value.

    It is a mixture likelihood ratio of the signed root of the likelihood ratio, over rises. Without a rise, the e-value
    reaches x at any look with a chance of at most 1 / x, measured at the rates and canaries of docs/statistics.md; 0
    is no evidence.
    """
    pooled = Counts(baseline.requests + candidate.requests, baseline.failures + candidate.failures)
    ratio = 2 * (_log_likelihood(baseline) + _log_likelihood(candidate))
    ratio -= 2 * sum(_log_likelihood(arm, pooled.rate) for arm in (baseline, candidate))
    z = math.copysign(math.sqrt(max(ratio, 0.0)), candidate.rate - baseline.rate)
    return mixture_log_e_value(z, _information(baseline, candidate))


def mixture_log_e_value(z: float, information: float) -> float:
    """
    Log likelihood ratio of a normal deviate *z*: a half-normal mixture of positive effects against no effect.

    Args:
        z: Estimate over its standard error.
        information: As in `mixture_z`.

    >>> round(mixture_log_e_value(0.0, 1e-9), 6)
    0.0
    """
    shrinkage = information / (1.0 + information)
    log_positive = float(log_ndtr(z * math.sqrt(shrinkage)))
    return math.log(2.0) - 0.5 * math.log1p(information) + 0.5 * z * z * shrinkage + log_positive


def _information(baseline: Counts, candidate: Counts) -> float:
    """Prior variance of a change in logits over its sampling variance without a change."""
    requests, failures = baseline.requests + candidate.requests, baseline.failures + candidate.failures
    rate = (failures + 0.5) / (requests + 1.0)
    return _PRIOR_DEVIATION**2 * rate * (1.0 - rate) * baseline.requests * candidate.requests / requests


def _lowest(counts: Counts, deviation: float) -> float:
    threshold = _log_likelihood(counts) - deviation**2 / 2.0
    return _lowest_rate(counts.failures, counts.requests, threshold)


def _highest(counts: Counts, deviation: float) -> float:
    return 1.0 - _lowest(Counts(counts.requests, counts.requests - counts.failures), deviation)


def _log_likelihood(counts: Counts, rate: float | None = None) -> float:
    """Log-likelihood of *rate*, 0 to 1, or of the maximum-likelihood rate if it is None."""
    rate = counts.rate if rate is None else rate
    failures, passes = counts.failures, counts.requests - counts.failures
    of_failures = failures * math.log(rate) if failures > _NOTHING else 0.0
    return of_failures + (passes * math.log1p(-rate) if passes > _NOTHING else 0.0)


def _lowest_rate(failures: float, requests: float, threshold: float) -> float:
    """
    The rate below failures / requests at which the log-likelihood is *threshold*.

    Newton's method in the logit, in which the log-likelihood is concave: it starts at or below the solution, so no step
    overshoots.
    """
    if failures <= _NOTHING:
        return 0.0
    logit = threshold / failures
    for _ in range(_STEPS):
        rate = 1.0 / (1.0 + math.exp(-logit)) if logit > _SMALLEST_LOGIT else 0.0
        softplus = math.log1p(math.exp(logit))
        slope = failures - requests * rate
        step = (threshold - failures * logit + requests * softplus) / slope if slope > 0 else 0.0
        if step <= _PRECISE * max(1.0, abs(logit)):
            break
        logit += step
    return rate
