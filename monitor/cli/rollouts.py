"""`cliffwatch rollouts`: list them with their history, announce one, end one."""

from __future__ import annotations

from monitor.cli import options
from monitor.cli.app import app, print_result
from monitor.cli.rollout_choice import found, matching
from monitor.cli.terminal.rollouts import print_history
from monitor.cli.wiring import existing_ledger, rollout_control_of
from monitor.output.rollouts import rollout_json, rollouts_json
from monitor.rollout.rollout_request import RolloutRequest

rollouts = app.group("rollouts", "List rollouts with their history, announce one, end one.")


@rollouts.command("list")
def list_rollouts(
    service: str = "",
    *,
    shared: options.Shared,
    environment: str = "",
    candidate: str = "",
) -> None:
    """
    Every rollout, ended ones included, with every change of its verdict.

    Example: [bold]cliffwatch rollouts list booking-agent[/]

    Args:
        service (SERVICE): Only this service; by default all.
        environment (NAME): Only this environment.
        candidate (VERSION): Only this candidate.
    """
    with existing_ledger(shared.config(), shared.ledger) as opened:
        records = matching(opened.rollouts(), service=service, environment=environment, candidate=candidate)
    print_result(shared.output, rollouts_json(records), print_history, records)


@rollouts.command("start")
def start_rollout(
    service: str,
    *,
    candidate: str,
    baseline: str | None = None,
    environment: str = "production",
    stands_for: str | None = None,
    shared: options.Shared,
) -> None:
    """
    Announce a rollout, so that it is watched from its first request on. Twice is the same as once.

    Example: [bold]cliffwatch rollouts start booking-agent --candidate gpt-4-0125-preview[/]

    Args:
        service (SERVICE): The service that gets another model version.
        candidate (VERSION): The new model version.
        baseline (VERSION): What it replaces; by default the established version.
        environment (NAME): Where.
        stands_for (TEXT): What the name stands for, such as a digest; another one starts again.
    """
    config = shared.config()
    request = RolloutRequest(
        service=service, candidate=candidate, baseline=baseline, environment=environment, stands_for=stands_for
    )
    with existing_ledger(config, shared.ledger) as opened:
        record = rollout_control_of(config, opened).start(request)
    print_result(shared.output, rollout_json(record), print_history, [record])


@rollouts.command("end")
def end_rollout(rollout_id: str, *, reason: str, shared: options.Shared) -> None:
    """
    End the watch over a rollout before its ramp is over.

    Example: [bold]cliffwatch rollouts end 9c02 --reason rolled_back[/]

    Args:
        rollout_id (ID): The rollout, or the beginning of its id.
        reason: Why, in your words; `rolled_back` keeps the candidate from becoming the baseline.
    """
    config = shared.config()
    with existing_ledger(config, shared.ledger) as opened:
        chosen = found(opened.rollouts(), rollout_id)
        record = rollout_control_of(config, opened).end(chosen.rollout.rollout_id, reason=reason)
    print_result(shared.output, rollout_json(record), print_history, [record])
