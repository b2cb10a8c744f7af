"""
Failure rates from verdicts of several kinds: some sources see every run, some a part of them, people a part of those.

Errors and other checks see every run, so their failures are counted. What passes them is unknown until a judge or a
person looks; those that somebody looked at stand for the rest. Where people check the judge, its words are replaced by
how often its failures fail and how often its passes fail. docs/labels.md has the derivation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.labels.source_verdicts import KINDS, SaidCount

Array = NDArray[np.float64]

_LEAST_LOOKS = 30
_LEAST_SHARE = 0.01
_TINY = 1e-12
_LOOKS = slice(3, 7)

MISSING, PLAIN, KNOWN, JUDGED, ALONE = -1, 0, 1, 3, 5
"""
Nobody said enough to count them; the label that stands counts; a check says that they failed; a judge's failures (its
passes are next); failures by the word of people alone (passes are next).
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """
    Which sources look at a part of a service's runs.

    Attributes:
        looks: Whether any does; if not, the final label counts as it is.
        is_judged: Whether a judge is among them.
        judge: Place among `KINDS` of the source whose words people check: the judge's, else what was reported.
    """

    looks: bool
    is_judged: bool

    @property
    def judge(self) -> int:
        return 2 if self.is_judged else 1

    @classmethod
    def of(cls, counts: Iterable[SaidCount]) -> Sources:
        """Those of *counts*; a few stray verdicts make no source, and revise single labels as they are."""
        requests, spoken = 0.0, [0.0] * len(KINDS)
        for count in counts:
            requests += count.requests
            for place, word in enumerate(count.words):
                spoken[place] += count.requests * (word != "-")
        least = min(_LEAST_LOOKS, max(_LEAST_SHARE * requests, 1.0))
        return cls(looks=max(spoken[1:]) >= least, is_judged=spoken[2] >= least)

    def place(self, words: str) -> int:
        """Where requests of which *words* was said count in a tally: one of the places below."""
        if not words:
            return PLAIN
        if words[0] == "f" or (self.judge != 1 and words[1] == "f"):
            return KNOWN
        word, failed = (words[self.judge], JUDGED) if words[self.judge] != "-" else (words[3], ALONE)
        return MISSING if word == "-" else failed + (word == "p")

    def tally(self, count: SaidCount) -> Array:
        """
        *count* by the part that it plays, shape (14,); tallies add up.

        Requests; known failures and how many stand as such; weights of what was judged a failure, judged a pass, and,
        where only a person looked, failures and passes, with the sum of their squares; then of what was judged a
        failure and of what was judged a pass each the weights of the audited, of failures among them, and squares.
        """
        sums, place, person = np.zeros(14), self.place(count.words), count.words[3:]
        sums[0] = count.requests
        if place == PLAIN:
            sums[5:8] = count.failures, count.labelled - count.failures, count.labelled
        elif place == KNOWN:
            sums[1:3] = count.requests, count.failures
        elif place != MISSING:
            sums[place], sums[7] = count.looked, count.looked_squared
            if place < ALONE and person != "-":
                start = 8 + 3 * (place - JUDGED)
                sums[start : start + 3] = count.audited, count.audited * (person == "f"), count.audited_squared
        return sums


@dataclass(frozen=True, slots=True)
class Rate:
    """
    What a tally says.

    Attributes:
        failing: How often what was judged a failure, and what was judged a pass, fails; (1, 0) without checks.
        weight: Requests that each weight of those looked at stands for.
        scale: Independent requests, over all requests, that say as much as what was seen; ratio 0 to 1.
        rate: Failures per request.
    """

    failing: tuple[float, float]
    weight: float
    scale: float
    rate: float

    def of(self, count: SaidCount, place: int) -> tuple[float, float]:
        """Requests, and failures among them, that say as much as *count*, which counts at *place* of the tally."""
        if place == KNOWN:
            return self.scale * count.requests, self.scale * count.failures
        if place == PLAIN:
            return self.scale * self.weight * count.labelled, self.scale * self.weight * count.failures
        looked = 0.0 if place == MISSING else self.scale * self.weight * count.looked
        return looked, looked * (*self.failing, 1.0, 0.0)[place - JUDGED]


