"""Who said what of a request: one letter for each kind of source, and how likely each was to be asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from monitor.trace.model import Outcome
from monitor.trace.outcome_policy import BUDGET, HUMAN, JUDGE, STATUS, resolve
from monitor.trace.settings import OutcomeSettings

KINDS = ("check", "reported", "judge", "human")
"""Kinds of sources in the order of their letters: checks see every run, the others as many as they are asked about."""

_KIND_OF = {STATUS: 0, BUDGET: 0, JUDGE: 2, HUMAN: 3}  # any other name is reported
_NOBODY = "-" * len(KINDS)
_LETTERS = {True: "p", False: "f"}


class Said(NamedTuple):
    """
    What was said of one request.

    Attributes:
        words: For each of `KINDS`, `p` (passed), `f` (failed) or `-` (nothing); empty if no source spoke.
        looked: One over the chance that a source other than a check looks at it; 0 where none did.
        audited: One over the chance that a person looks at it; 0 where none did.
    """

    words: str = ""
    looked: float = 0.0
    audited: float = 0.0


class SaidCount(NamedTuple):
    """
    Requests of which the same was said.

    Attributes:
        words: As in `Said`; empty where it is not known who said it, and only the final label is known.
        requests, labelled, failures: Numbers of requests, by the final label.
        looked, looked_squared, audited, audited_squared: Sums of the weights of `Said`, and of their squares.
    """

    words: str
    requests: float
    labelled: float
    failures: float
    looked: float
    looked_squared: float
    audited: float
    audited_squared: float


SILENCE = Said()


def what_was_said(standing: Iterable[Outcome], settings: OutcomeSettings) -> Said:
    """
    The latest word of each kind of source that the settings believe.

    A verdict without a `sampling_probability` counts as one that was certain to be asked for: give it for all verdicts
    of a kind or for none.
    """
    by_kind: list[list[Outcome]] = [[] for _ in KINDS]
    for outcome in standing:
        by_kind[_KIND_OF.get(outcome.source, 1)].append(outcome)
    spoken = [resolve(outcomes, settings) if outcomes else None for outcomes in by_kind]
    words = "".join("-" if each is None else _LETTERS[each.success] for each in spoken)
    if words == _NOBODY:
        return SILENCE
    _, reported, judge, human = spoken
    return Said(words, _weight(judge or reported or human), _weight(human))


def _weight(outcome: Outcome | None) -> float:
    return 0.0 if outcome is None else 1.0 / (outcome.sampling_probability or 1.0)
