"""`cliffwatch verdict` and `rollouts`: what is said of rollouts, a gate for pipelines, and how to start and end one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperCommand

from monitor.cli import options
from monitor.cli.app import EXIT_PROBLEM, app, print_result
from monitor.cli.terminal.console import say
from monitor.cli.terminal.rollouts import print_history, print_verdicts
from monitor.cli.wiring import existing_ledger, rollout_control_of
from monitor.errors import RolloutUnknown, UsageError
from monitor.ledger.ledger import RolloutRecord
from monitor.output.rollouts import rollout_json, rollouts_json
from monitor.rollout.gate import GateRules, ask_gate
from monitor.rollout.rollout_request import RolloutRequest
from monitor.rollout.verdict import VerdictState


def matching(
    records: Sequence[RolloutRecord], *, service: str = "", environment: str = "", candidate: str = ""
) -> Sequence[RolloutRecord]:
    """The rollouts of that service, environment and candidate, oldest first; an empty string matches all."""
    wanted = {"service": service, "environment": environment, "candidate": candidate}
    return [r for r in records if all(value in {"", getattr(r.rollout, name)} for name, value in wanted.items())]


def rollout_with_id(records: Sequence[RolloutRecord], beginning: str) -> RolloutRecord:
    """
    The rollout whose ID begins with *beginning*; the latest one if that is empty.

    Raises:
        RolloutUnknown: there is none, or more than one.
    """
    matches = [record for record in records if record.rollout.rollout_id.startswith(beginning)]
    if not matches:
        raise RolloutUnknown("There is no such rollout; `cliffwatch rollouts list` shows them all.")
    if beginning and len(matches) > 1:
        raise RolloutUnknown(f"More than one rollout begins with {beginning}; type more of its id.")
    return matches[-1]


class Gate(StrEnum):
    """Which verdicts stop a pipeline."""

    REGRESSION = "regression"
    STRICT = "strict"


class _WithPlainGate(TyperCommand):
    """A command whose option `--gate` may have no value, which Typer does not support."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        default, pairs = f"--gate={Gate.REGRESSION}", pairwise([*args, ""])
        completed = (default if arg == "--gate" and after not in set(Gate) else arg for arg, after in pairs)
        return super().parse_args(ctx, list(completed))


@app.command(cls=_WithPlainGate)
def verdict(
    service: str = "",
    *,
    shared: options.Shared,
    environment: str = "",
    candidate: str = "",
    gate: Gate | None = None,
    require_verdict: bool = False,
    require_tiers: bool = False,
) -> None:
    """
    Print the latest verdict of each rollout under way, or of the last rollout if none is.

    Without --candidate, a gate looks only at rollouts under way; with it, the gate exits 1 if there is no such rollout.

    Example: [bold]cliffwatch verdict booking-agent --gate strict[/]

    Args:
        service (SERVICE): Only this service; by default all.
        environment (NAME): Only this environment.
        candidate (VERSION): Only this candidate.
        gate ([strict]): Exit 1 on a regression; with `strict`, also on a cliff or a class that got worse.
        require_verdict: With --gate, also exit 1 while the verdict is waiting, or without a rollout.
        require_tiers: With --gate, also exit 1 on an ok that says nothing about the hard tier.
    """
    if gate is None and (require_verdict or require_tiers):
        raise UsageError("--require-verdict and --require-tiers are rules of a gate; add --gate.")
    with existing_ledger(shared.config(), shared.ledger) as opened:
        every = opened.rollouts()
        services = {record.rollout.service for record in every} | {version.service for version in opened.activity()}
    if service and service not in services:
        raise UsageError(f"The ledger knows no service {service}; `cliffwatch rollouts list` lists them all.")
    records = matching(every, service=service, environment=environment, candidate=candidate)
    last = {(record.rollout.service, record.rollout.environment): record for record in records}
    under_way = [record for record in records if record.rollout.is_under_way]
    current = under_way or [*last.values()]
    print_result(shared.output, rollouts_json(current), print_verdicts, current)
    if gate is not None:
        gated = current if candidate else under_way
        is_missing = not gated and (require_verdict or bool(candidate))
        rules = GateRules(strict=gate is Gate.STRICT, require_verdict=require_verdict, require_tiers=require_tiers)
        stopping = ["stopped, because no rollout is under way."] if is_missing else [*_stops(gated, rules)]
        if not records and (asked := [name for name in (service, environment, candidate) if name]):
            stopping = [f"stopped, because there is no rollout of {', '.join(asked)}."]
        for sentence in stopping or _passes(gated):
            say(f"gate: {sentence}", err=True)
        if stopping:
            raise typer.Exit(EXIT_PROBLEM)


def _stops(records: Sequence[RolloutRecord], rules: GateRules) -> Iterator[str]:
    for record in records:
        answer = ask_gate(record.verdict, rules)
        if not answer.is_pass and answer.wait_seconds:
            yield f"stopped, because nothing is known about {_name(record)} yet{_needed(record)}."
        elif not answer.is_pass:
            yield f"stopped at verdict {answer.verdict} of {_name(record)}: {answer.reason}"


def _passes(records: Sequence[RolloutRecord]) -> Iterator[str]:
    if not records:
        yield "passed, because no rollout is under way."
    for record in records:
        doubt = f", which is not an all-clear{_needed(record)}" if record.state is VerdictState.WAITING else ""
        yield f"passed with verdict {record.state} of {_name(record)}{doubt}."


def _needed(record: RolloutRecord) -> str:
    if record.verdict is None or not record.verdict.requests_needed:
        return ""
    return f" (about {record.verdict.requests_needed:,} more labelled requests of the candidate)"


def _name(record: RolloutRecord) -> str:
    rollout = record.rollout
    return f"{rollout.service} ({rollout.environment}), {rollout.baseline} to {rollout.candidate}"


rollouts = app.group("rollouts", "List rollouts with their history, announce one, end one.")


@rollouts.command("list")
def list_rollouts(service: str = "", *, shared: options.Shared, environment: str = "", candidate: str = "") -> None:
    """
    List every rollout, including ended ones, with every change of its verdict.

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
    Announce a rollout, so that Cliffwatch watches it from its first request; you may repeat this.

    Example: [bold]cliffwatch rollouts start booking-agent --candidate gpt-4-0125-preview[/]

    Args:
        service (SERVICE): The service that gets a new model version.
        candidate (VERSION): The new model version.
        baseline (VERSION): The version that it replaces; by default, the established one.
        environment (NAME): The environment of the rollout.
        stands_for (TEXT): A digest or commit behind a reused name; a new value starts a new rollout.
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
    End a rollout before its ramp is over.

    Example: [bold]cliffwatch rollouts end 9c02 --reason rolled_back[/]

    Args:
        rollout_id (ID): The rollout, or the beginning of its id.
        reason: Your reason; `rolled_back` keeps the candidate from becoming the baseline.
    """
    config = shared.config()
    with existing_ledger(config, shared.ledger) as opened:
        chosen = rollout_with_id(opened.rollouts(), rollout_id)
        record = rollout_control_of(config, opened).end(chosen.rollout.rollout_id, reason=reason)
    print_result(shared.output, rollout_json(record), print_history, [record])
