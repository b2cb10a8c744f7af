"""`cliffwatch calibrations`: what was frozen, what is in force, and how to change that by hand."""

from __future__ import annotations

from monitor.cli import options
from monitor.cli.app import app, print_result
from monitor.cli.terminal.calibrations import print_calibration, print_calibrations
from monitor.cli.terminal.console import Console, say
from monitor.cli.wiring import opened_ledger, reviewer_of
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.difficulty.calibration import Calibration
from monitor.errors import CalibrationInvalid, RolloutUnderWay, UsageError
from monitor.ledger.ledger import CalibrationRecord, record_in_force
from monitor.ledger.sql import SqlLedger
from monitor.output.calibrations import KeptCalibration

calibrations = app.group("calibrations", "List, show, promote and roll back frozen calibrations.")


@calibrations.command("list")
def list_calibrations(*, shared: options.Shared) -> None:
    """
    Every calibration that the ledger keeps, the one in force last.

    Example: [bold]cliffwatch calibrations list[/]
    """
    listed = []
    with opened_ledger(shared.config(), shared.ledger) as opened:
        for record in opened.calibrations():
            try:
                listed.append(_kept(opened, record))
            except CalibrationInvalid as error:
                say(f"{record.calibration_id}: {error}", err=True)
    print_result(shared.output, listed, print_calibrations)


@calibrations.command("show")
def show_calibration(calibration_id: str = "", *, shared: options.Shared) -> None:
    """
    One calibration: what it rests on, whether it is trusted and why not, and its reliability curve.

    Example: [bold]cliffwatch calibrations show[/]

    Args:
        calibration_id (ID): A calibration, or the beginning of its id; by default the one in force.
    """
    with opened_ledger(shared.config(), shared.ledger) as opened:
        shown = _kept(opened, _found(opened, calibration_id))
    print_result(shared.output, shown, print_calibration)


@calibrations.command("promote")
def promote_calibration(calibration_id: str, *, force: bool = False, shared: options.Shared) -> None:
    """
    Put a calibration in force; refused while a rollout with trusted tiers is under way.

    It stays in force until the history has grown enough from here for a new one.

    Example: [bold]cliffwatch calibrations promote 1f3a[/]

    Args:
        calibration_id (ID): A calibration, or the beginning of its id.
        force: Also while a rollout is under way; both of its arms are then read under this one.
    """
    config = shared.config()
    with opened_ledger(config, shared.ledger) as opened:
        promoted = _put_in_force(config, opened, _found(opened, calibration_id), force=force)
    print_result(shared.output, promoted, _print_promoted)


@calibrations.command("rollback")
def roll_back_calibration(*, force: bool = False, shared: options.Shared) -> None:
    """
    Put the previous calibration back in force.

    Example: [bold]cliffwatch calibrations rollback[/]

    Args:
        force: Also while a rollout is under way; both of its arms are then read under this one.
    """
    config = shared.config()
    with opened_ledger(config, shared.ledger) as opened:
        earlier = [record for record in opened.calibrations() if record.is_promoted][:-1]
        if not earlier:
            raise UsageError("No calibration was in force before; `cliffwatch calibrations list` shows what there is.")
        promoted = _put_in_force(config, opened, earlier[-1], force=force)
    print_result(shared.output, promoted, _print_promoted)


def _found(ledger: SqlLedger, beginning: str) -> CalibrationRecord:
    """The calibration whose id begins so; the one in force where nothing was typed."""
    records = ledger.calibrations()
    if not beginning:
        in_force = record_in_force(records)
        if in_force is None:
            raise UsageError("No calibration is in force; `cliffwatch calibrate FILE...` makes one.")
        return in_force
    matching = [record for record in records if record.calibration_id.startswith(beginning)]
    if len(matching) != 1:
        problem = "More than one calibration begins" if matching else "No calibration begins"
        raise UsageError(f"{problem} with {beginning}; `cliffwatch calibrations list` shows what there is.")
    return matching[0]


def _read(ledger: SqlLedger, calibration_id: str) -> Calibration:
    calibration = ledger.calibration(calibration_id)
    if calibration is None:
        raise UsageError(f"Calibration {calibration_id} has just gone; `cliffwatch calibrations list` shows the rest.")
    return calibration


def _kept(ledger: SqlLedger, record: CalibrationRecord) -> KeptCalibration:
    in_force = record == record_in_force(ledger.calibrations())
    return KeptCalibration(_read(ledger, record.calibration_id), record, in_force=in_force)


def _put_in_force(config: Config, ledger: SqlLedger, record: CalibrationRecord, *, force: bool) -> KeptCalibration:
    review = reviewer_of(config, ledger)
    held = review.held_by()
    if held and not force:
        names = ", ".join(f"{rollout.service}: {rollout.baseline} → {rollout.candidate}" for rollout in held)
        raise RolloutUnderWay(
            f"Both arms of a rollout under way ({names}) are read under the calibration in force; wait for its end, "
            "or use --force to read them under another one."
        )
    calibration = _read(ledger, record.calibration_id)
    review.put_in_force(calibration, history_labels=review.history_labels(), now=WallClock().time())
    return _kept(ledger, _found(ledger, record.calibration_id))


def _print_promoted(console: Console, promoted: KeptCalibration) -> None:
    print_calibration(console, promoted)
    console.print(f"Calibration {promoted.calibration.calibration_id} is in force.", highlight=False)
