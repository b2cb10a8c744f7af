"""Prints rollouts, cases, progress and errors in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from monitor.cli.terminal.console import INDENT, UNKNOWN, Console, print_line
from monitor.difficulty.tiers import TIERS
from monitor.ledger.ledger import CounterKey, CounterName, RolloutRecord
from monitor.metrics.snapshot import Snapshot
from monitor.output.cases import TraceLinks
from monitor.output.plain import iso_time
from monitor.output.rollouts import NOT_LOOKED_AT, record_counts, story, urgency
from monitor.rollout.cases import Case, Cases, by_signature
from monitor.rollout.cohort import TiersBy
from monitor.rollout.label_plan import LabelPlan
from monitor.rollout.oncall import NewFailure, OnCallLoad, Signature
from monitor.rollout.tracker import Rollout
from monitor.rollout.verdict import Decomposition, Interval, ShareComparison, TierComparison, Verdict, VerdictState
from monitor.rollout.wording import TAGS_CORRECTED, counted, percent, signed
from monitor.trace.model import Ignored

VERDICT_COLOURS = {
    VerdictState.OK: "green",
    VerdictState.CLIFF: "red",
    VerdictState.REGRESSION: "red",
    VerdictState.WAITING: "yellow",
}
_PLAIN_STEP = 5_000
_SIGNATURES_SHOWN = 3


def print_rollouts(console: Console, snapshot: Snapshot) -> None:
    """Print every rollout of *snapshot* as a table with its verdict, the calibration, and what could not be read."""
    print_verdicts(console, snapshot.rollouts)
    console.print(_calibration(snapshot), soft_wrap=True)
    counts = record_counts(snapshot.counters)
    if unreadable := counts.dead_lettered:
        print_line(console, f"{counted(unreadable, 'record')} could not be read; --log.level warning names each.")
    if invalid := snapshot.counters.get(CounterKey(CounterName.IGNORED, detail=Ignored.SPAN_INVALID)):
        print_line(console, f"{counted(invalid, 'span')} without ids or with an impossible time: left out.")
    if not counts.counted + counts.duplicate:
        print_line(console, "Not one request of an agent was found; docs/traces.md says which spans make one.")


def print_verdicts(console: Console, records: Sequence[RolloutRecord]) -> None:
    """Print each rollout as a table with its verdict, the most urgent first."""
    if not records:
        sentence = "No rollout was found: every service kept its model version, or a new one had too few requests."
        print_line(console, sentence)
    for record in sorted(records, key=urgency):
        console.print(_rollout(record))
        console.print()
    if any(record.verdict and record.verdict.tiers_by is TiersBy.LEARNT for record in records):
        print_line(console, TAGS_CORRECTED)


def _rollout(record: RolloutRecord) -> RenderableType:
    rollout, verdict = record.rollout, record.verdict
    title = Text(_title(rollout))
    title.stylize("bold", 0, len(rollout.service))
    if verdict is None:
        return Group(title, "  not looked at yet")
    headline = Text.assemble("  verdict: ", (verdict.state.value, f"bold {VERDICT_COLOURS[verdict.state]}"))
    if verdict.requests_to_verdict:
        headline.append(f"  (after {verdict.requests_to_verdict:,} labelled requests of the candidate)")
    parts: list[RenderableType] = [Text(f"- {reason}") for reason in verdict.reasons]
    parts.append(_rates(verdict))
    if verdict.share is not None:
        parts.append(share_table(verdict.share, verdict.decomposition))
    if verdict.on_call is not None:
        parts.append(_on_call(verdict.on_call))
    return Group(title, headline, *(Padding(part, INDENT, expand=False) for part in parts))


def _rates(verdict: Verdict) -> Table:
    tiers = {tier.value: verdict.tiers[tier] for tier in TIERS} | {"hard + frontier": verdict.hard_tier}
    known = [(name, t) for name, t in tiers.items() if t and t.baseline.requests + t.candidate.requests]
    rows = (_rates_row(*named) for named in (*known, ("all", verdict.aggregate)))
    return columns("failure rate", "baseline", "", "candidate", "", "change", "bounds, points", rows=rows)


def _rates_row(name: str, comparison: TierComparison) -> Sequence[str]:
    cells = []
    for arm in (comparison.baseline, comparison.candidate):
        cells += [f"{arm.failures:,}/{arm.requests:,}", UNKNOWN if arm.rate is None else percent(arm.rate.estimate)]
    return (name, *cells, *_change(comparison.change))


def share_table(share: ShareComparison, parts: Decomposition | None) -> Table:
    """The hard tier's share of failures in both arms, its change, and what makes up the change."""
    rows = (
        ("", f"{percent(share.baseline.estimate)} → {percent(share.candidate.estimate)}", ""),
        ("change", *_change(share.change)),
        ("  that a uniform gain would give", signed(share.expected_change), ""),
        ("  excess over it", *_change(share.excess)),
        *((name, signed(change), "") for name, change in _parts(parts).items()),
    )
    return columns("hard tier's share of failures", "", "bounds, points", rows=rows)


