"""`cliffwatch ledger`: migrate its schema, prune old rows, free names, and audit its counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer
from rich.text import Text

from monitor.cli import options
from monitor.cli.app import EXIT_PROBLEM, app, print_result
from monitor.cli.terminal.console import Console, print_line
from monitor.cli.terminal.rollouts import columns
from monitor.cli.wiring import existing_ledger, ledger_url, opened_ledger
from monitor.clock import WallClock
from monitor.ledger.audit import Check
from monitor.ledger.inspection import schema_version
from monitor.ledger.ledger import PruneSubject
from monitor.output.plain import iso_time

ledger_app = app.group("ledger", "Update the ledger's schema, delete old rows, check its counts.")


@ledger_app.command("migrate")
def migrate_ledger(*, shared: options.Shared) -> None:
    """
    Update the ledger's schema, as `cliffwatch run` does when it starts; create the ledger if it does not exist.

    Example: [bold]cliffwatch ledger migrate --ledger postgresql+psycopg://cliffwatch@db/cliffwatch[/]
    """
    config = shared.config()
    before = schema_version(ledger_url(config.ledger, shared.ledger))
    with opened_ledger(config, shared.ledger):
        """Opening a ledger migrates it."""
    current = f"The ledger has schema {before.found}; there was nothing to do."
    updated = f"Updated the ledger from schema {before.found or 'none'} to {before.wanted}."
    sentence = current if before.is_current else updated
    print_result(shared.output, {"from": before.found, "to": before.wanted}, print_line, sentence)


@ledger_app.command("prune")
def prune_ledger(
    *,
    older_than_days: Annotated[float | None, typer.Option(min=0.04)] = None,
    dry_run: bool = False,
    shared: options.Shared,
) -> None:
    """
    Delete rows that the retention settings no longer keep; a running service does this by itself and may keep running.

    Counters of versions in use do not change, nor does the evidence of rollouts under way. Requests of the environments
    `reference` and `probes` stay.

    Example: [bold]cliffwatch ledger prune --older-than-days 30 --dry-run[/]

    Args:
        older_than_days (N): Delete requests older than this.
        dry_run: Only show what would be deleted.
    """
    config = shared.config()
    if older_than_days is not None:
        settings = config.ledger.model_copy(update={"retention_days": older_than_days, "sample_per_version": 0})
        config = config.model_copy(update={"ledger": settings})
    now = WallClock().time()
    with existing_ledger(config, shared.ledger) as opened:
        rows = dict.fromkeys(PruneSubject, 0)
        for pruned in opened.due_to_prune(now=now) if dry_run else opened.prune(now=now):
            rows[pruned.subject] += pruned.rows
    done = "would be deleted" if dry_run else "deleted"
    shown = columns("rows", done, rows=((name.replace("_", " "), f"{count:,}") for name, count in rows.items()))
    print_result(shared.output, {"dry_run": dry_run, "rows": rows}, Console.print, shown)


@ledger_app.command("names")
def ledger_names(*, free: Annotated[list[str] | None, typer.Option()] = None, shared: options.Shared) -> None:
    """
    List the model versions and classes that hold a place on `/metrics`, and free those that you name.

    Other names can then use the place. All counts stay in the ledger and on `/metrics`. If a freed name arrives again,
    it takes a place again, or counts as `other` if there is none. References, probes and arms of a rollout under way
    keep their places. Restart a running service to free the places there.

    Example: [bold]cliffwatch ledger names --free "evil* * *"[/]

    Args:
        free (NAME): Service, environment and version as the list shows them; * stands for any characters.
    """
    config = shared.config()
    with existing_ledger(config, shared.ledger) as opened:
        versions = [row.name for row in opened.names() if row.kind == "model_version"]
        freed = opened.free([name for name in versions if any(fnmatchcase(name, pattern) for pattern in free or ())])
        names = opened.names()
    services = {row.name.rpartition(" ")[0] for row in names if row.kind == "model_version"}
    used = {"services": len(services), "series": sum(row.series for row in names)}
    limits = {name: getattr(config.ledger, f"max_{name}") for name in used}
    print_result(shared.output, {"names": names, "used": used, "limits": limits, "freed": freed}, _print_names)


@ledger_app.command("check")
def check_ledger(*, shared: options.Shared) -> None:
    """
    Compare every count with its rows, without changing anything; exit 1 if they differ.

    Example: [bold]cliffwatch ledger check --ledger sqlite:///cliffwatch.db[/]
    """
    with existing_ledger(shared.config(), shared.ledger, of_this_version=True) as opened:
        checks = opened.checks()
    print_result(shared.output, {"checks": checks}, _print_checks, checks)
    if any(check.problems for check in checks):
        raise typer.Exit(EXIT_PROBLEM)


def _print_names(console: Console, shown: Mapping[str, Any]) -> None:
    """Print each name with the series that it reserves, and the names that were freed."""
    last = {row: iso_time(row.last_started_at) if row.last_started_at is not None else "" for row in shown["names"]}
    rows = ((Text(row.name), row.kind, f"{row.series:,}", at) for row, at in last.items())
    console.print(columns("service, environment, version, class", "kind", "series", "last request", rows=rows))
    used = [f"{used:,} of {shown['limits'][name]:,} {name}" for name, used in shown["used"].items()]
    freed = f"; freed: {', '.join(shown['freed'])}" if shown["freed"] else ""
    print_line(console, f"{', '.join(used)}{freed}.")


def _print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print each comparison, and the differences."""
    rows = ((check.name, f"{check.compared:,}", "differs" if check.problems else "ok") for check in checks)
    console.print(columns("check", "compared", "result", rows=rows))
    for check in checks:
        for problem in check.problems:
            print_line(console, f"{check.name}: {problem}")
