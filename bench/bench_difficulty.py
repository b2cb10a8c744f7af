"""
Difficulty on real outcomes: how well a history of versions predicts the failures of later ones, and what it costs.

Prints a table and writes it to bench/out/difficulty.json. Run: python -m bench.bench_difficulty [--quick]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from river import linear_model, optim

from bench.difficulty_protocol import Figures, Oracle, Split, View, figures_of
from bench.difficulty_rivals import by_calibration, history_of
from bench.outcomes import Outcomes, load
from monitor.difficulty.correction import compare_shares, measure_arm
from monitor.difficulty.estimator import DifficultyClassifier
from monitor.difficulty.features import indicators

OUT = Path(__file__).resolve().parent / "out" / "difficulty.json"
SETS = ("bfcl", "swebench_verified")
SEEN = (0.0, 0.3, 0.6)
RIVAL_VERSIONS = 12
WIDTH = 190
COSTS = "cost"
_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Target:
    """What issue 5 asks of one figure: at least or at most so much, None where it asks for a report."""

    bfcl: float | None
    swebench_verified: float | None
    is_floor: bool = False
    is_absolute: bool = False

    def of(self, name: str) -> float | None:
        return self.bfcl if name == "bfcl" else self.swebench_verified

    def is_met(self, name: str, value: float) -> bool | None:
        limit = self.of(name)
        if limit is None or math.isnan(value):
            return None
        value = abs(value) if self.is_absolute else value
        return value >= limit if self.is_floor else value <= limit


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    data: str
    setting: str
    figure: str
    mean: float
    spread: float
    target: str
    is_met: bool | None


TARGETS: dict[tuple[int, float, str], Target] = {
    (12, 0.3, "product auc"): Target(0.71, 0.76, is_floor=True),
    (12, 0.6, "product auc"): Target(0.74, 0.81, is_floor=True),
    (12, 0.6, "product ece"): Target(0.075, 0.08),
    (12, 0.3, "excess sign"): Target(0.75, None, is_floor=True),
    (12, 0.6, "excess sign"): Target(0.85, None, is_floor=True),
    (12, 0.6, "cliff: bias of the hard rate's change"): Target(0.03, None, is_absolute=True),
    (12, 0.6, "null: bias of the hard rate's change"): Target(0.02, 0.02, is_absolute=True),
    (12, 0.6, "null: bias of the share's change"): Target(0.02, 0.02, is_absolute=True),
    (3, 0.3, "gate: untrusted on live traffic"): Target(0.90, None, is_floor=True),
}


def main() -> None:
    arguments = _arguments()
    console = Console(width=WIDTH)
    seeds, most_starts = (1, 2) if arguments.quick else (4, 6)
    rows: list[Row] = []
    for name in SETS:
        outcomes = load(name)
        console.print(
            f"{name}: {len(outcomes.versions)} versions x {len(outcomes.features)} requests; "
            f"left out: {', '.join(outcomes.left_out) or 'none'}"
        )
        draws = range(arguments.first_seed, arguments.first_seed + seeds)
        rows += _measure(outcomes, seeds=draws, most_starts=most_starts, console=console)
    rows += _costs(load("bfcl"), repeats=1 if arguments.quick else 5)
    _print(rows, console)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two starts and one seed, for a look")
    parser.add_argument("--first-seed", type=int, default=0, help="settings were chosen on seeds 0 to 3")
    return parser.parse_args()


def _measure(outcomes: Outcomes, *, seeds: range, most_starts: int, console: Console) -> list[Row]:
    oracle = Oracle.of(outcomes)
    runs = [
        (versions, seen, start, seed)
        for versions, seens in ((12, SEEN), (6, (0.6,)), (3, (0.3,)))
        for seen in seens
        for start in _starts(outcomes, versions, most_starts)
        for seed in seeds
    ]
    figures: dict[tuple[int, float], list[Figures]] = defaultdict(list)
    for versions, seen, start, seed in track(runs, description=outcomes.name, console=console):
        split = Split.of(outcomes, versions=versions, seen=seen, start=start, seed=seed)
        figures[versions, seen].append(figures_of(outcomes, oracle, split, with_rivals=versions == RIVAL_VERSIONS))
    return [row for setting, repetitions in figures.items() for row in _rows(outcomes.name, *setting, repetitions)]


def _starts(outcomes: Outcomes, versions: int, most: int) -> list[int]:
    last = len(outcomes.versions) // 2 - versions
    return sorted({round(start) for start in np.linspace(0, last, min(most, last + 1))})


def _rows(name: str, versions: int, seen: float, repetitions: Sequence[Figures]) -> list[Row]:
    rows = []
    for figure in repetitions[0]:
        values = np.array([each[figure] for each in repetitions])
        values = values[~np.isnan(values)]
        mean, spread = (float(values.mean()), float(values.std())) if len(values) else (math.nan, math.nan)
        target = TARGETS.get((versions, seen, figure))
        wanted = None if target is None else target.of(name)
        sign = "" if target is None else ">=" if target.is_floor else "abs <=" if target.is_absolute else "<="
        rows.append(
            Row(
                name,
                f"K={versions}, {seen:.0%} seen",
                figure,
                mean,
                spread,
                "" if target is None else "report" if wanted is None else f"{sign} {wanted}",
                None if target is None else target.is_met(name, mean),
            )
        )
    return rows


def _costs(outcomes: Outcomes, *, repeats: int) -> list[Row]:
    """Microseconds on this core; the best of *repeats*, since other work only ever adds to them."""
    split = Split.of(outcomes, versions=12, seen=0.6, start=0, seed=0)
    history = history_of(outcomes, split.history, split.pool)
    predicted = by_calibration(outcomes, history)
    calibration = predicted.calibration
    if calibration is None:
        raise ValueError("a history has labels")
    requests = [
        indicators(label.features, label.features.item, {})
        | {
            f"version={label.model_version}": 1.0,
            f"version|capability={label.model_version}|{label.features.capability}": 1.0,
        }
        for label in history
    ]
    labels = [label.failed for label in history]
    view = View.of(predicted, split)
    failed = outcomes.failed[:, split.live]
    old, new = view.bins(failed[split.later[0]]), view.bins(failed[split.later[-1]])

    def verdict(_: int) -> None:
        baseline, candidate = measure_arm(old, view.cuts), measure_arm(new, view.cuts)
        if baseline is not None and candidate is not None:
            compare_shares(baseline, candidate)

    def learn_with(model: DifficultyClassifier | linear_model.LogisticRegression) -> Callable[[int], None]:
        return lambda index: model.learn_one(requests[index], labels[index])

    def score_with(model: DifficultyClassifier | linear_model.LogisticRegression) -> Callable[[int], None]:
        return lambda index: model.predict_proba_one(requests[index])  # type: ignore[return-value]

    ours, theirs = DifficultyClassifier(), linear_model.LogisticRegression(optimizer=optim.AdaGrad(0.3))
    indices = range(len(requests))
    timed = {
        "learn": (_best_time(learn_with(ours), indices, repeats), "<= 30"),
        "score": (_best_time(score_with(ours), indices, repeats), "<= 10"),
        "tag": (_best_time(lambda index: calibration.tag(history[index].features), indices, repeats), ""),
        "learn, river's LogisticRegression(AdaGrad)": (_best_time(learn_with(theirs), indices, repeats), ""),
        "score, river's LogisticRegression(AdaGrad)": (_best_time(score_with(theirs), indices, repeats), ""),
        "measure and compare two arms": (_best_time(verdict, range(200), repeats), "<= 1000"),
    }
    return [
        Row(COSTS, "us", figure, value, 0.0, target, value <= float(target[3:]) if target else None)
        for figure, (value, target) in timed.items()
    ]


def _best_time(call: Callable[[int], object], indices: range, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        for index in indices:
            call(index)
        times.append((time.perf_counter() - started) / len(indices) * _MICROSECONDS)
    return min(times)


def _print(rows: Sequence[Row], console: Console) -> None:
    for name in dict.fromkeys(row.data for row in rows):
        chosen = [row for row in rows if row.data == name]
        settings = list(dict.fromkeys(row.setting for row in chosen))
        cells = {(row.figure, row.setting): _cell(row) for row in chosen}
        table = Table("figure", *settings, title=name, title_justify="left")
        for figure in dict.fromkeys(row.figure for row in chosen):
            table.add_row(figure, *(cells.get((figure, setting), "") for setting in settings))
        console.print(table)


def _cell(row: Row) -> str:
    if math.isnan(row.mean):
        return "-"
    figure = f"{row.mean:.1f}" if row.data == COSTS else f"{row.mean:.3f} ± {row.spread:.3f}"
    mark = {None: "", True: f"  met ({row.target})", False: f"  MISSED ({row.target})"}[row.is_met]
    return figure + mark


if __name__ == "__main__":
    main()
