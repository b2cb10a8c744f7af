"""Findings for a person, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from monitor.doctor.finding import Finding, Health, next_step
from monitor.output.plain import Json, fields_of, plain

_STYLES = {Health.OK: "green", Health.WARNING: "yellow", Health.PROBLEM: "bold red", Health.SKIPPED: "dim"}
_WIDTH = len(Health.PROBLEM) + 2
_AREA_WIDTH = 12


def print_finding(console: Console, finding: Finding) -> None:
    """One line of what was found, and one of what to do."""
    line = Text()
    line.append(finding.health.value.ljust(_WIDTH), _STYLES[finding.health])
    line.append(finding.area.ljust(_AREA_WIDTH), "dim").append(finding.sentence)
    console.print(line, soft_wrap=True, highlight=False)
    if finding.advice:
        console.print(Text(f"{' ' * (_WIDTH + _AREA_WIDTH)}→ {finding.advice}"), soft_wrap=True, highlight=False)


def print_tally(console: Console, findings: Sequence[Finding]) -> None:
    """How many of each health, and the one next thing to do."""
    tally = Counter(finding.health for finding in findings)
    console.print(", ".join(f"{tally[health]} {health.value}" for health in Health if tally[health]), highlight=False)
    console.print(f"Next: {next_step(findings)}", soft_wrap=True, highlight=False, markup=False)


def findings_json(findings: Sequence[Finding]) -> Json:
    """All of them with their tally and the next thing to do."""
    tally = Counter(finding.health for finding in findings)
    counts = {health.value: tally[health] for health in Health}
    return {"checks": list(findings), "tally": counts, "next": next_step(findings)}


@plain.register
def _finding(finding: Finding) -> Json:
    fields = fields_of(finding)
    return {"finding": fields.pop("sentence"), "unreachable": fields.pop("is_unreachable"), **fields}
