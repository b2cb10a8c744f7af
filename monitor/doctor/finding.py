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
    """What several findings are about, of which one will be true."""

    area: str
    check: str

    def ok(self, sentence: str) -> Finding:
        return ok(*self, sentence)

    def warning(self, sentence: str, advice: str) -> Finding:
        return warning(*self, sentence, advice)

    def problem(self, sentence: str, advice: str) -> Finding:
        return problem(*self, sentence, advice)


def ok(area: str, check: str, sentence: str) -> Finding:
    """Nothing to do."""
    return Finding(area, check, Health.OK, sentence)


def warning(area: str, check: str, sentence: str, advice: str) -> Finding:
    """It works, and not as well as it should."""
    return Finding(area, check, Health.WARNING, sentence, advice)


def warning_if(is_bad: bool, area: str, check: str, sentence: str, advice: str) -> Finding:  # noqa: FBT001
    """A warning, or nothing to do."""
    return warning(area, check, sentence, advice) if is_bad else ok(area, check, sentence)


def problem(area: str, check: str, sentence: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(area, check, Health.PROBLEM, sentence, advice)


def unreachable(area: str, check: str, sentence: str, advice: str) -> Finding:
    """Unknown, because a dependency is out of reach."""
    return Finding(area, check, Health.PROBLEM, sentence, advice, is_unreachable=True)


def skipped(area: str, check: str, why: str) -> Finding:
    """It could not be looked at."""
    return Finding(area, check, Health.SKIPPED, why)


def exit_code(findings: Iterable[Finding]) -> int:
    """3 where a dependency is out of reach, 1 where there is a problem, 0 otherwise."""
    problems = [*filter(_is_problem, findings)]
    if any(map(_is_unreachable, problems)):
        return 3
    return 1 if problems else 0


def next_step(findings: Sequence[Finding]) -> str:
    """The one thing to do now: what is out of reach first, then the first problem, then the first warning."""
    for is_urgent in (_is_unreachable, _is_problem, bool):
        for finding in filter(is_urgent, findings):
            if finding.advice:
                return finding.advice
    return "Nothing; a new model version starts a rollout by itself."


def _is_problem(finding: Finding) -> bool:
    return finding.health is Health.PROBLEM


def _is_unreachable(finding: Finding) -> bool:
    return finding.is_unreachable


def duration(seconds: float) -> str:
    """*seconds* as people say it, in the largest unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
