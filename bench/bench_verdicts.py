"""
Verdicts on rollouts whose truth is known: false alarms, power, and versions of real models.

Prints a table and writes it to bench/out/verdicts.json. Run: python -m bench.bench_verdicts [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.outcomes import Outcomes, load
from bench.real_rollouts import Pair, Protocol, judge_pairs
from bench.replayed_rollouts import replay, replay_pairs
from bench.rival_tests import fixed_threshold, kayenta, peeked_z_test
from bench.rollout_streams import (
    FAILURE_RATE,
    Labelling,
    Stream,
    Truth,
    known_tiers,
    simulate,
    simulate_late_labels,
)
from bench.scenarios import scenarios
from bench.verdict_table import Result, results
from monitor.demo.events import write_demo_events
from monitor.log import LogLevel, LogSettings, configure
from monitor.rollout.judging import judge
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Verdict, VerdictState

OUT = Path(__file__).resolve().parent / "out" / "verdicts.json"

POLICY = Policy()
CALIBRATION = known_tiers()
ALARMS = (VerdictState.CLIFF, VerdictState.REGRESSION)
NO_CHANGE = Truth(candidate_rate=FAILURE_RATE)
MIX_SHIFT = Truth(candidate_rate=FAILURE_RATE, candidate_mix=np.array([0.45, 0.30, 0.25, 0.0]))
THREE_TIMES_SLOWER = Labelling(success_delay=2.0, failure_delay=6.0, maturity=6)
SIGN_TARGETS: Mapping[float, float] = {0.3: 0.75, 0.6: 0.85}
"""Least share of right signs by share of known requests; ratios."""
DEMO_VERDICTS = {
    "booking-agent": "cliff",
    "search-agent": "ok",
    "billing-agent": "waiting",
    "support-agent": "regression",
}
"""The right verdicts on the demo's rollouts."""
_REPLAY_PROCESSES = min(2, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, the figure, what the target is, and whether it is met."""

    criterion: str
    figure: str
    target: str
    is_met: bool | None

    def __str__(self) -> str:
        mark = {True: "ok", False: "MISSED", None: ""}[self.is_met]
        return f"{self.criterion:<74} {self.figure:<34} {self.target:<28} {mark}"


def watch(stream: Stream) -> Iterator[Verdict]:
    """The verdict at every look."""
    verdict: Verdict | None = None
    for cohort in stream.cohorts():
        verdict = judge(cohort, CALIBRATION, POLICY, previous=verdict)
        yield verdict


def null_runs(*, runs: int, looks: int, per_look: int) -> list[Row]:
    """Criterion 1: the same model twice, with the false alarms of Cliffwatch and of other tests."""
    alarms: Counter[str] = Counter()
    for run in range(runs):
        stream = simulate(NO_CHANGE, looks=looks, per_look=per_look, rng=np.random.default_rng((1, run)))
        alarms["verdict"] += any(verdict.state in ALARMS for verdict in watch(stream))
        alarms.update(name for name, is_alarmed in rivals(stream).items() if is_alarmed)
    budget = f"<= {POLICY.error_rate:.0%} ever"
    names = {
        "verdict": "cliffwatch",
        "z_test": "peeked z-test at 5 %",
        "threshold": f"share of failures up by {100 * POLICY.share_jump:.0f} points",
        "kayenta": "Mann-Whitney canary analysis (Kayenta)",
    }
    return [
        Row(
            f"1 same model twice, {runs} runs x {looks} looks: {label}",
            f"{alarms[name] / runs:.1%} raise an alarm",
            budget if name == "verdict" else "",
            alarms[name] / runs <= POLICY.error_rate if name == "verdict" else None,
        )
        for name, label in names.items()
    ]


def rivals(stream: Stream) -> dict[str, bool]:
    """Whether each of the other tests would ever have raised an alarm on *stream*."""
    arms = (stream.baseline, stream.candidate)
    hard = [(arm.requests[:, 2:].sum(axis=1), arm.failures[:, 2:].sum(axis=1)) for arm in arms]
    failures = [(arm.failures.sum(axis=1), arm.failures[:, 2:].sum(axis=1)) for arm in arms]
    everything = [(arm.requests.sum(axis=1), arm.failures.sum(axis=1)) for arm in arms]
    return {
        "z_test": bool(peeked_z_test(*hard).any()),
        "threshold": bool(fixed_threshold(*failures, jump=POLICY.share_jump).any()),
        "kayenta": any(kayenta(*map(rate_per_look, metric)) for metric in (everything, hard)),
    }


def rate_per_look(counts: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.float64]:
    """Failures per request since the look before, from requests and failures so far."""
    requests, failures = (np.diff(count, prepend=0) for count in counts)
    rate: NDArray[np.float64] = failures / np.maximum(requests, 1)
    return rate


def mix_runs(*, runs: int, looks: int) -> list[Row]:
    """Criterion 3: only the traffic mix changes."""
    alarms, to_mix, raw = 0, 0.0, 0.0
    for run in range(runs):
        verdicts = list(watch(simulate(MIX_SHIFT, looks=looks, per_look=100, rng=np.random.default_rng((3, run)))))
        alarms += any(verdict.state in ALARMS for verdict in verdicts)
        parts = verdicts[-1].decomposition
        if parts is not None:
            to_mix += parts.traffic_mix
            raw += parts.traffic_mix + parts.easier_tiers + parts.hard_tiers
    return [
        _alarm_row(f"3 pure change of traffic mix, {runs} runs x {looks} looks: false alarms", alarms / runs),
        Row(
            "3 pure change of traffic mix: part of the raw change that goes to traffic_mix",
            f"{to_mix / raw:.1%} of {100 * raw / runs:.1f} points",
            ">= 90 %",
            to_mix / raw >= 0.9,
        ),
    ]


def late_label_runs(*, runs: int, looks: int) -> list[Row]:
    """Criterion 4: failures that are labelled late."""
    rows = []
    for label, is_cutover in (("side by side", False), ("after a cutover", True)):
        alarms = 0
        for run in range(runs):
            stream = simulate_late_labels(
                NO_CHANGE,
                THREE_TIMES_SLOWER,
                looks=looks,
                per_look=100,
                is_cutover=is_cutover,
                rng=np.random.default_rng((5, run)),
            )
            alarms += any(verdict.state in ALARMS for verdict in watch(stream))
        name = f"4 failures labelled three times slower, {label}, {runs} runs x {looks} looks: false alarms"
        rows.append(_alarm_row(name, alarms / runs))
    return rows


def _alarm_row(criterion: str, rate: float) -> Row:
    return Row(criterion, f"{rate:.1%}", f"<= {POLICY.error_rate:.0%}", rate <= POLICY.error_rate)


def real_protocols(*, pairs: int, looks: int, per_look: int, seed: int) -> Iterator[tuple[Outcomes, Protocol]]:
    """Histories of both sets with the same pairs after each, 30 % and 60 % of the requests known."""
    sets = ((load("bfcl"), (0, 2, 4, 6)), (load("swebench_verified"), (0, 10, 20)))
    for (outcomes, starts), known_share in product(sets, SIGN_TARGETS):
        for start in starts:
            yield (
                outcomes,
                Protocol(
                    known_share=known_share, starts=(start,), pairs=pairs, looks=looks, per_look=per_look, seed=seed
                ),
            )


def real_pairs(*, pairs: int, looks: int, per_look: int, seed: int) -> list[Pair]:
    """Criterion 6 by the statistics alone: pairs of real versions."""
    protocols = real_protocols(pairs=pairs, looks=looks, per_look=per_look, seed=seed)
    return [pair for outcomes, protocol in protocols for pair in judge_pairs(outcomes, protocol)]


def replayed_pairs(*, pairs: int, looks: int, per_look: int, seed: int) -> list[Pair]:
    """Criterion 6 by the product: of the same rollouts the first ones of each history, as events through a replay."""
    protocols = real_protocols(pairs=pairs, looks=looks, per_look=per_look, seed=seed)
    with ProcessPoolExecutor(_REPLAY_PROCESSES, initializer=_log_errors_only) as processes:
        futures = [processes.submit(_replayed, outcomes, protocol) for outcomes, protocol in protocols]
        return [pair for future in futures for pair in future.result()]


def _replayed(outcomes: Outcomes, protocol: Protocol) -> list[Pair]:
    return list(replay_pairs(outcomes, protocol))


def _log_errors_only() -> None:
    configure(LogSettings(level=LogLevel.ERROR))


def demo_rows() -> list[Row]:
    """Criterion 6: the demo, as `cliffwatch demo` replays it."""
    with tempfile.TemporaryDirectory(prefix="cliffwatch-bench-") as folder:
        events = Path(folder) / "events.jsonl"
        write_demo_events(events)
        rollouts = {rollout["service"]: rollout for rollout in replay(events)["rollouts"]}
    return [
        Row(
            f"6 demo, {service}: {rollouts[service]['baseline'][:20]} -> {rollouts[service]['candidate'][:20]}",
            f"{rollouts[service]['verdict']} after {rollouts[service]['requests_to_verdict']} requests",
            expected,
            rollouts[service]["verdict"] == expected,
        )
        for service, expected in DEMO_VERDICTS.items()
    ]


def scenario_rows(*, seeds: int) -> list[Row]:
    """The idea's own example and its harmless variants, replayed by the product."""
    return [
        Row(f"replay of {result.scenario}, {seeds} seeds", result.figure, result.goal, result.is_met)
        for result in scenarios(seeds=seeds)
    ]


def constructed_cliffs(*, pairs: int, looks: int, per_look: int) -> list[Row]:
    """Criterion 6: real baselines, with part of their easier failures turned into passes and hard ones unchanged."""
    rows = []
    outcomes = load("bfcl")
    for known_share in (0.3, 0.6):
        protocol = Protocol(
            known_share=known_share, starts=(0, 2, 4, 6), pairs=pairs, looks=looks, per_look=per_look, mended=0.7
        )
        cliffs = [pair for pair in judge_pairs(outcomes, protocol) if pair.truth.excess >= 0.10]
        called = [pair.requests_to_verdict for pair in cliffs if pair.state is VerdictState.CLIFF]
        regressions = sum(VerdictState.REGRESSION in pair.reached for pair in cliffs)
        rows.append(
            Row(
                f"6 {known_share:.0%} known: hard untouched, 70 % of the easier failures mended: cliff",
                f"{len(called)} of {len(cliffs)}, median {np.median(called) if called else np.inf:.0f}",
                "",
                None,
            )
        )
        rows.append(
            Row(f"6 {known_share:.0%} known: the same: regression", f"{regressions} of {len(cliffs)}", "", None)
        )
    return rows


@dataclass(frozen=True, slots=True)
class Part:
    """A count out of a total."""

    count: int
    total: int

    @property
    def ratio(self) -> float | None:
        """None if the total is 0."""
        return self.count / self.total if self.total else None

    def __str__(self) -> str:
        return f"{self.count} of {self.total}" + ("" if self.ratio is None else f" ({self.ratio:.1%})")


@dataclass(frozen=True, slots=True)
class Summary:
    """
    Errors of the verdicts on pairs of versions.

    Attributes:
        error: Mean absolute error of the change of share, ratio.
        signs: Right signs of the excess, of those pairs whose true excess is at least 0.05 either way.
        cliffs: Cliffs called, of those pairs whose true excess is at least 0.10 and whose aggregate is not worse.
        false_cliffs: Cliffs called, of those pairs whose true excess is below 0.02.
        false_regressions: Regressions called, of those pairs whose hard tier and aggregate got no worse.
    """

    pairs: int
    error: float
    signs: Part
    cliffs: Part
    false_cliffs: Part
    false_regressions: Part

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Summary:
        measured = [(pair.share, pair.truth) for pair in pairs if pair.share is not None]
        cliffs = [pair for pair in pairs if pair.truth.excess >= 0.10 and pair.truth.aggregate_change <= 0]
        others = [pair for pair in pairs if pair.truth.excess < 0.02]
        steady = [pair for pair in pairs if max(pair.truth.hard_rate_change, pair.truth.aggregate_change) <= 0]
        signs = [share.excess * truth.excess > 0 for share, truth in measured if abs(truth.excess) >= 0.05]
        return cls(
            pairs=len(pairs),
            error=float(np.mean([abs(share.change - truth.change) for share, truth in measured])),
            signs=Part(sum(signs), len(signs)),
            cliffs=_called(cliffs, VerdictState.CLIFF),
            false_cliffs=_called(others, VerdictState.CLIFF),
            false_regressions=_called(steady, VerdictState.REGRESSION),
        )

    def __str__(self) -> str:
        return (
            f"{self.pairs} pairs: change off by {self.error:.3f}; sign of the excess right in {self.signs}; "
            f"true cliffs called: {self.cliffs}; called without cause: {self.false_cliffs}"
        )


def _called(pairs: Sequence[Pair], state: VerdictState) -> Part:
    return Part(sum(state in pair.reached for pair in pairs), len(pairs))


def summarise(pairs: Sequence[Pair], *, sign_target: float | None, name: str) -> list[Row]:
    """Error of the change, sign of the excess, cliffs called and calls without cause."""
    summary = Summary.of(pairs)
    right = summary.signs.ratio
    return [
        Row(f"6 {name}, {summary.pairs} pairs: error of the change of share", f"{summary.error:.3f}", "", None),
        Row(
            f"6 {name}: sign of the excess where it is at least 0.05",
            str(summary.signs),
            "" if sign_target is None else f">= {sign_target:.0%}",
            None if sign_target is None or right is None else right >= sign_target,
        ),
        Row(
            f"6 {name}: true cliffs (excess >= 0.10, aggregate not worse) called",
            str(summary.cliffs),
            "",
            None,
        ),
        _seldom(f"6 {name}: cliffs called where the true excess is below 0.02", summary.false_cliffs),
        _seldom(
            f"6 {name}: regressions called where neither hard tier nor average got worse", summary.false_regressions
        ),
    ]


def _seldom(criterion: str, part: Part) -> Row:
    return Row(criterion, str(part), "<= 10 %", part.count <= 0.1 * part.total)


def beside_the_statistics(replayed: Sequence[Pair], judged: Sequence[Pair]) -> Row:
    """Difference of a replay from the statistics alone on the same draws; they learn at different times."""
    alone = {_identity(pair): pair for pair in judged}
    both = [(pair, alone[_identity(pair)]) for pair in replayed]
    changes = [
        abs(pair.share.change - other.share.change)
        for pair, other in both
        if pair.share is not None and other.share is not None
    ]
    same = Part(sum(pair.state is other.state for pair, other in both), len(both))
    return Row(
        "6 replay beside the statistics alone, same draws: same last verdict",
        f"{same}; change differs by {np.mean(changes):.3f}",
        "",
        None,
    )


def _identity(pair: Pair) -> tuple[str, int, float, str, str]:
    return pair.data, pair.start, pair.known_share, pair.baseline, pair.candidate


def pair_lines(pairs: Sequence[Pair]) -> Iterator[str]:
    """The table of pairs, measured values before true ones."""
    yield f"{'baseline -> candidate':<72} known  change        expected      excess        verdict    requests"
    for pair in pairs:
        share, truth = pair.share, pair.truth
        measured = ("-", "-", "-") if share is None else _signed(share.change, share.expected, share.excess)
        true = _signed(truth.change, truth.expected, truth.excess)
        columns = " ".join(f"{one:>6}/{other}" for one, other in zip(measured, true, strict=True))
        name = f"{pair.baseline[:34]} -> {pair.candidate[:34]}"
        yield f"{name:<72} {pair.known_share:>4.0%}  {columns}  {pair.state:<10} {pair.requests_to_verdict:>7}"


def _signed(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:+.3f}" for value in values)


def summary_lines(pairs: Sequence[Pair]) -> Iterator[str]:
    """One line per share of known requests, and what it is held to."""
    for known_share, sign_target in SIGN_TARGETS.items():
        summary = Summary.of([pair for pair in pairs if pair.known_share == known_share])
        yield f"{known_share:.0%} known, {summary}  (targets: sign {sign_target:.0%}, without cause at most 10 %)"


def run(*, is_quick: bool) -> tuple[list[Row], list[Pair]]:
    """Every criterion, and the pairs that were replayed; quick: fewer runs."""
    part = 0.1 if is_quick else 1.0
    runs = round(200 * part)
    lines = [_shown(_row(result)) for result in results(round(400 * part))]
    criteria: tuple[Callable[[], list[Row]], ...] = (
        partial(null_runs, runs=round(400 * part), looks=200, per_look=50),
        partial(mix_runs, runs=runs, looks=100),
        partial(late_label_runs, runs=runs, looks=100),
        partial(constructed_cliffs, pairs=2 if is_quick else 6, looks=30, per_look=200),
        demo_rows,
        partial(scenario_rows, seeds=round(20 * part)),
    )
    rows = [*lines, *(_shown(row) for criterion in criteria for row in criterion())]
    judged = [
        pair
        for seed in ((7,) if is_quick else (7, 8, 9))
        for pair in real_pairs(pairs=4 if is_quick else 12, looks=30, per_look=200, seed=seed)
    ]
    replayed = replayed_pairs(pairs=1 if is_quick else 6, looks=30, per_look=200, seed=7)
    for name, pairs in (("statistics alone", judged), ("through replay", replayed)):
        for known_share, sign_target in SIGN_TARGETS.items():
            chosen = [pair for pair in pairs if pair.known_share == known_share]
            label = f"{known_share:.0%} known, {name}"
            rows += [_shown(row) for row in summarise(chosen, sign_target=sign_target, name=label)]
    rows.append(_shown(beside_the_statistics(replayed, judged)))
    return rows, replayed


def _row(result: Result) -> Row:
    return Row(result.line.name, result.figure, result.goal, result.is_met)


def _shown(row: Row) -> Row:
    print(row, flush=True)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    arguments = parser.parse_args()
    _log_errors_only()
    started = time.perf_counter()
    rows, pairs = run(is_quick=arguments.quick)
    table = [*pair_lines(pairs), *summary_lines(pairs)]
    print("\nReal versions through replay: measured/true, and labelled candidate requests to the verdict")
    print(*table, sep="\n")
    seconds = time.perf_counter() - started
    print(f"\n{seconds:.0f} seconds")
    OUT.parent.mkdir(exist_ok=True)
    content = {
        "seconds": round(seconds),
        "rows": [asdict(row) for row in rows],
        "pairs": table,
    }
    OUT.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 1 if any(row.is_met is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
