"""`cliffwatch report`: two runs of an eval suite in, what the upgrade does to the hard tier out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console

from monitor.cli.app import ConfigFileOption, LogLevelOption, OutputFormat, OutputOption, app, quiet_config
from monitor.difficulty.tiers import TIERS, Tier
from monitor.errors import UsageError
from monitor.evals.cases import Run, runs_of
from monitor.evals.files import read_results
from monitor.evals.formats.reading import Options, ResultFile
from monitor.evals.json_report import report_json
from monitor.evals.pairing import pair_runs
from monitor.evals.report import ArmSource, build_report
from monitor.evals.tiering import LabelRule, Tiering, tiers_by_label, without_tiers
from monitor.terminal import reading_progress
from monitor.terminal_evals import print_eval_report


@app.command()
def report(
    baseline: Annotated[str, typer.Argument(metavar="BASELINE", help="Results of the version in use: file or folder.")],
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help="Results of the version that may replace it.")],
    *,
    baseline_model: Annotated[
        str | None, typer.Option("--baseline-model", metavar="NAME", help="Which model of BASELINE, if it has several.")
    ] = None,
    candidate_model: Annotated[
        str | None,
        typer.Option("--candidate-model", metavar="NAME", help="Which model of CANDIDATE, if it has several."),
    ] = None,
    tier_column: Annotated[
        str | None, typer.Option("--tier-column", metavar="NAME", help="Column or metadata that holds the tier.")
    ] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option("--tier", metavar="TIER=LABEL", help="What a label means, as hard=level5. Repeatable."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="ROLE=NAME", help="Which column is what, as case=id, passed=correct."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="The score that counts; repeat where files have different ones."),
    ] = None,
    filter_name: Annotated[
        list[str] | None, typer.Option("--filter", metavar="NAME", help="The lm-evaluation-harness filter that counts.")
    ] = None,
    pass_at: Annotated[float, typer.Option("--pass-at", metavar="SCORE", help="Lowest score that is a pass.")] = 1.0,
    capability: Annotated[
        str | None, typer.Option("--capability", metavar="NAME", help="Metadata that holds the capability class.")
    ] = None,
    config_file: ConfigFileOption = None,
    output: OutputOption = OutputFormat.TABLE,
    log_level: LogLevelOption = None,
) -> None:
    """
    Compare two runs of an eval suite, tier by tier, before the upgrade ships.

    Reads Inspect AI logs, lm-evaluation-harness samples, promptfoo results, native or OpenTelemetry events, and CSV or
    JSON lines with named columns; told apart by content, plain, .gz or .zst, files or folders. Cases are paired by
    name, and what cannot be paired is said.

    Example: [bold]cliffwatch report gpt-4.csv gpt-5.csv --tier-column difficulty[/]
    """
    config = quiet_config(config_file, log_level)
    options = Options(
        columns=_assignments(column or [], "--column", "case=id"),
        metrics=tuple(metric or ()),
        filters=tuple(filter_name or ()),
        pass_at=pass_at,
        capability_key=capability,
    )
    with reading_progress(Console(stderr=True), "read") as advance:
        before = _arm([baseline], baseline_model, read_results([baseline], options, advance), "--baseline-model")
        after = _arm([candidate], candidate_model, read_results([candidate], options, advance), "--candidate-model")
    pairing = pair_runs(before[0], after[0])
    rule = LabelRule(tier_column, _tier_labels(tier or []))
    tiering: Tiering = tiers_by_label(pairing.pairs, rule) or without_tiers(pairing.pairs)
    built = build_report(pairing, tiering, baseline=before[1], candidate=after[1], policy=config.rollout)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(report_json(built), indent=2, allow_nan=False, ensure_ascii=False))
    else:
        print_eval_report(Console(), built)


def _arm(paths: Sequence[str], model: str | None, results: Sequence[ResultFile], option: str) -> tuple[Run, ArmSource]:
    runs = runs_of(attempt for result in results for attempt in result.attempts)
    run = _chosen(paths, model, runs, option)
    notes = dict.fromkeys(note for result in results for note in result.notes)
    formats = dict.fromkeys(result.format.value for result in results)
    return run, ArmSource(run.model or paths[0], [result.name for result in results], list(formats), list(notes))


def _chosen(paths: Sequence[str], model: str | None, runs: Mapping[str, Run], option: str) -> Run:
    if not runs:
        raise UsageError(f"{paths[0]} holds no case; run the suite again.")
    if model is None and len(runs) == 1:
        return next(iter(runs.values()))
    if model in runs and model is not None:
        return runs[model]
    names = ", ".join(name or "(no name)" for name in runs)
    asked = "several models" if model is None else f"no model {model}"
    raise UsageError(f"{paths[0]} has {asked}; choose one with {option}: {names}.")


def _assignments(pairs: Sequence[str], option: str, example: str) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{option} {pair} is not of the form NAME=VALUE, such as {option} {example}.")
        found[name] = value
    return found


def _tier_labels(pairs: Sequence[str]) -> dict[str, Tier]:
    labels = {}
    for pair in pairs:
        for name, label in _assignments([pair], "--tier", "hard=level5").items():
            if name not in {tier.value for tier in TIERS}:
                raise UsageError(f"--tier {pair} names no tier; tiers are {', '.join(tier.value for tier in TIERS)}.")
            labels.update({each.strip().casefold(): Tier(name) for each in label.split(",")})
    return labels
