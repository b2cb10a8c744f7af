"""`cliffwatch calibrate` and `calibrations`: freeze calibrations, show and compare them, put one in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import typer

from monitor.cli import options
from monitor.cli.app import EXIT_PROBLEM, app, collect_rarely, print_result, writing
from monitor.cli.reading import Reading
from monitor.cli.terminal.calibrations import print_calibrate, print_calibration, print_calibrations, print_comparison
from monitor.cli.terminal.console import Console, print_line, say
from monitor.cli.terminal.rollouts import reading_progress
from monitor.cli.wiring import existing_ledger, history_replay, opened_ledger, reviewer_of
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.errors import CalibrationInvalid, MonitorError, RolloutUnderWay, UsageError
from monitor.evals.formats.reading import Options
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.ledger import CalibrationRecord, record_in_force
from monitor.ledger.sql import SqlLedger
from monitor.output.calibrations import ALL_TIERS, CalibrationComparison, KeptCalibration, tier_table
from monitor.output.charts.calibration import calibration_chart
from monitor.output.rollouts import RecordCounts, record_counts
from monitor.service.review import Draft, Reviewer


@app.command()
def calibrate(
    files: list[str] | None = None,
    *,
    shared: options.Shared,
    exclude: list[str] | None = None,
    dry_run: bool = False,
    svg: Path | None = None,
    reading: Reading,
) -> None:
    """
    Load outcomes of past or other models, learn difficulty from them, freeze a calibration, say whether to trust it.

    FILE holds native or OpenTelemetry events, or results of an eval tool as `cliffwatch report` reads them. Every trace
    counts as environment `reference`, even if it names another: it teaches difficulty and never starts a rollout. A
    trace that the ledger already has stays as it is and counts once. Versions that are live now, and those that you
    exclude, teach nothing. The calibration comes into force at once, unless a rollout with a trusted one is under way:
    then it is kept for `cliffwatch calibrations promote`.

    Exit code 0: the tiers are trusted. 1: they are not; the output says what is missing.

    Example: [bold]cliffwatch calibrate past-models.jsonl.gz --ledger sqlite:///cliffwatch.db[/]

    Args:
        files (FILE...): Events or eval results, files or folders; - is stdin. By default, learn from the ledger alone.
        exclude (VERSION): Do not learn from this version, for example the next candidate. Repeatable.
        dry_run: Show what the FILEs alone would teach, without reading or writing a ledger.
        svg (FILE): Draw the reliability curve and the failure rates into this file, as SVG.
    """
    config = shared.config()
    ledger_of = opened_ledger if files or dry_run else existing_ledger  # without files, a new ledger is useless
    how = reading.options()  # a wrong option is refused before a ledger is opened
    with ledger_of(config, IN_MEMORY_URL if dry_run else shared.ledger) as opened:
        loaded = _load(config, files or [], opened, how)
        review = reviewer_of(config, opened)
        draft = _learn(review, exclude or [])
        calibration, labels = draft.calibration, draft.history_labels
        if dry_run:
            record = CalibrationRecord(calibration.calibration_id, calibration.frozen_at, None, labels)
            promotion, stored = "Dry run: nothing was kept.", KeptCalibration(calibration, record, in_force=False)
        else:
            promotion = _promote(review, draft, opened)
            stored = _stored(opened, _record(opened, calibration.calibration_id))
    history = tier_table(draft.history, calibration)
    result = {"records": loaded, "difficulty": stored, "promotion": promotion, "history": history}
    print_result(shared.output, result, print_calibrate, *result.values())
    if svg is not None:
        with writing(svg):
            svg.write_text(calibration_chart(stored, history), encoding="utf-8")
    if not calibration.trust.is_trusted:
        raise typer.Exit(EXIT_PROBLEM)


def _load(config: Config, files: Sequence[str], ledger: SqlLedger, how: Options) -> RecordCounts:
    before = ledger.counters()
    if files:
        collect_rarely()
        with history_replay(config, files, ledger, how) as history, reading_progress("load") as advance:
            history.read(progress=advance)
    return record_counts(ledger.counters(), since=before)


def _learn(review: Reviewer, exclude: Sequence[str]) -> Draft:
    with reading_progress("learn", total=review.history_labels()) as advance:
        draft = review.draft(now=WallClock().time(), new_versions=exclude, progress=advance)
    if draft is None:
        raise MonitorError(
            "There is no labelled request of a past or other model to learn from: "
            "give files whose traces have outcomes, of versions that are not live now."
        )
    return draft


def _promote(review: Reviewer, draft: Draft, ledger: SqlLedger) -> str:
    calibration = draft.calibration
    if blocking := _blocking(review):
        ledger.keep(calibration, history_labels=draft.history_labels)
        result = f"Kept, but not in force: a rollout under way ({blocking}) uses another calibration for both arms."
        return f"{result} When it ends: cliffwatch calibrations promote {calibration.calibration_id}"
    review.put_in_force(calibration, history_labels=draft.history_labels, now=WallClock().time())
    return "In force: it tags requests from now on."


def _blocking(review: Reviewer) -> str:
    """The rollouts under way that are judged under a trusted calibration."""
    return ", ".join(f"{r.service}: {r.baseline} → {r.candidate}" for r in review.blocking_rollouts())


calibrations = app.group("calibrations", "List, show, compare, promote and roll back frozen calibrations.")


@calibrations.command("list")
def list_calibrations(*, shared: options.Shared) -> None:
    """
    List every calibration in the ledger, the one in force last.

    Example: [bold]cliffwatch calibrations list[/]
    """
    listed = []
    with existing_ledger(shared.config(), shared.ledger) as opened:
        for record in opened.calibrations():
            try:
                listed.append(_stored(opened, record))
            except CalibrationInvalid as error:
                say(f"{record.calibration_id}: {error}", err=True)
    print_result(shared.output, listed, print_calibrations)


@calibrations.command("show")
def show_calibration(calibration_id: str = "", *, shared: options.Shared) -> None:
    """
    Show one calibration: its history, whether it is trusted (and if not, why), and its reliability curve.

    Example: [bold]cliffwatch calibrations show[/]

    Args:
        calibration_id (ID): A calibration, or the beginning of its id; by default the one in force.
    """
    with existing_ledger(shared.config(), shared.ledger) as opened:
        shown = _stored(opened, _record(opened, calibration_id))
    print_result(shared.output, shown, print_calibration)


@calibrations.command("compare")
def compare_calibrations(first: str, second: str = "", *, shared: options.Shared) -> None:
    """
    Compare two calibrations, and show which requests of the ledger get another tier.

    Example: [bold]cliffwatch calibrations compare 1f3a 9c02[/]

    Args:
        first (ID): A calibration, or the beginning of its id.
        second (ID): The one to compare it with; by default the one in force.
    """
    moves = Counter(dict.fromkeys(product(ALL_TIERS, ALL_TIERS), 0))
    with existing_ledger(shared.config(), shared.ledger) as opened:
        before, after = (_stored(opened, _record(opened, beginning)) for beginning in (first, second))
        for features, requests in opened.items():
            moves[before.calibration.tag(features).tier, after.calibration.tag(features).tier] += requests
    print_result(shared.output, CalibrationComparison(before, after, +moves), print_comparison)


@calibrations.command("promote")
def promote_calibration(calibration_id: str, *, force: bool = False, shared: options.Shared) -> None:
    """
    Put a calibration in force, unless a rollout with trusted tiers is under way.

    It stays in force until the history has grown enough for a new one.

    Example: [bold]cliffwatch calibrations promote 1f3a[/]

    Args:
        calibration_id (ID): A calibration, or the beginning of its id.
        force: Also while a rollout is under way; both of its arms then use this calibration.
    """
    config = shared.config()
    with existing_ledger(config, shared.ledger) as opened:
        promoted = _put_in_force(config, opened, _record(opened, calibration_id), force=force)
    print_result(shared.output, promoted, _print_promoted)


@calibrations.command("rollback")
def roll_back_calibration(*, force: bool = False, shared: options.Shared) -> None:
    """
    Put the previous calibration back in force.

    Example: [bold]cliffwatch calibrations rollback[/]

    Args:
        force: Also while a rollout is under way; both of its arms then use this calibration.
    """
    config = shared.config()
    with existing_ledger(config, shared.ledger) as opened:
        earlier = [record for record in opened.calibrations() if record.is_promoted][:-1]
        if not earlier:
            raise UsageError("No calibration was in force before; `cliffwatch calibrations list` lists them all.")
        promoted = _put_in_force(config, opened, earlier[-1], force=force)
    print_result(shared.output, promoted, _print_promoted)


def _record(ledger: SqlLedger, beginning: str) -> CalibrationRecord:
    """The calibration whose ID begins with *beginning*; the one in force if that is empty."""
    records = ledger.calibrations()
    if not beginning:
        in_force = record_in_force(records)
        if in_force is None:
            raise UsageError("No calibration is in force; `cliffwatch calibrate FILE...` makes one.")
        return in_force
    matching = [record for record in records if record.calibration_id.startswith(beginning)]
    if len(matching) != 1:
        problem = "More than one calibration begins" if matching else "No calibration begins"
        raise UsageError(f"{problem} with {beginning}; `cliffwatch calibrations list` lists them all.")
    return matching[0]


def _stored(ledger: SqlLedger, record: CalibrationRecord) -> KeptCalibration:
    calibration = ledger.calibration(record.calibration_id)
    if calibration is None:
        problem = f"Calibration {record.calibration_id} has just gone"
        raise UsageError(f"{problem}; `cliffwatch calibrations list` shows the rest.")
    return KeptCalibration(calibration, record, in_force=record == record_in_force(ledger.calibrations()))


def _put_in_force(config: Config, ledger: SqlLedger, record: CalibrationRecord, *, force: bool) -> KeptCalibration:
    review = reviewer_of(config, ledger)
    if not force and (blocking := _blocking(review)):
        raise RolloutUnderWay(
            f"A rollout under way ({blocking}) uses the calibration in force for both arms; wait for its end, "
            "or use --force to judge both arms by another one."
        )
    calibration = _stored(ledger, record).calibration
    review.put_in_force(calibration, history_labels=review.history_labels(), now=WallClock().time())
    return _stored(ledger, _record(ledger, record.calibration_id))


def _print_promoted(console: Console, promoted: KeptCalibration) -> None:
    print_calibration(console, promoted)
    print_line(console, f"Calibration {promoted.calibration.calibration_id} is in force.")