def estimate(tally: Array, audits: Array | None = None) -> Rate:
    """
    The failure rate of the requests of *tally*, and how much it is worth.

    Args:
        tally: As `Sources.tally` makes it.
        audits: Audited ones of the same kind, shape (6,), to correct by; None to believe the judge.

    Source:
        Double sampling of Neyman (1938), J. Am. Stat. Assoc. 33:101, and of Tenenbein (1970), J. Am. Stat. Assoc.
        65:1350; for verdicts of two values it is prediction-powered inference (Angelopoulos et al. 2023, Science
        382:669) with the best power tuning, and valid too where people choose by the judge's word.
    """
    requests, known, looked = float(tally[0]), float(tally[1]), float(tally[_LOOKS].sum())
    if looked <= 0:  # nothing is known of what passed the checks
        return Rate((1.0, 0.0), 0.0, float(known == requests > 0), 1.0)
    open_share, shares = (requests - known) / requests, tally[_LOOKS] / looked
    failing, smoothed, audited = _checked(audits)
    doubts = smoothed * (1.0 - smoothed)
    each = np.array([*failing, 1.0, 0.0])
    open_rate, known_rate = float(shares @ each), float(tally[2]) / known if known else 1.0
    rate = (1.0 - open_share) * known_rate + open_share * open_rate
    looks = looked**2 / float(tally[7])
    even = (open_rate * looks + 1.0) / (looks + 2.0)  # one label of a large weight does not prove a rate
    between = max(even * (1.0 - even) - float(shares @ (each * (1.0 - each))), 0.0) + _TINY
    first = (1.0 - open_share) * (known_rate * (1.0 - known_rate) + (known_rate - rate) ** 2)
    first += open_share * (open_rate - rate) ** 2
    whole = first + open_share * (between + float(shares[:2] @ doubts))
    seen = between * float(tally[7]) / looked**2 + float(shares[:2] ** 2 @ (doubts / audited))
    scale = whole / (first + requests * open_share**2 * seen) if open_share > 0 else 1.0
    return Rate((float(failing[0]), float(failing[1])), open_share * requests / looked, min(scale, 1.0), rate)


def doubt(tally: Array, audits: Array) -> float:
    """Variance of what one audit, chosen evenly among the requests of *tally*, says about their failure rate."""
    smoothed = _checked(audits)[1]
    return float(tally[3:5] @ (smoothed * (1.0 - smoothed))) / max(float(tally[_LOOKS].sum()), _TINY)


def judge_errors(tally: Array, audits: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """
    How often the judge fails what is good, and passes what is bad: (independent requests, errors among them) each.

    Args:
        tally: As `Sources.tally` makes it.
        audits: Audited ones of the same kind, shape (6,).

    Source:
        Delta method on the shares of Tenenbein (1970).
    """
    failing, smoothed, audited = _checked(audits)
    number = float(tally[3:5].sum())
    judged = tally[3:5] / max(number, _TINY)
    variances = judged**2 * smoothed * (1.0 - smoothed) / audited
    # Shares of what was judged a failure and a pass that are good, then that are bad; the error comes first.
    good = judged * (1.0 - failing), judged * (1.0 - smoothed)
    bad = (judged * failing)[::-1], (judged * smoothed)[::-1]
    return _share_of(good, variances, number), _share_of(bad, variances[::-1], number)


def _share_of(parts: tuple[Array, Array], variances: Array, number: float) -> tuple[float, float]:
    """The first of two parts of a *number* over both, as (requests, those of it); *parts* as seen, then smoothed."""
    seen, smoothed = parts
    if seen.sum() <= 0:
        return 0.0, 0.0
    share = float(smoothed[0] / smoothed.sum())
    variance = float(smoothed[::-1] ** 2 @ variances / smoothed.sum() ** 4)
    requests = min(share * (1.0 - share) / max(variance, _TINY), float(seen.sum()) * number)
    return requests, float(seen[0] / seen.sum()) * requests


def _checked(audits: Array | None) -> tuple[Array, Array, Array]:
    """How often what was judged a failure, and a pass, fails: as seen, and smoothed; and how many were checked."""
    failing = np.array([1.0, 0.0])
    if audits is None:
        return failing, failing, np.ones(2)
    weights, failures, squares = audits.reshape(2, 3).T
    audited = weights**2 / np.maximum(squares, _TINY)
    failing = np.where(weights > 0, failures / np.maximum(weights, _TINY), failing)
    smoothed = (failing * audited + 1.0) / (audited + 2.0)  # no error among a few does not prove that there are none
    return failing, smoothed, np.maximum(audited, 1.0)
