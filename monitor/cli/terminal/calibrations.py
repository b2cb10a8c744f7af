"""What a person reads of a calibration in a terminal: trust, tier table, reliability curve, lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from monitor.cli.terminal.rollouts import columns
from monitor.difficulty.tiers import Tier
from monitor.output.calibrations import (
    CalibrateJson,
    CalibrationJson,
    ComparisonJson,
    LoadedJson,
    ReliabilityJson,
    TallyJson,
    TierTableJson,
)
from monitor.rollout.wording import percent

_UNKNOWN = "-"
_INDENT = (0, 0, 0, 2)
_AXIS_WIDTH = 41  # a column for every 2.5 points, with one in the middle
_LONGEST_NAME = 30  # six columns of rates beside it fit a terminal of 80 columns
_DAY = len("2026-11-23")


def print_calibrate(console: Console, result: CalibrateJson) -> None:
    """What `calibrate` did, and whether its calibration may be believed."""
    records, difficulty = result["records"], result["difficulty"]
    if records["read"]:
        console.print(_loaded(records), soft_wrap=True, highlight=False)
    print_calibration(console, difficulty)
    _print_history(console, result["history"], is_trusted=difficulty["trusted"])
    console.print(result["promotion"], soft_wrap=True, highlight=False)


def _loaded(records: LoadedJson) -> str:
    return (
        f"{records['read']:,} records read, {records['counted']:,} traces counted, {records['duplicate']:,} known "
        f"already, {records['dead_lettered']:,} unreadable, {records['unlabelled']:,} without an outcome."
    )


def print_calibration(console: Console, calibration: CalibrationJson) -> None:
    """What one calibration rests on, whether it may be believed, and its reliability curve."""
    console.print(
        Text.assemble(
            ("calibration ", ""),
            (calibration["calibration"], "bold"),
            f"  from {calibration['versions']} model versions and {calibration['history_labels']:,} labelled requests, "
            f"frozen {calibration['frozen_at']}",
        ),
        soft_wrap=True,
    )
    console.print(Text("  ") + _verdict(calibration), soft_wrap=True)
    for reason in (*calibration["reasons"], *calibration["hard_rate_reasons"]):
        console.print(Text(f"  - {reason}"), soft_wrap=True)
    if calibration["reliability"]:
        console.print()
        console.print(Padding(_reliability(calibration["reliability"]), _INDENT))
    console.print()


def print_calibrations(console: Console, calibrations: Sequence[CalibrationJson]) -> None:
    """Every calibration in one row."""
    if not calibrations:
        console.print("No calibration yet: `cliffwatch calibrate FILE...` makes one of reference outcomes.")
        return
    table = columns("calibration", "state", "frozen", "versions", "labels", "AUC", "error", "trusted")
    for each in calibrations:
        table.add_row(
            each["calibration"],
            _state(each),
            each["frozen_at"][:_DAY],
            str(each["versions"]),
            f"{each['history_labels']:,}",
            _figure(each["auc"], 2),
            _figure(each["calibration_error"], 3),
            "yes" if each["trusted"] else "no",
        )
    console.print(table)


def print_comparison(console: Console, comparison: ComparisonJson) -> None:
    """Two calibrations beside each other, and where requests move between them."""
    first, second = comparison["first"], comparison["second"]
    table = columns("", first["calibration"], second["calibration"])
    for title, values in _FACTS.items():
        table.add_row(title, *(values(each) for each in (first, second)))
    console.print(table)
    console.print()
    share = comparison["same_tier_share"]
    if share is None:
        console.print("The ledger holds no request that names itself, so tags cannot be compared.", soft_wrap=True)
        return
    console.print(f"{percent(share)} of {comparison['requests']:,} requests keep their tier.", highlight=False)
    moves = columns("from", "to", "requests")
    for move in comparison["moves"]:
        if move["before"] != move["after"]:
            moves.add_row(move["before"], move["after"], f"{move['requests']:,}")
    if moves.row_count:
        console.print(Padding(moves, _INDENT))


def _state(calibration: CalibrationJson) -> str:
    if calibration["in_force"]:
        return "in force"
    return "kept" if calibration["promoted_at"] is None else "earlier"


def _verdict(calibration: CalibrationJson) -> Text:
    colour = "green" if calibration["trusted"] else "red"
    facts = Text.assemble("tiers: ", (_trusted(calibration), f"bold {colour}"))
    if calibration["auc"] is not None:
        facts.append(f"; AUC {calibration['auc']:.2f} (at least {_figure(calibration['auc_lower'], 2)})")
    if calibration["calibration_error"] is not None:
        facts.append(f"; calibration error {calibration['calibration_error']:.3f}")
    if calibration["known_share"] is not None:
        facts.append(f"; {percent(calibration['known_share'])} of requests known")
    return facts


def _trusted(calibration: CalibrationJson) -> str:
    if not calibration["trusted"]:
        return "not trusted"
    return "trusted" if calibration["trusted_for_hard_rate"] else "trusted, but for the hard tier's rate"


def _figure(value: float | None, digits: int) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}"


_FACTS: Mapping[str, Callable[[CalibrationJson], str]] = {
    "frozen": lambda each: each["frozen_at"],
    "versions": lambda each: str(each["versions"]),
    "labels": lambda each: f"{each['history_labels']:,}",
    "reference version": lambda each: each["reference_version"],
    "tiers": _trusted,
    "AUC": lambda each: _figure(each["auc"], 3),
    "calibration error": lambda each: _figure(each["calibration_error"], 3),
    "requests known": lambda each: _UNKNOWN if each["known_share"] is None else percent(each["known_share"]),
    "medium from, logits": lambda each: _figure(each["cuts"]["medium"], 2),
    "hard from, logits": lambda each: _figure(each["cuts"]["hard"], 2),
    "frontier from, logits": lambda each: _figure(each["cuts"]["frontier"], 2),
}


def _print_history(console: Console, history: TierTableJson, *, is_trusted: bool) -> None:
    if is_trusted:
        console.print(Padding(_by_tier(history), _INDENT))
    else:  # without tiers, what is left to tell is who fails, and at what
        console.print(Padding(_rates("failure rate by version", history["versions"]), _INDENT))
        console.print()
        console.print(Padding(_rates("failure rate by capability", history["capabilities"]), _INDENT))
    console.print()


def _by_tier(history: TierTableJson) -> Table:
    shown = [tier for tier, entry in history["tiers"].items() if entry["requests"] or tier != Tier.UNTIERED]
    table = columns("", *shown, "all")
    table.add_row("share of traffic", *(percent(history["tiers"][tier]["traffic_share"]) for tier in shown), "")
    table.add_row("failure rate", *(_rate(history["tiers"][tier]) for tier in shown), "")
    for version, every in history["versions"].items():
        cells = [_rate(history["tiers"][tier]["versions"].get(version)) for tier in shown]
        table.add_row(f"  {_shortened(version)}", *cells, _rate(every))
    return table


def _shortened(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[: half - 1]}…{name[-half:]}"


def _rates(title: str, tallies: Mapping[str, TallyJson]) -> Table:
    table = columns(title, "", "")
    for name, tally in tallies.items():
        table.add_row(name, f"{tally['failures']:,}/{tally['requests']:,}", _rate(tally))
    return table


def _rate(tally: TallyJson | None) -> str:
    return _UNKNOWN if tally is None or tally["rate"] is None else percent(tally["rate"])


def _reliability(points: Sequence[ReliabilityJson]) -> Table:
    """One row per group of labels: where on the axis failures were told (|) and where they were seen (●)."""
    table = columns("failures told |", "seen ●", "labels")
    table.add_column(Text("0 %".ljust(_AXIS_WIDTH - 5) + "100 %"), justify="left", no_wrap=True)
    for point in points:
        table.add_row(
            percent(point["predicted"]),
            percent(point["observed"]),
            f"{point['labels']:,}",
            _on_axis(point["predicted"], point["observed"]),
        )
    return table


def _on_axis(predicted: float, observed: float) -> Text:
    marks = ["·"] * _AXIS_WIDTH
    told, seen = (round(ratio * (_AXIS_WIDTH - 1)) for ratio in (predicted, observed))
    for column in range(min(told, seen), max(told, seen)):
        marks[column] = "─"
    marks[told] = "|"
    marks[seen] = "●"
    return Text("".join(marks))
