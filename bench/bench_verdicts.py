"""
Verdicts on rollouts whose truth is known: false alarms, power, and versions of real models.

Prints a table and writes it to bench/out/verdicts.json. Run: python -m bench.bench_verdicts [--quick]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.outcomes import load
from bench.real_rollouts import Pair, Protocol, judge_pairs
from bench.rival_tests import fixed_threshold, kayenta, peeked_z_test
from bench.rollout_streams import (
    CLASSIC_CANDIDATE_RATE,
    FAILURE_RATE,
    KnownTiers,
    Labelling,
    Stream,
    Truth,
    simulate,
    simulate_late_labels,
    uniform_gain,
)
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import Verdict, VerdictState, judge

OUT = Path(__file__).resolve().parent / "out" / "verdicts.json"

POLICY = Policy()
CALIBRATION = KnownTiers()
ALARMS = (VerdictState.CLIFF, VerdictState.REGRESSION)
NO_CHANGE = Truth(candidate_rate=FAILURE_RATE)
CLASSIC = Truth(candidate_rate=CLASSIC_CANDIDATE_RATE)
MIX_SHIFT = Truth(candidate_rate=FAILURE_RATE, candidate_mix=np.array([0.45, 0.30, 0.25, 0.0]))
REGRESSION = Truth(candidate_rate=np.array([0.02, 0.10, 0.70, 0.999]))
UNIFORM_GAIN = Truth(candidate_rate=uniform_gain(FAILURE_RATE, logits=0.7))
THREE_TIMES_SLOWER = Labelling(success_delay=2.0, failure_delay=6.0, maturity=6)


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
        verdict = judge(cohort, CALIBRATION, POLICY, service="agent", environment="production", previous=verdict)
        yield verdict


def null_runs(*, runs: int, looks: int, per_look: int) -> list[Row]:
    """Criterion 1: the same model twice, and what others would have said of it."""
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


@dataclass(frozen=True, slots=True)
class FirstTimes:
    """Labelled candidate requests at which something was first said, one per run; None where it never was."""

    requests: Sequence[int | None]

    @property
    def reached(self) -> float:
        return sum(first is not None for first in self.requests) / len(self.requests)

    @property
    def median(self) -> float:
        return float(np.median([np.inf if first is None else first for first in self.requests]))


def first_times(
    truth: Truth, said: Callable[[Verdict], bool], *, runs: int, looks: int, per_look: int, seed: int
) -> FirstTimes:
    """When *said* first holds in each of *runs* rollouts."""
    firsts = []
    for run in range(runs):
        stream = simulate(truth, looks=looks, per_look=per_look, rng=np.random.default_rng((seed, run)))
        verdicts = (verdict for verdict in watch(stream) if said(verdict))
        first = next(verdicts, None)
        firsts.append(None if first is None else first.aggregate.candidate.requests)
    return FirstTimes(firsts)


def is_jump_established(verdict: Verdict) -> bool:
    """The share rose by the policy's jump, with a lower bound above 0."""
    share = verdict.share
    if share is None or verdict.state is VerdictState.WAITING:
        return False
    return share.change.estimate >= POLICY.share_jump and share.change.lower > 0


