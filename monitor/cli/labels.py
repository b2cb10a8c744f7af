"""`cliffwatch labels next`: the requests whose labels say most, with the chances that keep the answer unbiased."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli import options
from monitor.cli.app import app, print_result
from monitor.cli.rollout_choice import found, matching
from monitor.cli.terminal.rollouts import print_labels
from monitor.cli.wiring import existing_ledger, rollout_control_of
from monitor.output.cases import labels_json
from monitor.web.rollout_routes import DEFAULT_LABELS

labels = app.group("labels", "What people should label next.")


@labels.command("next")
def next_labels(
    *,
    rollout: str = "",
    service: str = "",
    count: Annotated[int, typer.Option(min=1)] = DEFAULT_LABELS,
    budget: Annotated[int, typer.Option(min=0)] = 0,
    seed: Annotated[int, typer.Option(min=1)] = 1,
    shared: options.Shared,
) -> None:
    """
    Print the requests whose labels by people say most, with the chance that each was chosen with.

    With a judge, these are requests that it has judged and no person has checked; without one, requests without a
    label. Label the whole list, and send each chance with its verdict as outcome.sampling_probability: then rates stay
    unbiased.

    Example: [bold]cliffwatch labels next --service booking-agent --count 50[/]

    Args:
        rollout (ID): A rollout, or the beginning of its id; by default the last one.
        service (NAME): Only rollouts of this service.
        count: Requests to label.
        budget (N): Say what so many labels would buy; 0 for what --count would.
        seed: Another number draws other requests.
    """
    with existing_ledger(shared.config(), shared.ledger) as opened:
        control = rollout_control_of(shared.config(), opened)
        chosen = found(matching(opened.rollouts(), service=service), rollout).rollout.rollout_id
        record, plan = control.next_labels(chosen, count=count, budget=budget or count, seed=seed)
        print_result(shared.output, labels_json(record, plan, control.links), print_labels, record.rollout, plan)
