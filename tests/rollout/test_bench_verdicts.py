"""The promises of docs/verdicts.md, on fewer runs than `make bench-verdicts`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from bench import outcomes
from bench.bench_verdicts import (
    MIX_SHIFT,
    NO_CHANGE,
    POLICY,
    THREE_TIMES_SLOWER,
    rivals,
    summarise,
    watch,
)
from bench.real_rollouts import Protocol, RealRollout, draw_rollouts, judge_pairs
from bench.replayed_rollouts import arm_events, history_events, replay, write_events
from bench.rollout_streams import Stream, Truth, simulate, simulate_late_labels
from bench.scenarios import EXPECTED, replayed
from bench.verdict_lines import Line, lines
from bench.verdict_table import Run, decide, may_alarm, run_once
from monitor.difficulty.calibration import Calibration
from monitor.ledger.ledger import RolloutRecord
from monitor.ledger.sql import SqlLedger
from monitor.output.rollouts import rollout_json
from monitor.rollout.cohort import Cohort
from monitor.rollout.judging import judge
from monitor.rollout.policy import Policy
from monitor.rollout.verdict import VerdictState
from tests.recount import asked, cohort_after_a_cutover

pytestmark = pytest.mark.slow

ALARMS = {VerdictState.CLIFF, VerdictState.REGRESSION}


def streams(truth: Truth, *, runs: int, looks: int, per_look: int = 100, seed: int) -> list[Stream]:
    return [
        simulate(truth, looks=looks, per_look=per_look, rng=np.random.default_rng((seed, run))) for run in range(runs)
    ]


def most_expected(runs: int) -> int:
    """Alarms in so many runs that the policy's error rate exceeds with a chance of 0.1 %."""
    return int(binom.ppf(0.999, runs, POLICY.error_rate))


def alarms_are_few(runs: Iterable[Stream], number: int) -> bool:
    """Whether no more of *number* runs alarm than is expected; runs that can no longer change that are not judged."""
    alarms = 0
    for left, stream in zip(reversed(range(number)), runs, strict=False):
        alarms += any(verdict.state in ALARMS for verdict in watch(stream))
        if alarms + left <= most_expected(number):
            return True
    return False


def test_same_model_twice_raises_no_alarm_where_usual_tests_do() -> None:
    """Looked at 60 times, no more than the error rate leaves ok and waiting; a peeked z-test does far more often."""
    null = streams(NO_CHANGE, runs=30, looks=60, per_look=150, seed=101)

    assert alarms_are_few(null, 30)
    assert sum(rivals(stream)["z_test"] for stream in null) > most_expected(30)


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.name)
def test_every_line_of_the_table(line: Line) -> None:
    """
    Its limit or goal holds on a few runs, as far as these can tell (a chance of 0.1 % that they cannot).

    A run that could no longer change the answer is not made.
    """
    runs = 4 if line.limit is not None else 6
    made: list[Run] = []
    while len(made) < runs and not holds(line, made, runs):
        made.append(run_once(line, (107, len(made))))

    assert holds(line, made, runs), made


def holds(line: Line, made: Sequence[Run], runs: int) -> bool:
    """Whether the limit or goal holds for all *runs*, even if each that is not *made* goes wrong."""
    left = runs - len(made)
    alarms, found, oks = (sum(getattr(run, result) is not None for run in made) for result in ("alarm", "found", "ok"))
    if line.limit is not None:
        return bool(alarms + left <= binom.ppf(0.999, runs, line.limit))
    is_ok_rare = line.never_ok is None or oks + left <= binom.ppf(0.999, runs, line.never_ok)
    return bool(is_ok_rare and found >= binom.ppf(0.001, runs, line.found))


def test_an_answer_that_runs_may_still_change_is_no_answer() -> None:
    """Four runs with two alarms allowed are decided by two without one, and by no run that alarms."""
    line = next(line for line in lines() if line.limit == 0.03)
    quiet, alarming = Run(None, None, None), Run(100, None, None)

    assert [False, False, True] == [holds(line, [quiet] * made, 4) for made in range(3)]
    assert not holds(line, [alarming, quiet], 4)
    assert holds(line, [alarming, alarming, quiet, quiet], 4)
    assert not holds(line, [alarming, alarming, alarming], 4)


@pytest.mark.parametrize(("scenario", "right"), EXPECTED.items())
def test_a_replay_of_the_example_says_what_is_right(scenario: str, right: str) -> None:
    """The idea's own example ends as a cliff, and as a regression where the hard tier got worse."""
    assert right == replayed(scenario, 1)[0]


def test_no_look_that_is_passed_over_would_alarm() -> None:
    """What the table skips where only alarms count says nothing of the kind."""
    line = next(line for line in lines() if line.limit is None and "tiers declared, canary 50" in line.name)
    skipped = [
        cohort
        for run in range(3)
        for cohort in line.play(np.random.default_rng((108, run))).cohorts
        if not may_alarm(cohort)
    ]

    assert skipped
    assert not [cohort for cohort in skipped if decide(cohort, None)[0].state in ALARMS]


