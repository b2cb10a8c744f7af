"""What a person reads of an eval report in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monitor.cli.terminal.console import print_line
from monitor.cli.terminal.rollouts import EASIER_TIERS, HARD_TIERS, VERDICT_COLOURS, columns, share_table
from monitor.evals import rendering
from monitor.evals.comparison import ShareReport, Stratum
from monitor.evals.gate import GateResult
from monitor.evals.report import EvalReport
from monitor.rollout.wording import counted, one_line, points

_CASES_SHOWN = 20
_CLASSES_SHOWN = 20
_LONGEST_FAILURE = 160
_LONGEST_NAME = 24
_WIDEST = 160
_INDENT = (0, 0, 0, 2)


def print_eval_report(console: Console, report: EvalReport, gate: GateResult | None = None) -> None:
    """Verdict, gate and cases first; then the tables that they rest on; then what the suite cannot see."""
    print_line(console, f"{report.baseline.label} → {report.candidate.label}")
    _headed(console, "verdict", report.verdict.value, VERDICT_COLOURS[report.verdict], report.headline)
    if gate is not None:
        _headed(console, "gate", rendering.gate_line(gate), "green" if gate.is_open else "red", "")
        for rule in gate.broken:
            print_line(console, f"    - {rule.sentence}")
    _headed(console, "cases", rendering.cases_line(report), "default", "")
    console.print()
    _print_strata(console, "pass rate", report.comparison.rows())
    for sentence in (*report.reasons, *rendering.repeats(report.comparison)):
        print_line(console, f"  - {sentence}")
    if report.comparison.share is not None:
        console.print()
        _print_table(console, share_table(report.comparison.share, _parts(report.comparison.share)))
    _print_classes(console, rendering.classes_worst_first(report.comparison))
    _print_strata(console, "variants of", report.variants, rendering.VARIANT_HEADINGS)
    _print_cases(console, report)
    _print_audit(console, report)
    kept = [] if gate is None else [rule for rule in gate.rules if rule not in gate.broken]
    if kept:
        console.print()
        for rule in kept:
            print_line(console, f"  gate, {rule.state.value}: {rule.sentence}")
    console.print()
    for sentence in rendering.provenance(report):
        print_line(console, sentence)


def _headed(console: Console, name: str, value: str, colour: str, rest: str) -> None:
    console.print(Text.assemble(f"  {name}: ", (value, f"bold {colour}"), f"  {rest}".rstrip()), soft_wrap=True)


def _print_strata(
    console: Console, title: str, rows: Mapping[str, Stratum], headings: Sequence[str] = rendering.HEADINGS
) -> None:
    if not rows:
        return
    table = columns(title, *headings)
    table.padding = (0, 1, 0, 0)
    for name, stratum in rows.items():
        table.add_row(one_line(name.removeprefix("capability:"), _LONGEST_NAME), *rendering.cells(stratum))
    _print_table(console, table)
    console.print()


def _parts(share: ShareReport) -> Mapping[str, float]:
    parts = share.decomposition
    return {} if parts is None else {EASIER_TIERS: parts.easier_tiers, HARD_TIERS: parts.hard_tiers}


def _print_classes(console: Console, classes: Mapping[str, Stratum]) -> None:
    if classes:
        console.print()
        _print_strata(console, "by class", dict(list(classes.items())[:_CLASSES_SHOWN]))
    if len(classes) > _CLASSES_SHOWN:
        print_line(console, f"  and {len(classes) - _CLASSES_SHOWN} more that changed for the better (--output json).")


def _print_cases(console: Console, report: EvalReport) -> None:
    for name, meaning, changes in rendering.case_lists(report):
        console.print()
        console.print(Text(f"  {name}, {counted(len(changes), 'case')} that {meaning}:", style="bold"), soft_wrap=True)
        for case in changes[:_CASES_SHOWN]:
            print_line(console, f"    {one_line(str(case.key), None)}{rendering.case_words(case, _LONGEST_FAILURE)}")
        if len(changes) > _CASES_SHOWN:
            print_line(console, f"    and {len(changes) - _CASES_SHOWN:,} more (--output json has all).")


def _print_audit(console: Console, report: EvalReport) -> None:
    console.print()
    if not report.audit.blind_spots:
        print_line(console, "  This suite can see a cliff: nothing is missing.")
    else:
        console.print(Text("  What this suite cannot see:", style="bold"))
    for spot in report.audit.blind_spots:
        print_line(console, f"  - {spot.sentence}")
    for tier, sight in report.audit.sight.items():
        drop = "no drop at all" if sight.smallest_visible_drop is None else points(-sight.smallest_visible_drop)
        print_line(console, f"    {tier.value}: with {counted(sight.cases, 'case')}, {drop} shows four times in five.")


def _print_table(console: Console, table: Table) -> None:
    """*table* whole, however narrow the terminal: a number that is cut is worse than a line that wraps."""
    width = console.width
    console.width = max(width, _WIDEST)
    console.print(Padding(table, _INDENT, expand=False))
    console.width = width
