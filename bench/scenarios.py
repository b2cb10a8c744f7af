"""
The idea's own example as native events, replayed by the product: the verdicts on rollouts with a known truth.

600 items in tiers of 60, 30 and 10 % fail 2, 10 and 60 % of the time. Twelve reference versions answer each once, the
baseline serves alone, then both arms serve side by side. Run: python -m bench.scenarios [--seeds 20] [--only SCENARIO]
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bench.replayed_rollouts import replay, write_events
from monitor.log import LogLevel, LogSettings, configure

_PROCESSES = min(2, os.cpu_count() or 1)
_BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
_STEP = timedelta(seconds=20)
_REFERENCES = 12
_HEAVIER = 0.11  # part of the candidate's requests that scenario `mix` replaces by hard ones
_ITEMS = [(tier, number) for tier, count in (("e", 360), ("m", 180), ("h", 60)) for number in range(count)]
_HARD = [item for item in _ITEMS if item[0] == "h"]

Rates = Mapping[str, float]


def _moved(rate: float, logits: float) -> float:
    return 1 / (1 + math.exp(-(math.log(rate / (1 - rate)) + logits)))


BASELINE: Rates = {"e": 0.02, "m": 0.10, "h": 0.60}
CANDIDATES: Mapping[str, Rates] = {
    "seed": {"e": 0.01, "m": 0.04, "h": 0.55},
    "regression": {"e": 0.01, "m": 0.05, "h": 0.70},
    "gain": {tier: _moved(rate, -0.7) for tier, rate in BASELINE.items()},
    "null": BASELINE,
    "mix": BASELINE,
}
"""Failure rates of the candidate by tier; `mix` sends it more hard requests instead."""
EXPECTED = {"seed": "cliff", "regression": "regression"}
"""The right verdict by scenario; the other scenarios must raise no alarm."""
_ENOUGH = 0.85


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The last verdicts of a scenario's runs, and the number of runs that raised an alarm at any look."""

    scenario: str
    verdicts: Counter[str]
    alarms: int

    @property
    def is_met(self) -> bool:
        runs = self.verdicts.total()
        right = EXPECTED.get(self.scenario)
        return self.alarms == 0 if right is None else self.verdicts[right] >= _ENOUGH * runs

    @property
    def figure(self) -> str:
        """Numbers of last verdicts."""
        counts = ", ".join(f"{verdict} {count}" for verdict, count in self.verdicts.most_common())
        return f"{counts}; ever an alarm {self.alarms}"

    @property
    def goal(self) -> str:
        return f"{EXPECTED[self.scenario]} >= 85 %" if self.scenario in EXPECTED else "no alarm"

    def __str__(self) -> str:
        mark = "ok" if self.is_met else "MISSED"
        return f"replay of {self.scenario}, {self.verdicts.total()} seeds: {self.figure} ({self.goal}) {mark}"


def scenario_events(scenario: str, *, requests: int, seed: int) -> Iterator[dict[str, Any]]:
    """Events of one rollout; *requests* are those of the baseline alone, and of each arm afterwards."""
    rng = random.Random(seed)
    for number, (environment, version, item, rate) in enumerate(_served(scenario, requests, rng), 1):
        failed = rng.random() < rate
        tier, place = item
        at = (_BEGINS + number * _STEP).isoformat()
        yield {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"{scenario}-{seed}-{number}",
            "service": "agent",
            "environment": environment,
            "model_version": version,
            "capability": f"class_{tier}{place % 3}",
            "request_id": f"{tier}{place}",
            "started_at": at,
            "request": {"text": f"request {tier} number {place}"},
            "outcome": {"success": not failed, "source": "checker", "labelled_at": at},
        }


def _served(scenario: str, requests: int, rng: random.Random) -> Iterator[tuple[str, str, tuple[str, int], float]]:
    """Environment, version, item and failure rate of each request."""
    for number in range(_REFERENCES):
        ability = rng.uniform(-0.8, 1.2)
        for item in _ITEMS:
            yield "reference", f"ref-{number}", item, _moved(BASELINE[item[0]], ability)
    for _ in range(requests):
        item = rng.choice(_ITEMS)
        yield "production", "v1", item, BASELINE[item[0]]
    for _ in range(2 * requests):
        is_new = rng.random() < 0.5
        is_heavy = scenario == "mix" and is_new and rng.random() < _HEAVIER
        item = rng.choice(_HARD if is_heavy else _ITEMS)
        yield "production", "v2" if is_new else "v1", item, (CANDIDATES[scenario] if is_new else BASELINE)[item[0]]


def replayed(scenario: str, seed: int, *, requests: int = 8_000) -> tuple[str, bool]:
    """The last verdict of a replay, and whether any look raised an alarm."""
    with tempfile.TemporaryDirectory(prefix="cliffwatch-bench-") as folder:
        events = Path(folder) / "events.jsonl"
        write_events(events, scenario_events(scenario, requests=requests, seed=seed))
        (rollout,) = replay(events)["rollouts"]
    reached = {change["verdict"] for change in rollout["changes"]}
    return rollout["verdict"], bool(reached & {"cliff", "regression"})


def scenarios(*, seeds: int, only: str = "", processes: int = _PROCESSES) -> Iterator[ScenarioResult]:
    """Yields the result of every scenario whose name contains *only*."""
    with ProcessPoolExecutor(processes, initializer=_log_errors_only) as pool:
        for scenario in CANDIDATES:
            if only in scenario:
                runs = list(pool.map(partial(replayed, scenario), range(seeds)))
                yield ScenarioResult(scenario, Counter(verdict for verdict, _ in runs), sum(alarm for _, alarm in runs))


def _log_errors_only() -> None:
    configure(LogSettings(level=LogLevel.ERROR))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--processes", type=int, default=_PROCESSES)
    arguments = parser.parse_args()
    missed = 0
    for result in scenarios(seeds=arguments.seeds, only=arguments.only, processes=arguments.processes):
        print(result, flush=True)
        missed += not result.is_met
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
