"""The result of one check, with advice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Health(StrEnum):
    """The result of a check; what could not be checked is skipped, never ok."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One check.

    Attributes:
        area: Broker, topics and so on.
        check: Name of the check within its area.
        sentence: The result, in one sentence.
        advice: What to do; empty if there is nothing to do.
        is_unreachable: Whether the problem is that a dependency cannot be reached.
    """

    area: str
    check: str
    health: Health
    sentence: str
    advice: str = ""
    is_unreachable: bool = False


class Check(NamedTuple):
    """Area and name of a check, with a constructor for each possible result."""

    area: str
    check: str

    def ok(self, sentence: str) -> Finding:
        """Nothing to do."""
        return Finding(*self, Health.OK, sentence)

    def warning(self, sentence: str, advice: str) -> Finding:
        """It works, and not as well as it should."""
        return Finding(*self, Health.WARNING, sentence, advice)

    def problem(self, sentence: str, advice: str) -> Finding:
        """It does not work."""
        return Finding(*self, Health.PROBLEM, sentence, advice)

    def unreachable(self, sentence: str, advice: str) -> Finding:
        """Unknown, because a dependency cannot be reached."""
        return Finding(*self, Health.PROBLEM, sentence, advice, is_unreachable=True)

    def skipped(self, reason: str) -> Finding:
        """It could not be checked."""
        return Finding(*self, Health.SKIPPED, reason)

    def ok_if(self, is_fine: bool, sentence: str, advice: str) -> Finding:  # noqa: FBT001
        """Nothing to do if it *is_fine*, else a warning."""
        return self.ok(sentence) if is_fine else self.warning(sentence, advice)


def exit_code(findings: Iterable[Finding]) -> int:
    """3 if a dependency cannot be reached, 1 if there is another problem, else 0."""
    return max((3 if f.is_unreachable else 1 for f in findings if f.health is Health.PROBLEM), default=0)


def next_step(findings: Sequence[Finding]) -> str:
    """What to do first: about an unreachable dependency, else about the first problem, else the first warning."""
    to_do = (finding for finding in findings if finding.advice)
    first = min(to_do, key=lambda finding: (not finding.is_unreachable, finding.health != "problem"), default=None)
    return first.advice if first else "Nothing; a new model version starts a rollout by itself."
