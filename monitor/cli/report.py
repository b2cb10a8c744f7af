"""`cliffwatch report`: compares two runs of an eval suite, tier by tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monitor.cli import options
from monitor.cli.app import EXIT_PROBLEM, app, writing
from monitor.cli.reading import Reading, assignments
from monitor.cli.terminal import rollouts as terminal
from monitor.cli.terminal.console import INDENT, Console, print_line, say
from monitor.cli.wiring import existing_ledger, reviewer_of
from monitor.config.file import bytes_of
from monitor.config.model import Config
from monitor.difficulty.tiers import TIERS, Tier
from monitor.errors import ConfigInvalid, UsageError, os_errors
from monitor.evals import rendering, tiering
from monitor.evals.cases import Run
from monitor.evals.comparison import Stratum
from monitor.evals.files import read_results
from monitor.evals.gate import Floors, GateResult, check, read_floors
from monitor.evals.human import corrected
from monitor.evals.rendering import ReportFormat, format_of, render
from monitor.evals.report import EvalReport
from monitor.evals.runs import Side, paired, reference_runs
from monitor.ingest.file import STANDARD_INPUT
from monitor.rollout.wording import counted, one_line, points

_CASES_SHOWN = 20
_CLASSES_SHOWN = 20
_LONGEST_FAILURE = 160
_LONGEST_NAME = 24
_WIDEST = 160


@app.command()
def report(
    baseline: str,
    candidate: str,
    *,
    baseline_model: str | None = None,
    candidate_model: str | None = None,
    tier_column: str | None = None,
    tier: list[str] | None = None,
    reference: list[str] | None = None,
    ledger: str | None = None,
    reading: Reading,
    human: str | None = None,
    gate: Path | None = None,
    write: list[str] | None = None,
    output: ReportFormat = ReportFormat.TABLE,
    out: Path | None = None,
    shared: options.Common,
) -> None:
    """
    Compare two runs of an eval suite, tier by tier, before you ship the upgrade.

    Reads results of Inspect AI, lm-evaluation-harness, promptfoo, SWE-bench, tau2, terminal-bench, DeepEval, HELM,
    OpenAI evals and BFCL, JUnit XML, native or OpenTelemetry events, and CSV, JSON, YAML or Parquet with named columns;
    plain, .gz or .zst, files or folders. It pairs cases by name and lists those that it cannot pair.

    Tiers are the suite's own labels, unless you set --reference or --ledger.

    Exit code 0: the gate is open, or there is none. 1: the gate is closed, with a sentence for every broken rule. 2: a
    file cannot be read.

    Example: [bold]cliffwatch report gpt-4.eval gpt-5.eval --gate floors.yaml --write report.md --write junit.xml[/]

    Args:
        baseline (BASELINE): Results of the current version: file or folder.
        candidate (CANDIDATE): Results of the version that may replace it.
        baseline_model (NAME): Which model of BASELINE, if it has several.
        candidate_model (NAME): Which model of CANDIDATE, if it has several.
        tier_column (NAME): Column or metadata that holds the tier.
        tier (TIER=LABEL): Meaning of a label, for example hard=level5. Repeatable.
        reference (FILE): Learn tiers from these results of other models. Repeatable.
        ledger (URL): Use the calibration in force in this ledger for tiers.
        human (COLUMN): People's verdicts on the score; they correct the rates.
        gate (FILE): Floors that you agreed on; exit 1 if one is broken.
        write (FILE): Also write the report here, in the format of the ending. Repeatable.
        output (--output -o): Format of the report.
        out (FILE): Print into this file instead of standard output.
    """
    if baseline == candidate == STANDARD_INPUT:
        raise UsageError("Only one of the runs can come from standard input; name a file for the other.")
    config = shared.config()
    how = replace(reading.options(), tier_column=tier_column, keep_text=bool(reference) or ledger is not None)
    how = how if human is None else replace(how, columns={**how.columns, "human": human})
    files = {Path(name): format_of(name) for name in write or []}
    floors = None if gate is None else _floors(gate)
    meanings = _tier_labels(tier or [])
    with terminal.reading_progress("read") as advance:
        pairing, baseline_source, candidate_source = paired(
            Side(baseline, baseline_model, "--baseline-model"),
            Side(candidate, candidate_model, "--candidate-model"),
            lambda side, options: read_results([side.path], options, advance),
            how,
        )
        of_others = {role: column for role, column in how.columns.items() if role != "human"}
        others = reference_runs(read_results(reference or [], replace(how, columns=of_others), advance))
    runs = [pairing.baseline, pairing.candidate]
    tiering.require_label(runs, tier_column, "--tier-column")
    tiering.require_label(runs, how.capability_key, "--capability")
    learnt = _learnt(runs, config, others, ledger) or tiering.tiers_by_label(runs, tier_column, meanings)
    tiers = learnt or tiering.without_tiers()
    is_asked = human is not None
    pairing, labelling = corrected(pairing, tiers.tier_of, error_rate=config.rollout.error_rate, is_asked=is_asked)
    built = EvalReport(baseline_source, candidate_source, pairing, tiers, config.rollout, labelling)
    result = None if floors is None else check(built, floors)
    for path, form in (*files.items(), *([] if out is None else [(out, output)])):
        _write(path, built, result, form)
    if out is None and output is ReportFormat.TABLE:
        _print_report(Console(), built, result)
    elif out is None:
        for block in render(built, result, output):
            say(block, nl=False)
    if result is not None and not result.is_open:
        for broken in result.broken:
            terminal.print_error(Console(stderr=True), broken.sentence)
        raise typer.Exit(EXIT_PROBLEM)


def _learnt(
    runs: Sequence[Run], config: Config, others: Mapping[str, Run], ledger: str | None
) -> tiering.Tiering | None:
    """Tiers learnt from other models' results, or from a ledger's calibration; None if neither is given."""
    if others and ledger is not None:
        raise UsageError("--reference and --ledger both give tiers; name one of them.")
    if others:
        calibration, models = tiering.learn_reference(others, {run.model for run in runs}, config.difficulty)
        name = f"the results of {counted(len(models), 'other model')}"
        return tiering.tiers_by_calibration(runs, calibration, tiering.TierSource.REFERENCE, name)
    if ledger is not None:
        with existing_ledger(config, ledger) as opened:
            in_force = reviewer_of(config, opened).calibration_in_force()
        if in_force is None:
            raise UsageError(f"No calibration is in force at {ledger}; make one with cliffwatch calibrate.")
        name = f"calibration {in_force.calibration_id[:12]}"
        return tiering.tiers_by_calibration(runs, in_force, tiering.TierSource.CALIBRATION, name)
    return None


def _floors(path: Path) -> Floors:
    try:
        with os_errors(UsageError, f"{path.absolute()} cannot be read", "check the name."):
            return read_floors(str(path), bytes_of(path))
    except ConfigInvalid as error:  # exit code 2: 1 means that the gate is closed
        raise UsageError(str(error)) from error


def _write(path: Path, built: EvalReport, gate: GateResult | None, form: ReportFormat) -> None:
    with writing(path), path.open("w", encoding="utf-8") as stream:
        if form is ReportFormat.TABLE:
            _print_report(Console(file=stream, width=120), built, gate)
        else:
            stream.writelines(render(built, gate, form))


def _tier_labels(pairs: Sequence[str]) -> Mapping[str, Tier]:
    labels = {}
    for name, label in assignments(pairs, "--tier", "hard=level5"):
        if name not in TIERS:
            raise UsageError(f"--tier {name}={label} names no tier; tiers are {', '.join(TIERS)}.")
        labels.update({value.strip().casefold(): Tier(name) for value in label.split(",")})
    return labels


def _print_report(console: Console, report: EvalReport, gate: GateResult | None = None) -> None:
    """Print verdict, gate and cases; then the tables behind them; then what the suite cannot see."""
    print_line(console, f"{report.baseline.label} → {report.candidate.label}")
    _headed(console, "verdict", report.verdict.value, terminal.VERDICT_COLOURS[report.verdict], report.headline)
    if gate is not None:
        _headed(console, "gate", rendering.gate_line(gate), "green" if gate.is_open else "red", "")
        for rule in gate.broken:
            print_line(console, f"    - {rule.sentence}")
    _headed(console, "cases", rendering.cases_line(report), "default", "")
    console.print()
    _print_strata(console, "pass rate", report.comparison.rows())
    for sentence in (*report.reasons, *rendering.repeats(report.comparison)):
        print_line(console, f"  - {sentence}")
    if (share := report.comparison.share) is not None:
        console.print()
        _print_table(console, terminal.share_table(share, share.decomposition))
    _print_classes(console, rendering.classes_worst_first(report.comparison))
    _print_strata(console, "variants of", report.variants, rendering.VARIANT_HEADINGS)
    _print_cases(console, report)
    _print_audit(console, report)
    passed = [] if gate is None else [rule for rule in gate.rules if not gate.stops(rule)]
    if passed:
        console.print()
        for rule in passed:
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
    named = ((one_line(name.removeprefix("capability:"), _LONGEST_NAME), stratum) for name, stratum in rows.items())
    table = terminal.columns(title, *headings, rows=((name, *rendering.cells(stratum)) for name, stratum in named))
    table.padding = (0, 1, 0, 0)
    _print_table(console, table)
    console.print()


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
    """Print *table* in full width even on a narrow terminal: lines may wrap, but no number is cut."""
    width = console.width
    console.width = max(width, _WIDEST)
    console.print(Padding(table, INDENT, expand=False))
    console.width = width