def _parts(parts: Decomposition | None) -> Mapping[str, float]:
    if parts is None:
        return {}
    raw = parts.traffic_mix + parts.easier_tiers + parts.hard_tiers
    mix = {"change before standardising, of which": raw, "  traffic mix": parts.traffic_mix}
    tiers = {"  easier tiers": parts.easier_tiers, "  hard tiers": parts.hard_tiers}
    # In a report of an eval suite, the traffic mix cannot change.
    return (mix if parts.traffic_mix else {}) | {f"{name} failing less or more": part for name, part in tiers.items()}


def _on_call(load: OnCallLoad) -> Table:
    """The load by tier, and the most frequent signatures of the candidate's failures."""
    rows = [(tier.value, *arms) for tier, arms in load.tiers.items() if any(arms)] + [("all", *load.total)]
    rows += [("all, weighted by severity", *load.weighted)] if load.weighted else []
    for top in load.signatures[:_SIGNATURES_SHOWN]:
        rows.append((f"  {signature_name(top.signature, top.state)}", top.baseline, top.candidate))
    shown = ((name, f"{before:,.1f}", f"{after:,.1f}") for name, before, after in rows)
    return columns("failures per 1,000 requests", "baseline", "candidate", rows=shown)


def signature_name(signature: Signature, state: NewFailure | None = None) -> str:
    """Tier, capability and failure class in one line, with the state of the signature."""
    name = " / ".join((signature.tier.value, signature.capability, signature.failure_class or "unknown"))
    return f"{name} ({state})" if state else name