def test_change_of_traffic_mix_is_no_alarm_and_named() -> None:
    """At least 90 % of the raw change is put down to the mix, and nothing else is said."""
    verdicts = [list(watch(stream)) for stream in streams(MIX_SHIFT, runs=10, looks=25, per_look=400, seed=103)]
    parts = [run[-1].decomposition for run in verdicts]
    told = [(p.traffic_mix, p.traffic_mix + p.easier_tiers + p.hard_tiers) for p in parts if p is not None]

    assert sum(any(v.state in ALARMS for v in run) for run in verdicts) <= most_expected(10)
    assert sum(mix for mix, _ in told) >= 0.9 * sum(raw for _, raw in told)


@pytest.mark.parametrize("is_cutover", [False, True], ids=["side by side", "after a cutover"])
def test_late_labels_of_failures_raise_no_alarm(is_cutover: bool) -> None:  # noqa: FBT001 - a column of the table
    """Failures that are labelled three times slower than successes are no reason for an alarm."""
    runs = (
        simulate_late_labels(
            NO_CHANGE,
            THREE_TIMES_SLOWER,
            looks=40,
            per_look=150,
            is_cutover=is_cutover,
            rng=np.random.default_rng((105, run)),
        )
        for run in range(10)
    )

    assert alarms_are_few(runs, 10)


@pytest.mark.skipif(not outcomes.DATA.exists(), reason="needs the shared outcomes beside the checkout")
def test_real_versions_are_judged_as_their_outcomes_say() -> None:
    """On pairs of real versions the sign of a large excess is right, and few calls are without cause."""
    data = outcomes.load("bfcl")
    pairs = [
        pair
        for seed in (7, 8, 9)
        for pair in judge_pairs(
            data, Protocol(known_share=0.6, starts=(2,), pairs=20, looks=3, per_look=2000, seed=seed)
        )
    ]

    rows = summarise(pairs, sign_target=0.75, name="60 % known")

    assert [] == [str(row) for row in rows if row.is_met is False]


@pytest.mark.skipif(not outcomes.DATA.exists(), reason="needs the shared outcomes beside the checkout")
def test_a_replay_says_what_the_statistics_say_of_the_same_cohort(tmp_path: Path) -> None:
    """Events of real versions through the product give, number for number, the verdict of `judge` on a recount."""
    data = outcomes.load("swebench_verified")
    (drawn,) = draw_rollouts(data, Protocol(known_share=0.6, starts=(10,), pairs=1, looks=10, per_look=120))
    history, arms, url = tmp_path / "history.jsonl", tmp_path / "arms.jsonl", f"sqlite:///{tmp_path / 'ledger.db'}"
    write_events(history, history_events(drawn.history))
    write_events(arms, arm_events(drawn))

    (said,) = replay(history, arms, ledger_url=url)["rollouts"]

    with contextlib.closing(SqlLedger(url)) as ledger:
        (record,) = ledger.rollouts()
        learnt = ledger.calibration(record.rollout.calibration_id)
    assert learnt is not None
    cohort = recounted(drawn, learnt)
    judged = judge(cohort, learnt, Policy(), previous=None)
    expected = rollout_json(RolloutRecord(record.rollout, judged))
    assert (drawn.baseline, drawn.candidate) == (said["baseline"], said["candidate"])
    assert expected["verdict"] == said["verdict"]
    assert expected["share"] is not None
    assert expected["design_effect"] == pytest.approx(said["design_effect"])
    for part in ("share", "decomposition", "aggregate", "hard_tier", "tiers"):
        counted, shown = numbers(expected[part]), numbers(said[part])
        narrowed = {name for name in counted if is_over_all_looks(part, name)}
        assert {name: counted[name] for name in counted.keys() - narrowed} == pytest.approx(
            {name: shown[name] for name in shown.keys() - narrowed}, rel=1e-9, abs=1e-12
        )
        assert all(counted[name] <= shown[name] + 1e-12 for name in narrowed if name.endswith("lower"))
        assert all(counted[name] >= shown[name] - 1e-12 for name in narrowed if name.endswith("upper"))


def is_over_all_looks(part: str, name: str) -> bool:
    """Whether a number is narrowed by earlier looks, which the recount of the last one does not take."""
    return name.startswith(".excess_") if part == "share" else part != "tiers" and name.startswith(".change")


def recounted(drawn: RealRollout, learnt: Calibration) -> Cohort:
    """Both arms as their events say."""
    known = drawn.history.outcomes
    features = {row["request_id"]: each for row, each in zip(known.requests, known.features, strict=True)}
    arms: dict[str, list[dict[str, Any]]] = {drawn.baseline: [], drawn.candidate: []}
    for event in arm_events(drawn):
        arms[event["model_version"]].append(event)
    tagged = {
        name: asked(events, lambda event: learnt.tag(features[event["request_id"]])) for name, events in arms.items()
    }
    return cohort_after_a_cutover(tagged, learnt.calibration_id)


def numbers(part: Any, path: str = "") -> dict[str, float]:
    """The numbers of a piece of JSON, each under its path."""
    if isinstance(part, dict):
        return {name: number for key in part for name, number in numbers(part[key], f"{path}.{key}").items()}
    return {} if part is None else {path: part}
