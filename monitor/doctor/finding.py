"""One thing that was looked at, how it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Health(StrEnum):
    """How something is; what could not be looked at is skipped, never ok."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One check.

    Attributes:
        area: What it is about: broker, topics and so on.
        check: Name of the check within its area.
        sentence: What was found.
        advice: What to do; empty where nothing has to be done.
        is_unreachable: The problem is that a dependency is out of reach.
    """

    area: str
    check: str
    health: Health
    sentence: str
    advice: str = ""
    is_unreachable: bool = False


class Check(NamedTuple):
    """What several findings are about, of which one will be true; each has its words, and what to do."""

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
        """Unknown, because a dependency is out of reach."""
        return Finding(*self, Health.PROBLEM, sentence, advice, is_unreachable=True)

    def skipped(self, why: str) -> Finding:
        """It could not be looked at."""
        return Finding(*self, Health.SKIPPED, why)

    def ok_if(self, is_fine: bool, sentence: str, advice: str) -> Finding:  # noqa: FBT001
        """Nothing to do if it *is_fine*, else a warning."""
        return self.ok(sentence) if is_fine else self.warning(sentence, advice)


def exit_code(findings: Iterable[Finding]) -> int:
    """3 where a dependency is out of reach, 1 where there is a problem, 0 otherwise."""
    return max((3 if each.is_unreachable else 1 for each in findings if each.health is Health.PROBLEM), default=0)


def next_step(findings: Sequence[Finding]) -> str:
    """The one thing to do now: what is out of reach first, then the first problem, then the first warning."""
    to_do = (each for each in findings if each.advice)
    first = min(to_do, key=lambda each: (not each.is_unreachable, each.health != "problem"), default=None)
    return first.advice if first else "Nothing; a new model version starts a rollout by itself."
