"""Small rollouts whose right end is known, through `replay`: which are found, how they end, what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

from monitor.cli.wiring import file_replay
from monitor.config.model import Config
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.ledger import RolloutRecord
from monitor.rollout.verdict import VerdictState

CASES = Path(__file__).parent / "cases"


@cache
def replayed(name: str) -> Sequence[RolloutRecord]:
    """The rollouts that a replay of the case finds, in the order of their starts."""
    config = Config()
    with file_replay(config, [str(CASES / f"{name}.jsonl.gz")], ledger_url=IN_MEMORY_URL) as replayed:
        replayed.read(progress=lambda _: None)
        replayed.finish(seconds=config.rollout.judged_after() + 1.0)
        return list(replayed.stages.ledger.rollouts())


def moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param("night", [("m1", "m2", "")], id="nobody serves at night; the baseline is first at dawn"),
        pytest.param("25-all-silent-8h", [("v1", "v2", "")], id="the whole service is silent for eight hours"),
        pytest.param(
            "23-hotfix-mid-canary", [("v1", "v2", "rolled_back"), ("v1", "v2.1", "")], id="a hotfix replaces the canary"
        ),
        pytest.param(
            "21-rollback-then-retry", [("v1", "v2", "rolled_back"), ("v1", "v2", "")], id="the same name is tried again"
        ),
        pytest.param(
            "20-blue-green-names-repeat",
            [("blue", "green", "superseded"), ("green", "blue", "")],
            id="a name comes back with another model under it",
        ),
    ],
)
def test_rollouts_of_a_case(case: str, expected: list[tuple[str, str, str]]) -> None:
    """Baseline, candidate and end of each rollout."""
    assert expected == [(r.rollout.baseline, r.rollout.candidate, r.rollout.end_reason) for r in replayed(case)]


def test_a_retry_begins_with_its_own_first_request() -> None:
    """The first attempt ended ten hours before."""
    first, retry = replayed("21-rollback-then-retry")

    assert first.rollout.ended_at is not None
    assert first.rollout.ended_at < retry.rollout.started_at
    assert moment("2026-09-02T12:00:00Z") <= retry.rollout.started_at < moment("2026-09-02T13:00:00Z")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "state", "scope"),
    [
        pytest.param(
            "all-doubles-norefs", VerdictState.REGRESSION, "all", id="all failures triple, without references"
        ),
        pytest.param("day1-K0", VerdictState.REGRESSION, "all", id="the same on the first day"),
        pytest.param("second-service", VerdictState.REGRESSION, "all", id="references of another service say nothing"),
        pytest.param("easy-collapse", VerdictState.REGRESSION, "all", id="only the easy tier collapses"),
        pytest.param(
            "20-blue-green-names-repeat", VerdictState.REGRESSION, "all", id="another model under an old name"
        ),
        pytest.param("reroll", VerdictState.WAITING, "", id="a repaired retry has only its own requests"),
        pytest.param(
            "28-retry-carries-old-failures", VerdictState.OK, "", id="a retry that is better than the baseline"
        ),
        pytest.param("21-rollback-then-retry", VerdictState.WAITING, "", id="a retry with few requests"),
    ],
)
def test_verdict_on_the_last_rollout_of_a_case(case: str, state: VerdictState, scope: str) -> None:
    """What is said of the attempt that is under way."""
    verdict = replayed(case)[-1].verdict

    assert verdict is not None
    assert state is verdict.state
    assert scope == next(iter(verdict.scope), "")
