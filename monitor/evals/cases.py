"""What an eval run says of its cases: attempts as a reader finds them, and the cases that they make up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import msgspec

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
        has_unnamed_repeats: Attempts of the same repeat, or without any, came more than once.
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
    has_unnamed_repeats: bool = False
    input_text: str | None = None

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


def runs_of(attempts: Iterable[Attempt]) -> Mapping[str, Run]:
    """The runs that *attempts* make up, by model."""
    by_model: dict[str, dict[CaseKey, Attempt | list[Attempt]]] = defaultdict(dict)
    counted: set[tuple[CaseKey, str]] = set()
    for attempt in attempts:
        if attempt.attempt_id is not None:
            if (attempt.key, attempt.attempt_id) in counted:
                continue
            counted.add((attempt.key, attempt.attempt_id))
        cases = by_model[attempt.model]
        earlier = cases.get(attempt.key)
        if earlier is None:
            cases[attempt.key] = attempt
        elif isinstance(earlier, list):
            earlier.append(attempt)
        else:
            cases[attempt.key] = [earlier, attempt]
    return {
        model: Run(model, {key: _case(found if isinstance(found, list) else [found]) for key, found in cases.items()})
        for model, cases in sorted(by_model.items())
    }


def _case(attempts: Sequence[Attempt]) -> Case:
    scored = [attempt for attempt in attempts if attempt.passed is not None]
    failures = [attempt.failure for attempt in scored if not attempt.passed and attempt.failure]
    reasons = [attempt.unscored_because for attempt in attempts if attempt.unscored_because]
    digests = frozenset(attempt.input_digest for attempt in attempts if attempt.input_digest)
    repeats = Counter(attempt.repeat for attempt in attempts) if len(attempts) > 1 else None
    facts = [attempt.metadata for attempt in attempts if attempt.metadata]
    return Case(
        key=attempts[0].key,
        capability=next((attempt.capability for attempt in attempts if attempt.capability), ""),
        scored=len(scored),
        passed=sum(bool(attempt.passed) for attempt in scored),
        unscored=len(attempts) - len(scored),
        failure=failures[-1] if failures else None,
        unscored_because=reasons[-1] if reasons else None,
        input_digests=digests or _NO_DIGEST,
        metadata=facts[0] if len(facts) == 1 else {name: value for each in facts for name, value in each.items()},
        has_unnamed_repeats=repeats is not None and max(repeats.values()) > 1,
        input_text=next((attempt.input_text for attempt in attempts if attempt.input_text), None),
    )
