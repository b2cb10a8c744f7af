"""
The table of docs/statistics.md: how often each line raises an alarm, and how soon.

Run: python -m bench.verdict_table [--runs 400] [--only WORDS]
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import logit

from bench.verdict_lines import Line, lines
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, Tier
from monitor.rollout.cohort import Cohort, Stratum
from monitor.rollout.measurement import Measurement
from monitor.rollout.policy import Policy
from monitor.rollout.state import Findings, find
from monitor.rollout.verdict import VerdictState

POLICY = Policy()
ALARMS = (VerdictState.CLIFF, VerdictState.REGRESSION)
_WORTH_A_LOOK = 2.0  # standard errors
_PROCESSES = min(2, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Run:
    """Labelled candidate requests at the first alarm, right result and `ok` of one rollout; None if there was none."""

    alarm: int | None
    found: int | None
    ok: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """One line, run many times."""

    line: Line
    runs: Sequence[Run]

    @property
    def alarms(self) -> float:
        return sum(run.alarm is not None for run in self.runs) / len(self.runs)

    @property
    def found(self) -> float:
        return sum(run.found is not None for run in self.runs) / len(self.runs)

    @property
    def oks(self) -> float:
        return sum(run.ok is not None for run in self.runs) / len(self.runs)

    @property
    def median(self) -> float:
        return float(np.median([np.inf if run.found is None else run.found for run in self.runs]))

    @property
    def is_met(self) -> bool:
        line = self.line
        if line.limit is not None:
            return self.alarms <= line.limit
        is_ok_rare = line.never_ok is None or self.oks <= line.never_ok
        return self.found >= line.found and self.median <= line.median and is_ok_rare

    @property
    def figure(self) -> str:
        """The measured rate and time."""
        if self.line.limit is not None:
            return f"{self.alarms:.1%} alarm"
        ever_ok = "" if self.line.never_ok is None else f", ok {self.oks:.1%}"
        return f"{self.found:.1%}, median {self.median:.0f}{ever_ok}"

    @property
    def goal(self) -> str:
        """The target."""
        line = self.line
        if line.limit is not None:
            return f"<= {line.limit:.0%}"
        in_time = f", <= {line.median:.0f}" if line.median < np.inf else ""
        ever_ok = "" if line.never_ok is None else f", ok <= {line.never_ok:.0%}"
        return f">= {line.found:.0%}{in_time}{ever_ok}"

    def __str__(self) -> str:
        mark = "ok" if self.is_met else "MISSED"
        return f"{self.line.name:<66} {self.figure:<34} {self.goal:<22} {self.line.today:<18} {mark}"


def decide(cohort: Cohort, calibration: Calibration | None) -> tuple[Findings, Measurement]:
    """The findings that `judge` decides by, without a verdict."""
    measurement = Measurement(cohort, calibration, POLICY)
    return find(measurement, (), POLICY), measurement


def may_alarm(cohort: Cohort) -> bool:
    """
    Whether *cohort* may raise an alarm, to skip the cost of judging it if only alarms count.

    Every bound is at least 2.8 standard errors away, so a plain test below 2 standard errors rules out an alarm. With
    hours or difficulties, the statistic differs, and every look is judged.
    """
    arms = (cohort.baseline, cohort.candidate)
    if any(stratum.block or stratum.logit_sum for arm in arms for stratum in arm.strata):
        return True
    counts = np.array(
        [[_summed(arm.strata, tiers) for tiers in (EASIER_TIERS, HARD_TIER, tuple(Tier))] for arm in arms]
    ).transpose(2, 1, 0)
    requests, failures = counts + np.array([[[1.0]], [[0.5]]])  # avoids rates of 0
    rate = failures.sum(axis=1) / requests.sum(axis=1)
    rise = np.diff(failures / requests)[:, 0] / np.sqrt(rate * (1 - rate) * (1 / requests).sum(axis=1))
    odds = np.diff(logit(failures / requests))[:, 0]
    spread = (1 / failures + 1 / (requests - failures)).sum(axis=1)
    behind = (odds[1] - odds[0]) / np.sqrt(spread[0] + spread[1])
    return bool(max(*rise, behind) > _WORTH_A_LOOK)


def _summed(strata: Sequence[Stratum], tiers: Sequence[Tier]) -> tuple[int, int]:
    chosen = [stratum for stratum in strata if stratum.tier in tiers]
    return sum(each.labelled for each in chosen), sum(each.failures for each in chosen)


def run_once(line: Line, seed: Sequence[int]) -> Run:
    """Simulates one rollout of *line* until its result is known."""
    scene = line.play(np.random.default_rng(seed))
    alarm = found = ok = None
    for cohort in scene.cohorts:
        if line.limit is not None and not may_alarm(cohort):
            continue
        (findings, measurement), labelled = decide(cohort, scene.calibration), cohort.candidate.labelled
        state = findings.state
        is_alarm = is_found(line, findings, measurement) if "moved" in line.states else state in ALARMS
        alarm = labelled if alarm is None and is_alarm else alarm
        ok = labelled if ok is None and state is VerdictState.OK else ok
        if found is None and is_found(line, findings, measurement):
            found = labelled
        if (alarm if line.limit is not None else found) is not None:
            break
    return Run(alarm, found, ok)


def is_found(line: Line, findings: Findings, measurement: Measurement) -> bool:
    """Whether the right result was found."""
    if "gap" in line.states and findings.obstacles:
        return True
    if "moved" in line.states:
        return bool(measurement.labels.moved or measurement.labels.drift)
    if "named" in line.states:
        return line.named in measurement.regressed_capabilities
    return findings.state in line.states


def results(
    runs: int, *, only: str = "", processes: int = _PROCESSES, of: Callable[[], Sequence[Line]] = lines
) -> Iterator[Result]:
    """Yields the result of every line whose name contains *only*."""
    with ProcessPoolExecutor(processes) as pool:
        names = [line.name for line in of()]
        for number, line in enumerate(of()):
            if only in line.name:
                seeds = [(names.index(line.draws or line.name), run) for run in range(runs)]
                yield Result(line, list(pool.map(partial(_run, of, number), seeds, chunksize=10)))


def _run(of: Callable[[], Sequence[Line]], number: int, seed: tuple[int, int]) -> Run:
    return run_once(of()[number], seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    missed = 0
    for result in results(arguments.runs, only=arguments.only):
        print(result, flush=True)
        missed += not result.is_met
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
