"""What an eval run says of its cases: attempts as a reader finds them, and the cases that they make up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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


@dataclass(frozen=True, slots=True)
class Attempt:
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
        metadata: Facts about the case, names as the suite has them.
        attempt_id: Names this very attempt, so that it counts once though written twice; None where nothing does.
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
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    attempt_id: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """
    Everything that one run did on one case.

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
    def pass_rate(self) -> float | None:
        """Passed per scored attempt, ratio 0 to 1; None where nothing was scored."""
        return self.passed / self.scored if self.scored else None

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
    by_case: dict[str, dict[CaseKey, list[Attempt]]] = defaultdict(lambda: defaultdict(list))
    counted: set[tuple[CaseKey, str]] = set()
    for attempt in attempts:
        if attempt.attempt_id is not None:
            if (attempt.key, attempt.attempt_id) in counted:
                continue
            counted.add((attempt.key, attempt.attempt_id))
        by_case[attempt.model][attempt.key].append(attempt)
    return {
        model: Run(model, {key: _case(key, found) for key, found in cases.items()})
        for model, cases in sorted(by_case.items())
    }


def _case(key: CaseKey, attempts: Sequence[Attempt]) -> Case:
    scored = [attempt for attempt in attempts if attempt.passed is not None]
    failures = [attempt.failure for attempt in scored if not attempt.passed and attempt.failure]
    reasons = [attempt.unscored_because for attempt in attempts if attempt.unscored_because]
    repeats = Counter(attempt.repeat for attempt in attempts)
    return Case(
        key=key,
        capability=next((attempt.capability for attempt in attempts if attempt.capability), ""),
        scored=len(scored),
        passed=sum(bool(attempt.passed) for attempt in scored),
        unscored=len(attempts) - len(scored),
        failure=failures[-1] if failures else None,
        unscored_because=reasons[-1] if reasons else None,
        input_digests=frozenset(attempt.input_digest for attempt in attempts if attempt.input_digest),
        metadata={name: value for attempt in attempts for name, value in attempt.metadata.items()},
        has_unnamed_repeats=max(repeats.values()) > 1,
        input_text=next((attempt.input_text for attempt in attempts if attempt.input_text), None),
    )
