"""Verdicts by kind of source: one letter for each kind, and how likely each was to be asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from monitor.trace.model import Outcome
from monitor.trace.outcome_policy import BUDGET, HUMAN, JUDGE, STATUS, resolve
from monitor.trace.settings import OutcomeSettings

KINDS = ("check", "reported", "judge", "human")
"""Kinds of sources in the order of their letters. Checks see every run; the others see only the runs they are given."""

_KIND_OF = {STATUS: 0, BUDGET: 0, JUDGE: 2, HUMAN: 3}  # any other source is `reported`
_NO_PATTERN = "-" * len(KINDS)
_LETTERS = {True: "p", False: "f"}


class SourceVerdicts(NamedTuple):
    """
    The verdicts on one request.

    Attributes:
        pattern: For each of `KINDS`, `p` (passed), `f` (failed) or `-` (no verdict); empty if no source gave one.
        label_weight: One over the sampling probability of the judge's verdict, else of the report, else of the
            person's; 0 without any.
        audit_weight: One over the chance that a person labels it; 0 if none did.
    """

    pattern: str = ""
    label_weight: float = 0.0
    audit_weight: float = 0.0


class PatternCount(NamedTuple):
    """
    Requests with the same verdict pattern.

    Attributes:
        pattern: As in `SourceVerdicts`; empty if only the final label is known and not who gave it.
        requests, labelled, failures: Numbers of requests, by the final label.
        label_weight, label_weight_squared, audit_weight, audit_weight_squared: Sums of the weights of
            `SourceVerdicts`, and of their squares.
    """

    pattern: str
    requests: float
    labelled: float
    failures: float
    label_weight: float
    label_weight_squared: float
    audit_weight: float
    audit_weight_squared: float


NO_VERDICTS = SourceVerdicts()


def source_verdicts(standing: Iterable[Outcome], settings: OutcomeSettings) -> SourceVerdicts:
    """
    The latest verdict of each kind of source that the settings accept.

    A verdict without a `sampling_probability` counts as certain to be asked for, so senders give the probability for
    all verdicts of a kind or for none.
    """
    by_kind: list[list[Outcome]] = [[] for _ in KINDS]
    for outcome in standing:
        by_kind[_KIND_OF.get(outcome.source, 1)].append(outcome)
    resolved = [resolve(outcomes, settings) if outcomes else None for outcomes in by_kind]
    pattern = "".join("-" if verdict is None else _LETTERS[verdict.success] for verdict in resolved)
    if pattern == _NO_PATTERN:
        return NO_VERDICTS
    _, reported, judge, human = resolved
    return SourceVerdicts(pattern, _weight(judge or reported or human), _weight(human))


def _weight(outcome: Outcome | None) -> float:
    return 0.0 if outcome is None else 1.0 / (outcome.sampling_probability or 1.0)
