"""`cliffwatch cases` and `cliffwatch labels`: the requests of a rollout to inspect, and those to label next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import options
from monitor.cli.app import app, print_result
from monitor.cli.probes import label, read_panel, write_lines
from monitor.cli.rollouts import matching, rollout_with_id
from monitor.cli.terminal.console import say
from monitor.cli.terminal.rollouts import print_cases, print_labels
from monitor.cli.wiring import existing_ledger, rollout_control_of
from monitor.errors import UsageError
from monitor.ledger.ledger import RolloutRecord
from monitor.output.cases import TraceLinks, cases_json, class_history, labels_json, probe_set
from monitor.probes.panel import incident_family
from monitor.rollout.cases import Cases
from monitor.rollout.wording import some_of
from monitor.service.rollout_control import MOST_CASES
from monitor.trace.labels import clean_label
from monitor.web.rollout_routes import DEFAULT_LABELS

cases = app.group("cases", "List requests that established versions passed and a candidate fails.", needs_command=False)


@dataclass(frozen=True)
class OneRollout:
    """
    Which rollout it is about.

    Attributes:
        rollout (ID): A rollout, or the beginning of its id; by default the latest.
        service (NAME): Only rollouts of this service.
    """

    rollout: str = ""
    service: str = ""

    def among(self, records: Sequence[RolloutRecord]) -> RolloutRecord:
        """
        The requested one of *records*.

        Raises:
            RolloutUnknown: there is none, or more than one.
        """
        return rollout_with_id(matching(records, service=self.service), self.rollout)


class CasesFormat(StrEnum):
    """Output formats of cases; Markdown prints the history of a class."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


@cases.callback(invoke_without_command=True)
def list_cases(
    context: typer.Context,
    *,
    which: OneRollout,
    capability: str = "",
    limit: Annotated[int, typer.Option(min=1, max=MOST_CASES)] = 100,
    shared: options.WithLedger,
    output: CasesFormat = CasesFormat.TABLE,
) -> None:
    """
    Cases of one rollout, grouped by tier, capability and failure class.

    A group is `open` if its failures are shown to be new with this rollout; `seen again` if they were new in an earlier
    rollout; `gone` (in `cliffwatch verdict`) if they were new in an earlier one and the candidate has none.

    --capability with --output markdown prints the history of that class over all rollouts, ready to paste into its
    runbook: failure rates, failures by signature, and cases with links to their traces (`web.trace_url`).

    Example: [bold]cliffwatch cases --capability refunds --output markdown > refunds.md[/]

    Args:
        capability (NAME): Only this capability class.
        limit: Show at most this many cases of each rollout.
        output (--output -o): Format of the result; markdown is the history of a class.
    """
    if context.invoked_subcommand is not None:
        return
    in_markdown = output is CasesFormat.MARKDOWN
    if in_markdown and not capability:
        raise UsageError("Name the class whose history you want: --capability NAME.")
    capability = clean_label(capability) or capability  # as the ledger writes it
    past, links = _cases(shared, which, limit, capability=capability, every=in_markdown)
    classes = {name for record, _ in past if record.verdict is not None for name in record.verdict.capabilities}
    if capability and classes and capability not in classes:
        raise UsageError(f"No request of these rollouts has the class {capability}; known: {some_of(sorted(classes))}.")
    if in_markdown:
        say(class_history(capability, past, links), nl=False)
    else:
        ((record, found_cases),) = past
        shown = (record, found_cases, links)
        print_result(options.OutputFormat(output), cases_json(*shown), print_cases, *shown)


@cases.command("export")
def export_cases(
    *,
    which: OneRollout,
    limit: Annotated[int, typer.Option(min=1, max=MOST_CASES)] = MOST_CASES,
    write: Path | None = None,
    texts: str = "",
    incident: str = "incident",
    shared: options.WithLedger,
) -> None:
    """
    Write cases as a probe set: native events, one JSON object per line, for an eval harness or `cliffwatch replay`.

    With --texts, the cases become a family of your probe panel, ready for `cliffwatch probes run`. The command adds
    your own text to each case (JSON lines with `text`, and `request_id` or `trace_id`), and marks numbers, names and
    dates as slots. The ledger stores no text. Cases without a text are left out and counted.

    Example: [bold]cliffwatch cases export --rollout 9c02 --write probes.jsonl[/]

    Args:
        limit: Write at most this many cases.
        write (FILE): Write here instead of standard output.
        texts (FILE): Your texts, by request_id or trace_id; writes a family for your panel.
        incident (NAME): The name of that family.
    """
    ((record, found_cases),), links = _cases(shared, which, limit)
    events = list(probe_set(record.rollout, found_cases, links))
    if texts:
        events = list(incident_family(label(incident), events, read_panel(texts, shared.config())))
    write_lines(write, events)
    if write is not None:
        say(f"{write}: {len(events):,} of {found_cases.total:,} cases")


def _cases(
    shared: options.WithLedger, which: OneRollout, limit: int, *, capability: str = "", every: bool = False
) -> tuple[Sequence[tuple[RolloutRecord, Cases]], TraceLinks]:
    """Cases of the requested rollout; if none is named and *every* is set, of all rollouts, the latest first."""
    config = shared.config()
    with existing_ledger(config, shared.ledger) as opened:
        control, records = rollout_control_of(config, opened), opened.rollouts()
        last = which.among(records)
        chosen = [*reversed(matching(records, service=which.service))] if every and not which.rollout else [last]
        past = [control.cases(one.rollout.rollout_id, limit=limit, capability=capability) for one in chosen]
        return past, control.links


labels = app.group("labels", "Choose the requests that people should label next.")


@labels.command("next")
def next_labels(
    *,
    which: OneRollout,
    count: Annotated[int, typer.Option(min=1)] = DEFAULT_LABELS,
    budget: Annotated[int, typer.Option(min=0)] = 0,
    seed: Annotated[int, typer.Option(min=1)] = 1,
    shared: options.Shared,
) -> None:
    """
    List the requests that people should label next, each with the probability that it was chosen.

    With a judge, these are requests that it has judged and no person has checked; without one, requests without a
    label. Label the whole list, and send each probability with its verdict as outcome.sampling_probability, so that
    rates stay unbiased.

    Example: [bold]cliffwatch labels next --service booking-agent --count 50[/]

    Args:
        count: Number of requests to label.
        budget (N): Show how precise the rates would be with N labels; 0 uses --count.
        seed: Another number draws other requests.
    """
    with existing_ledger(shared.config(), shared.ledger) as opened:
        control = rollout_control_of(shared.config(), opened)
        chosen = which.among(opened.rollouts()).rollout.rollout_id
        record, plan = control.next_labels(chosen, count=count, budget=budget or count, seed=seed)
        print_result(shared.output, labels_json(record, plan, control.links), print_labels, record.rollout, plan)
