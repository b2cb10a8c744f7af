"""What a person reads in a terminal about rollouts beside their verdict: their history, their cases, a back-test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding

from monitor.cli.terminal.console import print_line
from monitor.cli.terminal.rollouts import columns, signature_name
from monitor.ledger.ledger import RolloutRecord
from monitor.output.cases import TraceLinks
from monitor.output.plain import iso_time
from monitor.output.rollouts import NOT_LOOKED_AT
from monitor.rollout.cases import Case, Cases, by_signature
from monitor.rollout.tracker import Rollout

_MINUTE = len("2026-11-23T05:02")


def print_history(console: Console, records: Sequence[RolloutRecord]) -> None:
    """Each rollout with its id, its times and every change of its verdict."""
    for line in _history(records) if records else ["No rollout was found."]:
        print_line(console, line)


def print_cases(console: Console, rollout: Rollout, cases: Cases, links: TraceLinks) -> None:
    """Cases by signature, the largest group first."""
    for line in _cases(rollout, cases, links):
        print_line(console, line)


def print_backtest(console: Console, said: Mapping[str, Sequence[RolloutRecord]]) -> None:
    """What each policy would have said of each rollout, and when."""
    rollouts = {_key(record.rollout): record.rollout for records in said.values() for record in records}
    if not rollouts:
        print_line(console, "No policy would have found a rollout.")
    for key, rollout in sorted(rollouts.items()):
        print_line(console, _title(rollout))
        table = columns("policy", "verdict", "said at", "requests", "before")
        for policy, records in said.items():
            # A version that was rolled back may have come again: its last rollout counts.
            found = [record for record in records if _key(record.rollout) == key]
            table.add_row(policy, *(_said(found[-1]) if found else ("no rollout", "", "", "")))
        console.print(Padding(table, (0, 0, 1, 2)))


def _history(records: Sequence[RolloutRecord]) -> Iterator[str]:
    for record in records:
        rollout = record.rollout
        ended = "under way"
        if rollout.ended_at is not None:
            ended = f"ended {_time(rollout.ended_at)} ({rollout.end_reason})"
        yield f"{rollout.rollout_id}  {_title(rollout)}"
        yield f"  {_time(rollout.started_at)} started, {ended}"
        yield from (f"  {_time(at)} {state}" for at, state in record.changes)
        if not record.changes:
            yield f"  {NOT_LOOKED_AT}"


def _cases(rollout: Rollout, cases: Cases, links: TraceLinks) -> Iterator[str]:
    yield _title(rollout)
    yield f"{cases.total:,} hard-tier cases that established versions passed and the candidate fails"
    for signature, group in by_signature(cases.cases):
        yield f"\n{signature_name(signature)}: {len(group)}"
        yield from (_case(rollout, case, links) for case in group)
    if cases.total > len(cases.cases):
        yield f"\n{cases.total - len(cases.cases):,} more; raise --limit to see them."


def _case(rollout: Rollout, case: Case, links: TraceLinks) -> str:
    passes = case.established.requests - case.established.failures
    return (
        f"  {case.name}  fails {case.candidate.failures} of {case.candidate.requests}, passed {passes} of "
        f"{case.established.requests} before  {links.of(rollout, case.trace_id, rollout.candidate) or case.trace_id}"
    )


def _said(record: RolloutRecord) -> tuple[str, str, str, str]:
    if record.verdict is None or not record.changes:
        return NOT_LOOKED_AT, "", "", ""
    *before, (at, state) = record.changes
    return state, _time(at), f"{record.verdict.requests_to_verdict:,}", ", ".join(earlier for _, earlier in before)


def _title(rollout: Rollout) -> str:
    return f"{rollout.service} ({rollout.environment})  {rollout.baseline} → {rollout.candidate}"


def _key(rollout: Rollout) -> tuple[str, str, str, str]:
    return rollout.service, rollout.environment, rollout.baseline, rollout.candidate


def _time(unix_seconds: float) -> str:
    return iso_time(unix_seconds)[:_MINUTE].replace("T", " ")
