"""What a person reads of an eval report in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monitor.cli.terminal.rollouts import columns
from monitor.difficulty.tiers import TIERS, Tier
from monitor.evals.comparison import Comparison, Stratum
from monitor.evals.gate import GateResult
from monitor.evals.report import ArmSource, CaseChange, EvalReport
from monitor.evals.share import ShareReport
from monitor.evals.words import bounds, count, counted, one_line, percent, points, probability, signed
from monitor.rollout.verdict import VerdictState

_COLOURS = {
    VerdictState.OK: "green",
    VerdictState.CLIFF: "red",
    VerdictState.REGRESSION: "red",
    VerdictState.WAITING: "yellow",
}
_CASES_SHOWN = 20
_CAPABILITIES_SHOWN = 20
_LONGEST_FAILURE = 160
_LONGEST_NAME = 24
_WIDEST = 160
_INDENT = (0, 0, 0, 2)


def print_eval_report(console: Console, report: EvalReport, gate: GateResult | None = None) -> None:
    """Verdict and reasons, then the tables that they stand on, then what the suite cannot see."""
    console.print(
        Text.assemble((report.baseline.label, "bold"), " → ", (report.candidate.label, "bold")), soft_wrap=True
    )
    console.print(Text.assemble("  verdict: ", (report.verdict.value, f"bold {_COLOURS[report.verdict]}")))
    for reason in report.reasons:
        _line(console, f"  - {reason}")
    console.print()
    _print_table(console, _rates(report.comparison))
    if report.comparison.share is not None:
        console.print()
        _print_table(console, _share(report.comparison.share))
    _print_capabilities(console, report.comparison.capabilities)
    _print_regressed(console, report.regressed)
    _print_audit(console, report)
    if gate is not None:
        _print_gate(console, gate)
    console.print()
    for sentence in _provenance(report):
        _line(console, sentence)


def _rates(comparison: Comparison) -> Table:
    table = _stratum_table("pass rate")
    for tier in (tier for tier in TIERS if tier in comparison.tiers):
        _add(table, tier.value, comparison.tiers[tier])
    for tier, stratum in comparison.tiers.items():
        if tier not in TIERS:
            _add(table, tier.value, stratum)
    if comparison.hard_tier is not None and Tier.FRONTIER in comparison.tiers:
        _add(table, "hard tier", comparison.hard_tier)
    _add(table, "all", comparison.aggregate)
    return table


def _stratum_table(title: str) -> Table:
    table = columns(title, "cases", "before", "after", "change", "bounds", "failures", "lost/won", "p")
    table.padding = (0, 1, 0, 0)
    return table


def _add(table: Table, name: str, stratum: Stratum) -> None:
    table.add_row(
        _cut(name),
        f"{stratum.cases:,}",
        percent(stratum.before.estimate),
        percent(stratum.after.estimate),
        signed(stratum.change.estimate),
        bounds(stratum.change),
        f"{count(stratum.failures_before)} → {count(stratum.failures_after)}",
        f"{stratum.newly_failing:,}/{stratum.newly_passing:,}",
        probability(stratum.p_value),
    )


def _share(share: ShareReport) -> Table:
    table = columns("hard tier's share of failures", "", "bounds, points")
    table.add_row("", f"{percent(share.baseline.estimate)} → {percent(share.candidate.estimate)}", "")
    table.add_row("change", signed(share.change.estimate), bounds(share.change))
    table.add_row("  that a uniform gain would give", signed(share.expected_change), "")
    table.add_row("  excess over it", signed(share.excess.estimate), bounds(share.excess))
    if share.decomposition is not None:
        table.add_row("  easier tiers failing less or more", signed(share.decomposition.easier_tiers), "")
        table.add_row("  hard tiers failing less or more", signed(share.decomposition.hard_tiers), "")
    return table


def _print_capabilities(console: Console, capabilities: Mapping[str, Stratum]) -> None:
    if len(capabilities) < 2:  # noqa: PLR2004  (one class is the aggregate over again)
        return
    table = _stratum_table("by capability")
    worst = sorted(capabilities, key=lambda name: capabilities[name].change.estimate)
    for name in worst[:_CAPABILITIES_SHOWN]:
        _add(table, name, capabilities[name])
    console.print()
    _print_table(console, table)
    if len(worst) > _CAPABILITIES_SHOWN:
        _line(console, f"  and {len(worst) - _CAPABILITIES_SHOWN} more that changed for the better (--output json).")


def _print_regressed(console: Console, regressed: Sequence[CaseChange]) -> None:
    if not regressed:
        return
    console.print()
    console.print(Text(f"  Hard cases that passed and no longer do ({len(regressed):,}):", style="bold"))
    for case in regressed[:_CASES_SHOWN]:
        rates = "" if {case.before, case.after} <= {0.0, 1.0} else f" {percent(case.before)} → {percent(case.after)}"
        failure = "" if case.failure is None else f": {one_line(case.failure, _LONGEST_FAILURE)}"
        _line(console, f"    {one_line(str(case.key), None)}{rates}{failure}")
    if len(regressed) > _CASES_SHOWN:
        _line(console, f"    and {len(regressed) - _CASES_SHOWN:,} more (--output json has all).")


def _print_audit(console: Console, report: EvalReport) -> None:
    console.print()
    if not report.audit.blind_spots:
        _line(console, "  This suite can see a cliff: nothing is missing.")
    else:
        console.print(Text("  What this suite cannot see:", style="bold"))
    for spot in report.audit.blind_spots:
        _line(console, f"  - {spot.sentence}")
    for tier, sight in report.audit.sight.items():
        drop = "no drop at all" if sight.smallest_visible_drop is None else points(-sight.smallest_visible_drop)
        _line(console, f"    {tier.value}: with {counted(sight.cases, 'case')}, {drop} shows four times in five.")


def _print_gate(console: Console, gate: GateResult) -> None:
    console.print()
    state, colour = ("open", "green") if gate.is_open else ("closed", "red")
    console.print(Text.assemble("  gate: ", (state, f"bold {colour}")))
    for rule in gate.rules:
        _line(console, f"  - {rule.state.value}: {rule.sentence}")


def _provenance(report: EvalReport) -> Iterator[str]:
    yield report.tiering.explanation
    yield from report.tiering.notes
    for name, source in (("Baseline", report.baseline), ("Candidate", report.candidate)):
        yield f"{name}: {_files(source)}. {' '.join(source.notes)}".rstrip()
    yield (
        f"Bounds are paired and hold with {percent(report.comparison.confidence)} over all tiers, and over all "
        "capabilities, together; p is McNemar's exact test, raised for their number. lost: newly failing cases, won: "
        "newly passing ones."
    )


def _files(source: ArmSource) -> str:
    shown = ", ".join(source.files[:3]) + (f" and {len(source.files) - 3} more" if len(source.files) > 3 else "")  # noqa: PLR2004
    return f"{shown} ({', '.join(source.formats)})"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _print_table(console: Console, table: Table) -> None:
    """*table* whole, however narrow the terminal: a number that is cut is worse than a line that wraps."""
    width = console.width
    console.width = max(width, _WIDEST)
    console.print(Padding(table, _INDENT, expand=False))
    console.width = width


def _line(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, soft_wrap=True, markup=False)