def columns(first: str, *rest: str, rows: Iterable[Iterable[RenderableType]] = ()) -> Table:
    """A table of *rows* without borders; the column *first* is aligned left, the others right."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")  # in a narrow terminal this one wraps, so that no number is cut
    for title in rest:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _calibration(snapshot: Snapshot) -> Text:
    status = snapshot.calibration
    if status is None:
        advice = "No calibration yet: load outcomes of past or other models as environment `reference`,"
        return Text(f"{advice} so that Cliffwatch learns which requests are hard.")
    trust = status.trust
    origin = f"Tiers: calibration {status.calibration_id[:12]} from {counted(trust.versions, 'model version')}"
    trusted = "trusted." if trust.is_trusted else f"not trusted: {' '.join(trust.reasons)}"
    return Text(", ".join((origin, *trust.figures, trusted)))


def _change(interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return UNKNOWN, ""
    return signed(interval.estimate), f"{signed(interval.lower)} to {signed(interval.upper)}"


@contextmanager
def reading_progress(title: str, *, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """
    Show progress on standard error: a bar on a terminal, elsewhere a line every few thousand records.

    Gives what to call with the number of records read since the last call.
    """
    console, done, shown = Console(stderr=True), 0, 0
    if console.is_terminal:
        parts = (SpinnerColumn(), "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*parts, console=console, transient=True) as progress:
            task = progress.add_task(title, total=total)
            yield lambda records: progress.advance(task, records)
        return

    def advance(records: int) -> None:
        nonlocal done, shown
        done += records
        if done - shown >= _PLAIN_STEP or (done == total and done > shown):
            shown = done
            print_line(console, f"{title}: {done:,} records" + ("" if total is None else f" of {total:,}"))

    yield advance


def print_error(console: Console, sentence: str) -> None:
    """Print one error, without a traceback."""
    console.print(f"[bold red]error:[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def print_history(console: Console, records: Sequence[RolloutRecord]) -> None:
    """Print each rollout with its ID, times and every change of its verdict."""
    if not records:
        print_line(console, "No rollout was found.")
    for record in records:
        rollout = record.rollout
        print_line(console, f"{rollout.rollout_id}  {_title(rollout)}{'  under way' * rollout.is_under_way}")
        for at, text in story(record, records):
            print_line(console, f"  {_time(at)} {text}")
        if not record.changes:
            print_line(console, f"  {NOT_LOOKED_AT}")


def print_cases(console: Console, record: RolloutRecord, cases: Cases, links: TraceLinks) -> None:
    """Print cases by signature, the largest group first."""
    print_line(console, _title(record.rollout))
    print_line(console, f"{counted(cases.total, 'request')} that established versions passed and the candidate fails")
    for signature, group in by_signature(cases.cases):
        print_line(console, f"\n{signature_name(signature, record.new_failures.get(signature))}: {len(group)}")
        for case in group:
            print_line(console, _case(record.rollout, case, links))
    if cases.total > len(cases.cases):
        print_line(console, f"\n{cases.total - len(cases.cases):,} more; raise --limit to see them.")


def print_labels(console: Console, rollout: Rollout, plan: LabelPlan) -> None:
    """Print the requests to label as a table, then the precision that the budget would give."""
    texts = ((label, (label.trace_id, label.arm, label.tier, label.said)) for label in plan.labels)
    rows = ((*map(escape, row), f"{label.sampling_probability:.6g}") for label, row in texts)
    table = columns("trace", "arm", "tier", "said", "sampling probability", rows=rows)
    console.print(_title(rollout), f"{plan.open:,} requests can be labelled next.", table, sep="\n", soft_wrap=True)
    for group, error in plan.standard_errors.items():
        precision = f"leave a standard error of {100 * error:.1f} points in the change of their failure rate"
        print_line(console, f"{plan.budget:,} labels of {group} requests {precision}.")


def print_backtest(console: Console, by_policy: Mapping[str, Sequence[RolloutRecord]]) -> None:
    """Print the verdict of each policy on each rollout, and when it would have been reached."""
    rollouts = {_key(record.rollout): record.rollout for records in by_policy.values() for record in records}
    if not rollouts:
        print_line(console, "No policy would have found a rollout.")
    for key, rollout in sorted(rollouts.items()):
        print_line(console, _title(rollout))
        # A version may be rolled out again after a rollback: show its last rollout.
        last = {name: r for name, records in by_policy.items() for r in records if _key(r.rollout) == key}
        rows = ((name, *(_row(last[name]) if name in last else ("no rollout", "", "", ""))) for name in by_policy)
        console.print(Padding(columns("policy", "verdict", "said at", "requests", "before", rows=rows), (0, 0, 1, 2)))


def _case(rollout: Rollout, case: Case, links: TraceLinks) -> str:
    passes = case.established.requests - case.established.failures
    return (
        f"  {case.name}  fails {case.candidate.failures} of {case.candidate.requests}, passed {passes} of "
        f"{case.established.requests} before  {links.of(rollout, case.trace_id, rollout.candidate) or case.trace_id}"
    )


def _row(record: RolloutRecord) -> tuple[str, str, str, str]:
    if record.verdict is None or not record.changes:
        return NOT_LOOKED_AT, "", "", ""
    *before, (at, state) = record.changes
    return state, _time(at), f"{record.verdict.requests_to_verdict:,}", ", ".join(earlier for _, earlier in before)


def _title(rollout: Rollout) -> str:
    return f"{rollout.service} ({rollout.environment})  {rollout.baseline} → {rollout.candidate}"


_key = attrgetter("service", "environment", "baseline", "candidate")


def _time(unix_seconds: float) -> str:
    return iso_time(unix_seconds)[: len("2026-11-23T05:02")].replace("T", " ")
