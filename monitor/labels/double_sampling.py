"""
Failure rates from verdicts of several kinds: checks see every run, a judge sees a sample, people audit a sample of it.

Checks see every run, so their failures count as they are. Whether a run that passes them succeeded is unknown until a
judge or a person labels it; the labelled runs represent the others. If people audit the judge, each of its verdicts is
replaced by the audited failure rate of such verdicts. docs/labels.md has the derivation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.labels.source_verdicts import KINDS, PatternCount

Array = NDArray[np.float64]

_LEAST_VERDICTS = 30
_LEAST_SHARE = 0.01
_TINY = 1e-12

MISSING, FINAL_LABEL, CHECK_FAILED, JUDGE_FAILED, HUMAN_FAILED = -1, 0, 1, 3, 5
"""
How a request counts, as its index in a tally: it has no verdict that counts; only its final label is known; a check
failed it; the judge failed it (at the next index: passed it); a person failed it without a judge (next: passed it).
"""
_SAMPLED, JUDGED, AUDITS = slice(3, 7), slice(3, 5), slice(8, 14)


@dataclass(frozen=True, slots=True)
class Sources:
    """
    Which sources label a sample of a service's runs.

    Attributes:
        is_sampled: Whether any source does; if not, the final label counts as it is.
        is_judged: Whether a judge is among them.
    """

    is_sampled: bool
    is_judged: bool

    @property
    def judge(self) -> int:
        """Index in `KINDS` of the source that people audit: the judge, or without one the `reported` sources."""
        return 2 if self.is_judged else 1

    @classmethod
    def of(cls, counts: Iterable[PatternCount]) -> Sources:
        """The sources in *counts*. A few stray verdicts are no sample; they only change the labels of their runs."""
        requests, verdicts = 0.0, [0.0] * len(KINDS)
        for count in counts:
            requests += count.requests
            for kind, verdict in enumerate(count.pattern):
                verdicts[kind] += count.requests * (verdict != "-")
        least = min(_LEAST_VERDICTS, max(_LEAST_SHARE * requests, 1.0))
        return cls(is_sampled=max(verdicts[1:]) >= least, is_judged=verdicts[2] >= least)

    def place(self, pattern: str) -> int:
        """Index in a tally at which requests with this verdict *pattern* count, or `MISSING`."""
        if not pattern:
            return FINAL_LABEL
        if pattern[0] == "f" or (self.judge != 1 and pattern[1] == "f"):
            return CHECK_FAILED
        by_judge = pattern[self.judge] != "-"
        verdict, failed = (pattern[self.judge], JUDGE_FAILED) if by_judge else (pattern[3], HUMAN_FAILED)
        return MISSING if verdict == "-" else failed + (verdict == "p")

    def tally(self, count: PatternCount) -> Array:
        """
        Sums that `estimate` needs from *count*, shape (14,); tallies add up.

        By index: 0 requests; 1 those that a check failed; 2 failures by final label among these; 3 to 6 label weights
        of judge failures, judge passes, and failures and passes by people without a judge (or by an unknown source); 7
        sum of squared label weights; 8 to 10 audit weights of judge failures, of true failures among them, and squared;
        11 to 13 the same of judge passes.
        """
        sums, place, person = np.zeros(14), self.place(count.pattern), count.pattern[3:]
        sums[0] = count.requests
        if place == FINAL_LABEL:
            sums[5:8] = count.failures, count.labelled - count.failures, count.labelled
        elif place == CHECK_FAILED:
            sums[1:3] = count.requests, count.failures
        elif place != MISSING:
            sums[place], sums[7] = count.label_weight, count.label_weight_squared
            if place < HUMAN_FAILED and person != "-":
                failures = count.audit_weight * (person == "f")
                start = 8 + 3 * (place - JUDGE_FAILED)
                sums[start : start + 3] = count.audit_weight, failures, count.audit_weight_squared
        return sums


@dataclass(frozen=True, slots=True)
class Rate:
    """
    The failure rate that a tally supports.

    Attributes:
        failing: Failure rate of the requests that the judge failed, and of those it passed; (1, 0) without audits.
        weight: Requests that one unit of label weight represents.
        scale: Effective sample size per request, ratio 0 to 1.
        rate: Failures per request.
    """

    failing: tuple[float, float]
    weight: float
    scale: float
    rate: float

    def of(self, count: PatternCount, place: int) -> tuple[float, float]:
        """Effective requests and failures of *count*, which counts at *place* of the tally."""
        if place == CHECK_FAILED:
            return self.scale * count.requests, self.scale * count.failures
        if place == FINAL_LABEL:
            return self.scale * self.weight * count.labelled, self.scale * self.weight * count.failures
        requests = 0.0 if place == MISSING else self.scale * self.weight * count.label_weight
        return requests, requests * (*self.failing, 1.0, 0.0)[place - JUDGE_FAILED]


def estimate(tally: Array, audits: Array | None = None) -> Rate:
    """
    The failure rate of the requests of *tally*, with its effective sample size.

    Args:
        tally: As `Sources.tally` makes it.
        audits: Part `AUDITS` of a tally, shape (6,), to correct the judge by; None to take its verdicts as they are.

    Source:
        Double sampling of Neyman (1938), J. Am. Stat. Assoc. 33:101, and of Tenenbein (1970), J. Am. Stat. Assoc.
        65:1350; for verdicts of two values it is prediction-powered inference (Angelopoulos et al. 2023, Science
        382:669) with the best power tuning. It also holds if people choose what to audit by the judge's verdict.
    """
    requests, checked, weight = float(tally[0]), float(tally[1]), float(tally[_SAMPLED].sum())
    if weight <= 0:  # no request that passed the checks has a label
        return Rate((1.0, 0.0), 0.0, float(checked == requests > 0), 1.0)
    open_share, shares = (requests - checked) / requests, tally[_SAMPLED] / weight
    failing, smoothed, audited = _audited_rates(audits)
    within = smoothed * (1.0 - smoothed)  # variance of a label among the judge's failures, and among its passes
    rates = np.array([*failing, 1.0, 0.0])
    open_rate, checked_rate = float(shares @ rates), float(tally[2]) / checked if checked else 1.0
    rate = (1.0 - open_share) * checked_rate + open_share * open_rate
    labels = weight**2 / float(tally[7])
    even = (open_rate * labels + 1.0) / (labels + 2.0)  # one label of a large weight does not prove a rate
    between = max(even * (1.0 - even) - float(shares @ (rates * (1.0 - rates))), 0.0) + _TINY
    first_phase = (1.0 - open_share) * (checked_rate * (1.0 - checked_rate) + (checked_rate - rate) ** 2)
    first_phase += open_share * (open_rate - rate) ** 2
    total = first_phase + open_share * (between + float(shares[:2] @ within))
    second_phase = between * float(tally[7]) / weight**2 + float(shares[:2] ** 2 @ (within / audited))
    scale = total / (first_phase + requests * open_share**2 * second_phase) if open_share > 0 else 1.0
    return Rate((float(failing[0]), float(failing[1])), open_share * requests / weight, min(scale, 1.0), rate)


def audit_variance(tally: Array, audits: Array) -> float:
    """Variance of the failure rate of *tally* if a single audit, drawn evenly from its requests, corrected it."""
    smoothed = _audited_rates(audits)[1]
    return float(tally[JUDGED] @ (smoothed * (1.0 - smoothed))) / max(float(tally[_SAMPLED].sum()), _TINY)


def judge_errors(tally: Array, audits: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """
    The judge's false failures and false passes: (effective requests, errors among them) each.

    Args:
        tally: As `Sources.tally` makes it.
        audits: Part `AUDITS` of a tally, shape (6,).

    Source:
        Delta method on the shares of Tenenbein (1970).
    """
    failing, smoothed, audited = _audited_rates(audits)
    number = float(tally[JUDGED].sum())
    judged = tally[JUDGED] / max(number, _TINY)
    variances = judged**2 * smoothed * (1.0 - smoothed) / audited
    # Shares of all judged requests: failed and passed ones that are good, then that are bad; the error comes first.
    good = judged * (1.0 - failing), judged * (1.0 - smoothed)
    bad = (judged * failing)[::-1], (judged * smoothed)[::-1]
    return _share_of(good, variances, number), _share_of(bad, variances[::-1], number)


def _share_of(parts: tuple[Array, Array], variances: Array, number: float) -> tuple[float, float]:
    """
    Share of the first of two parts, as (effective requests, those of the first part).

    Args:
        parts: The two parts as shares of all *number* requests: as observed, then smoothed.
        variances: Of the two parts.
        number: All requests.
    """
    observed, smoothed = parts
    if observed.sum() <= 0:
        return 0.0, 0.0
    share = float(smoothed[0] / smoothed.sum())
    variance = float(smoothed[::-1] ** 2 @ variances / smoothed.sum() ** 4)
    requests = min(share * (1.0 - share) / max(variance, _TINY), float(observed.sum()) * number)
    return requests, float(observed[0] / observed.sum()) * requests


def _audited_rates(audits: Array | None) -> tuple[Array, Array, Array]:
    """Failure rate of the judge's failures and passes: observed, then smoothed; then the effective number of audits."""
    failing = np.array([1.0, 0.0])
    if audits is None:
        return failing, failing, np.ones(2)
    weights, failures, squares = audits.reshape(2, 3).T
    audited = weights**2 / np.maximum(squares, _TINY)
    failing = np.where(weights > 0, failures / np.maximum(weights, _TINY), failing)
    smoothed = (failing * audited + 1.0) / (audited + 2.0)  # a few audits without an error do not prove a rate of 0
    return failing, smoothed, np.maximum(audited, 1.0)
