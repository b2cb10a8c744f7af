"""What a person reads in a terminal about the ledger itself: its schema, what was pruned, whether its counts hold."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from monitor.cli.terminal.rollouts import columns
from monitor.ledger.audit import Check
from monitor.ledger.inspection import SchemaVersion
from monitor.ledger.ledger import Pruned


def print_schema(console: Console, before: SchemaVersion) -> None:
    """From which schema to which the ledger was brought."""
    nothing = f"The ledger has schema {before.found}; there was nothing to do."
    brought = f"The ledger was brought from schema {before.found or 'none'} to {before.wanted}."
    console.print(nothing if before.is_current else brought, soft_wrap=True)


def print_pruned(console: Console, pruned: Sequence[Pruned], done: str) -> None:
    """How many rows of each subject went, or would go."""
    table = columns("rows", done)
    for each in pruned:
        table.add_row(each.subject.replace("_", " "), f"{each.rows:,}")
    console.print(table)


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Each comparison, and where it does not hold."""
    table = columns("check", "compared", "result")
    for check in checks:
        table.add_row(check.name, f"{check.compared:,}", "differs" if check.problems else "ok")
    console.print(table)
    for check in checks:
        for problem in check.problems:
            console.print(f"{check.name}: {problem}", soft_wrap=True, markup=False)
