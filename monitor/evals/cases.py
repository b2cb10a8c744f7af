"""What an eval run says of its cases: attempts as a reader finds them, and the cases that they make up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from monitor.trace.capability import UNCLASSIFIED
from monitor.trace.labels import clean_label
from monitor.trace.model import Request

MetadataValue = float | str
"""A fact about a case: a number or a short text."""


class CaseKey(NamedTuple):
    """
    Names a case across runs.

    Attributes:
        task: The task or suite that the case belongs to; empty where the file names none.
        case_id: Its name within the task.
    """

    task: str
    case_id: str

    def __str__(self) -> str:
        return f"{self.task}/{self.case_id}" if self.task else self.case_id


_NO_FACTS: Mapping[str, MetadataValue] = MappingProxyType({})
_NO_DIGEST: frozenset[str] = frozenset()
_UNNAMED = (None,)


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """
    One answer of a model to one case, and what the suite thought of it.

    Attributes:
        key: The case.
        model: The model that answered; empty where the file does not say.
        passed: Whether the answer passed; None where it was not scored.
        repeat: What tells repeats of a case apart (an epoch), or None where it is asked once.
        capability: Class of the case; empty where nobody says.
        failure: What went wrong in the suite's own words, or None.
        unscored_because: Why there is no score (`error`, `limit`, ...), or None where there is one.
        input_text: What was asked, or None.
        input_digest: Tells whether two runs asked the same, or None where the file does not hold the question.
        metadata: Facts about the case that tell its tier or capability, names as the suite has them.
        attempt_id: Names this very attempt, so that it counts once though written twice; None where nothing does.
        variant: The prompt, where one suite asks the same cases with several.
    """

    key: CaseKey
    model: str = ""
    passed: bool | None = None
    repeat: str | None = None
    capability: str = ""
    failure: str | None = None
    unscored_because: str | None = None
    input_text: str | None = None
    input_digest: str | None = None
    metadata: Mapping[str, MetadataValue] = _NO_FACTS
    attempt_id: str | None = None
    variant: str = ""


class Case(msgspec.Struct, frozen=True, gc=False):
    """
    Everything that one run did on one case.

    A case has a score where at least half of its attempts have one, and its pass rate is over those; otherwise it is
    unknown, and never a success.

    Attributes:
        scored: Attempts with a score.
        passed: Those that passed.
        unscored: Attempts without a score.
        failure: What went wrong in the last failed attempt, in the suite's words.
        input_digests: Questions that went under this name; more than one is a duplicate id.
        repeats: What tells the attempts apart, one entry each.
        input_text: What was asked, or None.
    """

    key: CaseKey
    capability: str
    scored: int
    passed: int
    unscored: int
    failure: str | None
    unscored_because: str | None
    input_digests: frozenset[str]
    metadata: Mapping[str, MetadataValue]
    repeats: tuple[str | None, ...]
    input_text: str | None

    @property
    def has_unnamed_repeats(self) -> bool:
        """Attempts of the same repeat, or without any, came more than once."""
        return len(set(self.repeats)) < len(self.repeats)

    @property
    def is_scored(self) -> bool:
        """At least half of the attempts have a score."""
        return self.scored > 0 and self.scored >= self.unscored

    @property
    def pass_rate(self) -> float | None:
        """Passed per scored attempt, ratio 0 to 1; None where the case has no score."""
        return self.passed / self.scored if self.is_scored else None

    @property
    def is_flaky(self) -> bool:
        """Passed some attempts and failed others."""
        return 0 < self.passed < self.scored


@dataclass(frozen=True, slots=True)
class Run:
    """One model on one suite; *model* is empty where the files do not name it."""

    model: str
    cases: Mapping[CaseKey, Case]

    @property
    def attempts(self) -> int:
        """Scored attempts over all cases."""
        return sum(case.scored for case in self.cases.values())


class CaseFold:
    """Attempts folded into cases as they come; one that is written twice counts once."""

    def __init__(self) -> None:
        self.cases: dict[CaseKey, Case] = {}
        self._counted: set[tuple[CaseKey, str]] = set()

    def add(self, attempt: Attempt) -> None:
        """Count *attempt* for its case."""
        if attempt.attempt_id is not None:
            if (attempt.key, attempt.attempt_id) in self._counted:
                return
            self._counted.add((attempt.key, attempt.attempt_id))
        earlier = self.cases.get(attempt.key)
        self.cases[attempt.key] = _case(attempt) if earlier is None else merged(earlier, _case(attempt))


def runs_of(attempts: Iterable[Attempt]) -> Mapping[str, Run]:
    """The runs that *attempts* make up, by model."""
    by_model: dict[str, CaseFold] = defaultdict(CaseFold)
    for attempt in attempts:
        by_model[attempt.model].add(attempt)
    return {model: Run(model, fold.cases) for model, fold in sorted(by_model.items())}


def merged(one: Case, other: Case) -> Case:
    """Two parts of the attempts of one case together; the second came later."""
    return Case(
        key=one.key,
        capability=one.capability or other.capability,
        scored=one.scored + other.scored,
        passed=one.passed + other.passed,
        unscored=one.unscored + other.unscored,
        failure=other.failure or one.failure,
        unscored_because=other.unscored_because or one.unscored_because,
        input_digests=one.input_digests | other.input_digests,
        metadata=one.metadata if one.metadata == other.metadata else {**one.metadata, **other.metadata},
        repeats=one.repeats + other.repeats,
        input_text=one.input_text or other.input_text,
    )


def _case(attempt: Attempt) -> Case:
    passed = attempt.passed
    return Case(
        key=attempt.key,
        capability=attempt.capability,
        scored=int(passed is not None),
        passed=int(bool(passed)),
        unscored=int(passed is None),
        failure=None if passed is None or passed else attempt.failure,
        unscored_because=attempt.unscored_because,
        input_digests=_NO_DIGEST if attempt.input_digest is None else frozenset({attempt.input_digest}),
        metadata=attempt.metadata,
        repeats=_UNNAMED if attempt.repeat is None else (attempt.repeat,),
        input_text=attempt.input_text,
    )


def request_of(key: CaseKey, capability: str, text: str | None) -> Request:
    """
    The request that a case asks, the same whichever tool ran it.

    Metadata is left out: nobody can tell what was known before the model answered from what was measured afterwards.
    """
    return Request(capability=clean_label(capability) or UNCLASSIFIED, request_id=str(key), text=text)