def classic_runs(*, runs: int) -> list[Row]:
    """Criterion 2: easier tiers gain, the hard one hardly."""
    rows = []
    for label, candidate_share, per_look, most_jump, most_cliff in (
        ("50/50", 0.5, 100, 2500, 4500),
        ("10 % canary", 0.1, 50, 2000, 3500),
    ):
        truth = replace(CLASSIC, candidate_share=candidate_share)
        for name, said, most in (
            ("share jump established", is_jump_established, most_jump),
            ("cliff", lambda verdict: verdict.state is VerdictState.CLIFF, most_cliff),
        ):
            firsts = first_times(truth, said, runs=runs, looks=20_000 // per_look, per_look=per_look, seed=2)
            rows.append(
                Row(
                    f"2 classic case, {label}, {runs} runs: {name}",
                    f"{firsts.reached:.1%}, median {firsts.median:.0f}",
                    f">= 95 %, median <= {most}",
                    firsts.reached >= 0.95 and firsts.median <= most,
                )
            )
    return rows


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


def regression_runs(*, runs: int, looks: int) -> list[Row]:
    """Criterion 4: a worse hard tier, and failures that are labelled late."""
    firsts = first_times(
        REGRESSION, lambda verdict: verdict.state is VerdictState.REGRESSION, runs=runs, looks=200, per_look=100, seed=4
    )
    rows = [
        Row(
            f"4 hard tier 40 % -> 30 % pass, {runs} runs: regression",
            f"{firsts.reached:.1%}, median {firsts.median:.0f}",
            ">= 95 %",
            firsts.reached >= 0.95,
        )
    ]
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


def uniform_gain_runs(*, runs: int, looks: int) -> list[Row]:
    """Criterion 5: every request's log-odds of failing fall by 0.7."""
    cliffs = explained = 0
    for run in range(runs):
        verdicts = list(watch(simulate(UNIFORM_GAIN, looks=looks, per_look=100, rng=np.random.default_rng((6, run)))))
        is_cliff = any(verdict.state is VerdictState.CLIFF for verdict in verdicts)
        cliffs += is_cliff
        last = verdicts[-1]
        is_said = any("as a uniform gain implies" in reason for reason in last.reasons)
        explained += not is_cliff and last.state is VerdictState.OK and is_said
    rest = runs - cliffs
    return [
        _alarm_row(f"5 ordinary gain of 0.7 logits, {runs} runs x {looks} looks: ever a cliff", cliffs / runs),
        Row(
            "5 ordinary gain: ok, 'as a uniform gain implies', in the rest",
            f"{explained} of {rest}",
            f"{rest} of {rest}",
            explained == rest,
        ),
    ]


def _alarm_row(criterion: str, rate: float) -> Row:
    return Row(criterion, f"{rate:.1%}", f"<= {POLICY.error_rate:.0%}", rate <= POLICY.error_rate)


def real_pairs(*, pairs: int, looks: int, per_look: int, seed: int) -> list[Pair]:
    """Criterion 6: pairs of real versions, 30 % and 60 % of the requests known."""
    sets = ((load("bfcl"), (0, 2, 4, 6)), (load("swebench_verified"), (0, 10, 20)))
    return [
        pair
        for (outcomes, starts), known_share in product(sets, (0.3, 0.6))
        for pair in judge_pairs(
            outcomes,
            Protocol(known_share=known_share, starts=starts, pairs=pairs, looks=looks, per_look=per_look, seed=seed),
        )
    ]


def constructed_cliffs(*, pairs: int, looks: int, per_look: int) -> list[Row]:
    """Criterion 6: real baselines whose easier failures are mended and whose hard ones are not."""
    rows = []
    outcomes = load("bfcl")
    for known_share in (0.3, 0.6):
        protocol = Protocol(
            known_share=known_share, starts=(0, 2, 4, 6), pairs=pairs, looks=looks, per_look=per_look, mended=0.7
        )
        cliffs = [pair for pair in judge_pairs(outcomes, protocol) if pair.truth.excess >= 0.10]
        called = [pair.reached[VerdictState.CLIFF] for pair in cliffs if VerdictState.CLIFF in pair.reached]
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


def summarise(pairs: Sequence[Pair], *, sign_target: float | None, name: str) -> list[Row]:
    """Error of the change, sign of the excess, cliffs called and calls without cause."""
    told = [(pair, pair.verdict.share) for pair in pairs if pair.verdict.share is not None]
    errors = [abs(share.change.estimate - pair.truth.change) for pair, share in told]
    signs = [share.excess.estimate * pair.truth.excess > 0 for pair, share in told if abs(pair.truth.excess) >= 0.05]
    cliffs = [pair for pair in pairs if pair.truth.excess >= 0.10 and pair.truth.aggregate_change <= 0]
    others = [pair for pair in pairs if pair.truth.excess < 0.02]
    steady = [pair for pair in pairs if pair.truth.hard_rate_change <= 0]
    called = sum(VerdictState.CLIFF in pair.reached for pair in cliffs)
    false = sum(VerdictState.CLIFF in pair.reached for pair in others)
    false_regressions = sum(VerdictState.REGRESSION in pair.reached for pair in steady)
    sign = sum(signs) / len(signs) if signs else float("nan")
    return [
        Row(f"6 {name}, {len(pairs)} pairs: error of the change of share", f"{np.mean(errors):.3f}", "", None),
        Row(
            f"6 {name}: sign of the excess where it is at least 0.05",
            f"{sign:.2f} of {len(signs)}",
            "" if sign_target is None else f">= {sign_target}",
            None if sign_target is None or not signs else sign >= sign_target,
        ),
        Row(
            f"6 {name}: true cliffs (excess >= 0.10, aggregate not worse) called",
            f"{called} of {len(cliffs)}",
            "",
            None,
        ),
        Row(
            f"6 {name}: cliffs called where the true excess is below 0.02",
            f"{false} of {len(others)} ({false / max(len(others), 1):.1%})",
            "<= 10 %",
            false <= 0.1 * len(others),
        ),
        Row(
            f"6 {name}: regressions called where the hard tier got no worse",
            f"{false_regressions} of {len(steady)} ({false_regressions / max(len(steady), 1):.1%})",
            "<= 10 %",
            false_regressions <= 0.1 * len(steady),
        ),
    ]


def pair_lines(pairs: Sequence[Pair]) -> Iterator[str]:
    """The table of pairs, true values beside measured ones."""
    yield f"{'baseline -> candidate':<72} known  change        expected      excess        verdict    requests"
    for pair in pairs:
        share, state = pair.verdict.share, pair.verdict.state
        measured = (
            ("-", "-", "-")
            if share is None
            else tuple(
                f"{value:+.3f}" for value in (share.change.estimate, share.expected_change, share.excess.estimate)
            )
        )
        true = (pair.truth.change, pair.truth.expected, pair.truth.excess)
        columns = " ".join(f"{told:>6}/{value:+.3f}" for told, value in zip(measured, true, strict=True))
        name = f"{pair.baseline[:34]} -> {pair.candidate[:34]}"
        yield f"{name:<72} {pair.known_share:>4.0%}  {columns}  {state:<10} {pair.reached[state]:>7}"


def run(*, is_quick: bool) -> tuple[list[Row], list[Pair]]:
    """Every criterion, and the pairs of the first repetition; quick: fewer runs."""
    part = 0.1 if is_quick else 1.0
    runs = round(200 * part)
    criteria: tuple[Callable[[], list[Row]], ...] = (
        partial(null_runs, runs=round(400 * part), looks=200, per_look=50),
        partial(classic_runs, runs=runs),
        partial(mix_runs, runs=runs, looks=100),
        partial(regression_runs, runs=runs, looks=100),
        partial(uniform_gain_runs, runs=runs, looks=100),
        partial(constructed_cliffs, pairs=2 if is_quick else 6, looks=30, per_look=200),
    )
    rows = [_shown(row) for criterion in criteria for row in criterion()]
    repetitions = [
        real_pairs(pairs=4 if is_quick else 12, looks=30, per_look=200, seed=seed)
        for seed in ((7,) if is_quick else (7, 8, 9))
    ]
    pairs = [pair for repetition in repetitions for pair in repetition]
    for name, known_share, sign_target in (("30 % known", 0.3, 0.75), ("60 % known", 0.6, 0.85)):
        chosen = [pair for pair in pairs if pair.known_share == known_share]
        rows += [_shown(row) for row in summarise(chosen, sign_target=sign_target, name=name)]
    return rows, repetitions[0]


def _shown(row: Row) -> Row:
    print(row, flush=True)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    arguments = parser.parse_args()
    started = time.perf_counter()
    rows, pairs = run(is_quick=arguments.quick)
    print()
    for line in pair_lines(pairs):
        print(line)
    seconds = time.perf_counter() - started
    print(f"\n{seconds:.0f} seconds")
    OUT.parent.mkdir(exist_ok=True)
    content = {
        "seconds": round(seconds),
        "rows": [asdict(row) for row in rows],
        "pairs": list(pair_lines(pairs)),
    }
    OUT.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return 1 if any(row.is_met is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
