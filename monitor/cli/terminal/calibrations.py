"""Prints calibrations in the terminal: trust, table of tiers, reliability curve, lists."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monitor.cli.terminal.console import INDENT, UNKNOWN, print_line
from monitor.cli.terminal.rollouts import columns
from monitor.difficulty.trust import ReliabilityPoint, TierPromise, Trust
from monitor.output.calibrations import CalibrationComparison, KeptCalibration, TierTable, history_rows
from monitor.output.plain import iso_time
from monitor.output.rollouts import RecordCounts
from monitor.rollout.wording import counted, percent

_AXIS_WIDTH = 41  # a column for every 2.5 points, with one in the middle
_DAY = len("2026-11-23")


def print_calibrate(
    console: Console, records: RecordCounts, kept: KeptCalibration, promotion: str, history: TierTable
) -> None:
    """Print the result of `calibrate`, and whether the calibration is trusted."""
    if records.read:
        usable = f"{records.counted:,} traces counted, {records.duplicate:,} known already"
        unusable = f"{records.dead_lettered:,} unreadable, {records.unlabelled:,} without an outcome"
        print_line(console, f"{records.read:,} records read, {usable}, {unusable}.")
    print_calibration(console, kept)
    for titles, *rows in history_rows(history, is_trusted=kept.calibration.trust.is_trusted):
        console.print(Padding(columns(*titles, rows=rows), INDENT))
        console.print()
    print_line(console, promotion)


def print_calibration(console: Console, kept: KeptCalibration) -> None:
    """Print one calibration: its history, whether it is trusted, and its reliability curve."""
    calibration, trust = kept.calibration, kept.calibration.trust
    origin = (
        f"  from {trust.versions} model versions and {kept.record.history_labels:,} labelled requests, "
        f"frozen {iso_time(calibration.frozen_at)}"
    )
    console.print(Text.assemble("calibration ", (calibration.calibration_id, "bold"), origin), soft_wrap=True)
    console.print(Text("  ") + _verdict(trust), soft_wrap=True)
    for reason in (*trust.reasons, *trust.hard_rate_reasons):
        console.print(Text(f"  - {reason}"), soft_wrap=True)
    for promise in calibration.promises:
        if promise.requests:
            console.print(Text(f"  {_promise(promise)}"), soft_wrap=True)
    if trust.reliability:
        console.print()
        console.print(Padding(_reliability(trust.reliability), INDENT))
    console.print()


def _promise(promise: TierPromise) -> str:
    """The range of one tier, and the failure rate of the reference version in it."""
    note = "" if promise.is_kept else ", promise broken"
    return (
        f"{promise.tier}: the reference version fails {percent(promise.failures / promise.requests)} of "
        f"{promise.requests:,} held-out requests ({percent(promise.least)} to {percent(promise.most)} promised){note}"
    )


def print_calibrations(console: Console, calibrations: Sequence[KeptCalibration]) -> None:
    """Print one row for every calibration."""
    if not calibrations:
        console.print("No calibration yet: `cliffwatch calibrate FILE...` makes one from reference outcomes.")
        return
    table = columns("calibration", "state", "frozen", "versions", "labels", "AUC", "error", "trusted")
    for kept in calibrations:
        trust = kept.calibration.trust
        table.add_row(
            kept.calibration.calibration_id,
            "in force" if kept.in_force else "kept" if kept.record.promoted_at is None else "earlier",
            iso_time(kept.calibration.frozen_at)[:_DAY],
            str(trust.versions),
            f"{kept.record.history_labels:,}",
            _figure(trust.auc, 2),
            _figure(trust.calibration_error, 3),
            "yes" if trust.is_trusted else "no",
        )
    console.print(table)


def print_comparison(console: Console, comparison: CalibrationComparison) -> None:
    """Print two calibrations, and the requests that change their tier."""
    print_calibrations(console, [comparison.first, comparison.second])
    console.print()
    if comparison.same_tier_share is None:
        print_line(console, "No request in the ledger has a request_id, so tags cannot be compared.")
        return
    of_ledger = counted(sum(comparison.moves.values()), "request")
    print_line(console, f"{percent(comparison.same_tier_share)} of {of_ledger} of the ledger keep their tier.")
    rows = ((before, after, f"{requests:,}") for (before, after), requests in comparison.moves.items())
    console.print(Padding(columns("from", "to", "requests", rows=rows), INDENT))


def _verdict(trust: Trust) -> Text:
    trusted = "trusted" if trust.is_trusted_for_hard_rate else "trusted but for the hard rate"
    facts = Text("tiers: ").append(*((trusted, "bold green") if trust.is_trusted else ("not trusted", "bold red")))
    if trust.auc is not None:
        facts.append(f"; AUC {trust.auc:.2f} (at least {_figure(trust.auc_lower, 2)})")
    if trust.calibration_error is not None:
        facts.append(f"; calibration error {trust.calibration_error:.3f}")
    if trust.known_share is not None:
        facts.append(f"; {percent(trust.known_share)} of requests known")
    return facts


def _figure(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _reliability(points: Sequence[ReliabilityPoint]) -> Table:
    """One row per group of labels, with predicted (|) and observed (●) failure rates on an axis."""
    rows = (
        (percent(p.predicted), percent(p.observed), f"{p.labels:,}", _on_axis(p.predicted, p.observed)) for p in points
    )
    return columns("predicted |", "observed ●", "labels", "0 %".ljust(_AXIS_WIDTH - 5) + "100 %", rows=rows)


def _on_axis(predicted: float, observed: float) -> Text:
    marks = ["·"] * _AXIS_WIDTH
    places = [round(ratio * (_AXIS_WIDTH - 1)) for ratio in (predicted, observed)]
    marks[min(places) : max(places)] = "─" * abs(places[0] - places[1])
    marks[places[0]] = "|"
    marks[places[1]] = "●"
    return Text("".join(marks))
