"""What a person reads of checks: findings of `doctor`, with their JSON, and what `ledger` found and did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from monitor.cli.terminal.console import print_line
from monitor.cli.terminal.rollouts import columns
from monitor.doctor.finding import Finding, Health, next_step
from monitor.ledger.audit import Check
from monitor.ledger.inspection import SchemaVersion
from monitor.ledger.ledger import Pruned
from monitor.output.plain import Json, fields_of, iso_time, plain

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
    print_line(console, f"Next: {next_step(findings)}")


def findings_json(findings: Sequence[Finding]) -> Json:
    """All of them with their tally and the next thing to do."""
    tally = Counter(finding.health for finding in findings)
    counts = {health.value: tally[health] for health in Health}
    return {"checks": list(findings), "tally": counts, "next": next_step(findings)}


@plain.register
def _finding(finding: Finding) -> Json:
    fields = fields_of(finding)
    return {"finding": fields.pop("sentence"), "unreachable": fields.pop("is_unreachable"), **fields}


def print_schema(console: Console, before: SchemaVersion) -> None:
    """From which schema to which the ledger was brought."""
    nothing = f"The ledger has schema {before.found}; there was nothing to do."
    brought = f"The ledger was brought from schema {before.found or 'none'} to {before.wanted}."
    print_line(console, nothing if before.is_current else brought)


def print_pruned(console: Console, pruned: Sequence[Pruned], done: str) -> None:
    """How many rows of each subject went, or would go."""
    table = columns("rows", done)
    for each in pruned:
        table.add_row(each.subject.replace("_", " "), f"{each.rows:,}")
    console.print(table)


def print_names(console: Console, shown: Mapping[str, Any]) -> None:
    """Each name with a place, what it reserves of the series, and what was freed."""
    table = columns("service, environment, version, class", "kind", "series", "last request")
    for each in shown["names"]:
        last = "" if each.last_started_at is None else iso_time(each.last_started_at)
        table.add_row(Text(each.name), each.kind, f"{each.series:,}", last)
    console.print(table)
    used = [f"{used:,} of {shown['limits'][name]:,} {name}" for name, used in shown["used"].items()]
    freed = f"; freed: {', '.join(shown['freed'])}" if shown["freed"] else ""
    print_line(console, f"{', '.join(used)}{freed}.")


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Each comparison, and where it does not hold."""
    table = columns("check", "compared", "result")
    for check in checks:
        table.add_row(check.name, f"{check.compared:,}", "differs" if check.problems else "ok")
    console.print(table)
    for check in checks:
        for problem in check.problems:
            print_line(console, f"{check.name}: {problem}")
