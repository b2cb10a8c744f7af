"""Prints probe panels, runs, histories and comparisons of versions in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from monitor.cli.terminal.console import print_line
from monitor.ledger.ledger import ProbeResult
from monitor.output.frontier import ClassFrontier, LengthRate, VersionHorizon, VersionRate
from monitor.probes.panel import Panel, ProbeHistory
from monitor.probes.run import Progress
from monitor.rollout.verdict import Interval
from monitor.rollout.wording import counted, percent
from monitor.trace.horizon import Horizon

_NOT_RUN = "·"


def print_panel(console: Console, panel: Panel) -> None:
    """Print the panel's distribution, and how many replays of it are needed for trust."""
    known_by = "not known yet" if panel.calibration is None else f"by calibration {panel.calibration}"
    print_line(console, f"{len(panel.probes):,} probes of {panel.candidates:,} requests, difficulty {known_by}.")
    for reason, lines in panel.skipped.items():
        print_line(console, f"{counted(lines, 'line')} skipped: {reason}.")
    for name, spread in (("tier", panel.tiers), ("capability", panel.capabilities)):
        print_line(console, f"probes by {name}: {', '.join(f'{group} {probes:,}' for group, probes in spread.items())}")
    goals = zip(("tiers", "the hard tier's rate"), panel.versions_needed.values(), strict=True)
    needed = [f"on {counted(more, 'more version')} for {goal}" for goal, more in goals if more]
    print_line(console, f"Replay it {' and '.join(needed) or 'on new versions alone: enough old ones taught already'}.")
    print_line(console, f"Once it is replayed, {percent(panel.known_share)} of the traffic is known.")


def print_probes(console: Console, histories: Sequence[ProbeHistory]) -> None:
    """Print each probe with the result of every version, oldest version first."""
    if not histories:
        hint = "ask a panel with `cliffwatch probes run`, then `cliffwatch replay` its events."
        print_line(console, f"No probe has run yet: {hint}")
        return
    runs = sorted((run.first_started_at, run.model_version) for history in histories for run in history.results)
    versions = list(dict.fromkeys(version for _, version in runs))
    for number, version in enumerate(versions, start=1):
        print_line(console, f"{number:>3}  {version}")
    print_line(console, "✓ passed  ✗ failed  ~ both  · not run or not labelled\n")
    for history in histories:  # not as a table, which would be cut to the width of the terminal
        by_version = {result.model_version: result for result in history.results if result.labelled}
        failed = sum(result.failures > 0 for result in by_version.values())
        marks = "".join(_mark(by_version.get(version)) for version in versions)
        tried = f"{marks}  failed by {failed} of {len(by_version)}"
        print_line(console, f"{tried}  {history.request_id}  {history.capability}")
    for family in sorted({history.family for history in histories} - {""}):
        print_line(console, _family_words(family, [h for h in histories if h.family == family], versions))


def run_line(progress: Progress, elapsed_seconds: float) -> str:
    """The progress of a run, with the remaining time and cost at the present pace."""
    line, done, rest = _so_far(progress), progress.answered - progress.resumed, progress.probes - progress.answered
    if not done or not rest:
        return line
    seconds = timedelta(seconds=round(elapsed_seconds / done * rest))
    cost = f" and {progress.spent_usd / progress.answered * rest:.2g} USD" if progress.spent_usd else ""
    return f"{line}, about {seconds}{cost} left"


def _so_far(progress: Progress) -> str:
    spent = f", {progress.spent_usd:.4g} USD spent" if progress.spent_usd else ""  # 0 may mean unknown
    unlabelled = progress.counts["unlabelled"]  # shown early, since an agent may never report `success`
    note = f", {unlabelled:,} unlabelled" if unlabelled else ""
    return f"{progress.answered:,} of {progress.probes:,} probes{note}{spent}"


