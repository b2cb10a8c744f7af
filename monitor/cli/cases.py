"""`cliffwatch cases`: requests that established versions passed and a candidate fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import options
from monitor.cli.app import app, print_result, writing
from monitor.cli.probes_run import label, read_panel
from monitor.cli.rollout_choice import found, matching
from monitor.cli.terminal.console import say
from monitor.cli.terminal.rollouts import print_cases
from monitor.cli.wiring import existing_ledger, rollout_control_of
from monitor.config.model import Config
from monitor.ledger.ledger import RolloutRecord
from monitor.output.cases import TraceLinks, cases_json, probe_set
from monitor.probes.incident import incident_family
from monitor.rollout.cases import Cases
from monitor.service.rollout_control import MOST_CASES

cases = options.Commands(help="Requests that established versions passed and a candidate fails.")
app.add_typer(cases, name="cases")


@cases.callback(invoke_without_command=True)
def list_cases(
    context: typer.Context,
    *,
    rollout: str = "",
    service: str = "",
    limit: Annotated[int, typer.Option(min=1, max=MOST_CASES)] = 100,
    shared: options.Shared,
) -> None:
    """
    Cases of one rollout, grouped by tier, capability and failure class.

    Example: [bold]cliffwatch cases --service booking-agent[/]

    Args:
        rollout (ID): A rollout, or the beginning of its id; the last one without.
        service (NAME): Only rollouts of this service.
        limit: Cases that are shown at most.
    """
    if context.invoked_subcommand is not None:
        return
    config = shared.config()
    record, found_cases, links = _asked(config, shared.ledger, matching_service=service, rollout=rollout, limit=limit)
    shown = (record.rollout, found_cases, links)
    print_result(shared.output, cases_json(*shown), print_cases, *shown)


@cases.command("export")
def export_cases(
    *,
    rollout: str = "",
    service: str = "",
    limit: Annotated[int, typer.Option(min=1, max=MOST_CASES)] = MOST_CASES,
    write: Path | None = None,
    texts: str = "",
    incident: str = "incident",
    shared: options.WithLedger,
) -> None:
    """
    Write cases as a probe set: native events, one JSON object per line, for an eval harness or `cliffwatch replay`.

    With --texts, cases become a family of your probe panel instead, ready for `cliffwatch probes run`: each is joined
    with your own text of it (JSON lines with `text`, and `request_id` or `trace_id`), and its numbers, names and dates
    are marked as slots. No text is kept in the ledger; cases without a text are left out and counted.

    Example: [bold]cliffwatch cases export --rollout 9c02 --write probes.jsonl[/]

    Args:
        rollout (ID): A rollout, or the beginning of its id; the last one without.
        service (NAME): Only rollouts of this service.
        limit: Cases that are shown at most.
        write (FILE): Write here instead of standard output.
        texts (FILE): Your texts, by request_id or trace_id: write a panel family.
        incident (NAME): The name of that family.
    """
    config = shared.config()
    record, found_cases, links = _asked(config, shared.ledger, matching_service=service, rollout=rollout, limit=limit)
    events = list(probe_set(record.rollout, found_cases, links))
    if texts:
        events = list(incident_family(label(incident), events, read_panel(texts, config)))
    lines = "".join(json.dumps(event, separators=(",", ":"), allow_nan=False) + "\n" for event in events)
    if write is None:
        say(lines, nl=False)
        return
    with writing(write):
        write.write_text(lines, encoding="utf-8")
    say(f"{write}: {len(events):,} of {found_cases.total:,} cases")


def _asked(
    config: Config, ledger: str | None, *, matching_service: str, rollout: str, limit: int
) -> tuple[RolloutRecord, Cases, TraceLinks]:
    with existing_ledger(config, ledger) as opened:
        control = rollout_control_of(config, opened)
        chosen = found(matching(opened.rollouts(), service=matching_service), rollout)
        return *control.cases(chosen.rollout.rollout_id, limit=limit), control.links
