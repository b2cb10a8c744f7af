"""`cliffwatch calibrate`: outcomes of past or other models in, a frozen calibration and its trust out."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from monitor.cli import options
from monitor.cli.app import EXIT_PROBLEM, app, print_result
from monitor.cli.gc import collect_rarely
from monitor.cli.reading import Reading
from monitor.cli.terminal.calibrations import print_calibrate
from monitor.cli.terminal.console import Console
from monitor.cli.terminal.rollouts import reading_progress
from monitor.cli.wiring import history_replay, opened_ledger, reviewer_of
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.errors import MonitorError
from monitor.evals.formats.reading import Options
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.ledger import CalibrationRecord
from monitor.ledger.sql import SqlLedger
from monitor.output.calibrations import CalibrateResult, KeptCalibration, tier_table
from monitor.output.rollouts import RecordCounts, record_counts
from monitor.service.review import Draft, Reviewer


@app.command()
def calibrate(
    files: list[str] | None = None,
    *,
    shared: options.Shared,
    exclude: list[str] | None = None,
    dry_run: bool = False,
    reading: Reading,
) -> None:
    """
    Load outcomes of past or other models as reference history, learn difficulty, freeze it, say whether to trust it.

    FILE holds native or OpenTelemetry events, or results of an eval tool as `cliffwatch report` reads them. Every trace
    is read as environment `reference`, whatever it says: it teaches difficulty and never starts a rollout. A trace that
    the ledger has already counts once, and stays what it was. Versions that are live now, and those excluded, teach
    nothing. The calibration is put in force at once, unless a rollout with a trusted one is under way: then it is kept
    for `cliffwatch calibrations promote`.

    Exit code 0 where the tiers are trusted, 1 where they are not, with what is missing.

    Example: [bold]cliffwatch calibrate past-models.jsonl.gz --ledger sqlite:///cliffwatch.db[/]

    Args:
        files (FILE...): Events or eval results, files or folders; - is stdin. Without one, the ledger alone teaches.
        exclude (VERSION): A version about to be tried: it teaches nothing. Repeatable.
        dry_run: Say what FILEs alone would teach; read and write no ledger.
    """
    config = shared.config()
    asked = reading.options()
    with opened_ledger(config, IN_MEMORY_URL if dry_run else shared.ledger) as opened:
        loaded = _load(config, files or [], opened, asked)
        review = reviewer_of(config, opened)
        draft = _learn(review, exclude or [])
        promotion = "Dry run: nothing was kept." if dry_run else _promote(review, draft, opened)
        result = _result(loaded, draft, promotion, opened)
    print_result(shared.output, result, print_calibrate)
    if not draft.calibration.trust.is_trusted:
        raise typer.Exit(EXIT_PROBLEM)


def _load(config: Config, files: Sequence[str], ledger: SqlLedger, asked: Options) -> RecordCounts:
    before = ledger.counters()
    if files:
        collect_rarely()
        with (
            history_replay(config, files, ledger, asked) as history,
            reading_progress(Console(stderr=True), "load") as advance,
        ):
            history.read(progress=advance)
    return record_counts(ledger.counters(), since=before)


def _learn(review: Reviewer, exclude: Sequence[str]) -> Draft:
    total = review.history_labels()
    with reading_progress(Console(stderr=True), "learn", total=total) as advance:
        draft = review.draft(now=WallClock().time(), new_versions=exclude, progress=advance)
    if draft is None:
        raise MonitorError(
            "There is no labelled request of a past or other model to learn from: "
            "give files whose traces have outcomes, of versions that are not live now."
        )
    return draft


def _promote(review: Reviewer, draft: Draft, ledger: SqlLedger) -> str:
    calibration = draft.calibration
    held = review.held_by()
    if held:
        ledger.keep(calibration, history_labels=draft.history_labels)
        names = ", ".join(f"{rollout.service}: {rollout.baseline} → {rollout.candidate}" for rollout in held)
        return (
            f"Kept, not in force: both arms of a rollout under way ({names}) are read under another one. "
            f"When it ends: cliffwatch calibrations promote {calibration.calibration_id}"
        )
    review.put_in_force(calibration, history_labels=draft.history_labels, now=WallClock().time())
    return "In force: requests are tagged under it from now on."


def _result(loaded: RecordCounts, draft: Draft, promotion: str, ledger: SqlLedger) -> CalibrateResult:
    calibration = draft.calibration
    unkept = CalibrationRecord(calibration.calibration_id, calibration.frozen_at, None, draft.history_labels)
    kept = (record for record in ledger.calibrations() if record.calibration_id == calibration.calibration_id)
    record = next(kept, unkept)
    return CalibrateResult(
        records=loaded,
        difficulty=KeptCalibration(calibration, record, in_force=record.is_promoted),
        promotion=promotion,
        history=tier_table(draft.history, calibration),
    )