def print_run(console: Console, progress: Progress, path: Path) -> None:
    """Print the result of a run, and what to do next."""
    counts = ", ".join(f"{number:,} {name}" for name, number in progress.counts.items())
    classes = "".join(f"\n  {name}: {number:,}" for name, number in sorted(progress.failures.items()))
    print_line(console, f"{path}: {_so_far(progress)}.\nThis run: {counts}.{classes}")
    if progress.counts["unlabelled"]:
        print_line(console, "Nothing says whether unlabelled answers pass: add --grade-exec, or `success` to a result.")
    if progress.grade_problem:
        print_line(console, f"Answers without a grade are kept, and the next run grades them: {progress.grade_problem}")
    if progress.is_spent:
        print_line(console, "The spending limit is reached; raise --max-cost to go on.")
    elif progress.answered < progress.probes:
        print_line(console, "Run the same command again for the rest.")
    else:
        print_line(console, f"Next: cliffwatch calibrate {path}")


def print_frontier(console: Console, classes: Sequence[ClassFrontier]) -> None:
    """Print the best version of each class, and the versions that may be below it only by chance."""
    if not any(of.best for of in classes):
        print_line(console, "No version has enough labelled hard requests yet; see --min-requests, or run a panel.")
        return
    for of in classes:
        print_line(console, of.capability if of.best else f"{of.capability}: too few labelled hard requests")
        for rate in of.versions:
            rank = "best" if rate.model_version == of.best else "alike" if rate.model_version in of.alike else ""
            print_line(console, f"  {rank:<5} {_rate_words(rate)}")


def _rate_words(rate: VersionRate) -> str:
    use, words = rate.use, f"{rate.model_version}: {_pass_words(rate.pass_rate, rate.requests, ' hard requests')}"
    words += "" if use.cost_usd is None else f", {use.cost_usd:.4g} USD each"
    return words if use.seconds_p95 is None else f"{words}, 95 % within {use.seconds_p95:.3g} s"


def print_horizons(console: Console, versions: Sequence[VersionHorizon], unit: Horizon) -> None:
    """Print pass rates of each version by the length of its runs, with a line at their budgets."""
    if not versions:
        print_line(console, "No run has a length yet; those that an older version of Cliffwatch counted have none.")
    words = unit.replace("_", " ")
    for version in versions:
        print_line(console, f"{version.model_version}, by {words}")
        for length in version.lengths:
            print_line(console, f"  {_length_words(length)}")
            if length.budgets:
                print_line(console, f"  {'─' * 13} budget of {counted(length.budgets, 'run')}, within the length above")
        for share, up_to in (("80 %", version.passes_80_up_to), ("50 %", version.passes_50_up_to)):
            if up_to is not None:
                print_line(console, f"  At least {share} are shown to pass up to {up_to:,} {words}.")


def _length_words(length: LengthRate) -> str:
    longest = "unknown" if length.longer_than is None else f"over {length.longer_than:,}"
    name, unlabelled = f"up to {length.up_to:,}" if length.up_to else longest, length.requests - length.labelled
    too_few = f"{length.labelled:,} labelled, too few"
    rate = too_few if length.pass_rate is None else _pass_words(length.pass_rate, length.labelled)
    return f"{name:>12}: {rate}{f', {unlabelled:,} unlabelled' if unlabelled else ''}"


def _pass_words(rate: Interval, requests: int, of: str = "") -> str:
    return f"{percent(rate.estimate)} of {requests:,}{of} pass ({percent(rate.lower)} to {percent(rate.upper)})"


def _family_words(family: str, probes: Sequence[ProbeHistory], versions: Sequence[str]) -> str:
    """The versions that pass every probe of *family* that they ran, oldest first."""
    failures = Counter[str]()
    for result in (result for probe in probes for result in probe.results if result.labelled):
        failures[result.model_version] += result.failures
    solved = [version for version in versions if version in failures and not failures[version]]
    return f"family {family}: {counted(len(probes), 'probe')}, solved by {', '.join(solved) or 'no version'}"


def _mark(result: ProbeResult | None) -> str:
    if result is None:
        return _NOT_RUN
    return "✓" if not result.failures else "✗" if result.failures == result.labelled else "~"
