from __future__ import annotations

import pytest
from msgspec.structs import replace

from monitor.difficulty.tiers import Tier
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cohort import ArmName
from monitor.rollout.label_plan import ServedRequest
from monitor.rollout.tracker import EvidenceWindow, Rollout
from tests.builders import NOON, a_batch, a_trace, an_outcome, failure, success, tagged

DAY = 86_400.0
ROLLOUT = Rollout("r", "shop", "production", "old", "new", NOON)
WINDOW = EvidenceWindow(NOON, NOON - 14 * DAY)


def served(ledger: SqlLedger, *, seed: int = 1, most: int = 20_000) -> list[ServedRequest]:
    with ledger.arms(ROLLOUT, matured_before=NOON + DAY) as arms:
        return list(arms.served(WINDOW, seed=seed, most=most))


def record(ledger: SqlLedger, version: str, number: int, *, since: float = NOON) -> None:
    traces = (a_trace(f"{version}-{n}", model_version=version, started_at=since + n) for n in range(number))
    ledger.record(a_batch(*map(tagged, traces)))


def test_requests_of_both_arms_come_with_what_was_said_of_them(ledger: SqlLedger) -> None:
    """Labelled or not, and since the rollout began."""
    record(ledger, "old", 1, since=NOON - 1)
    record(ledger, "new", 2)
    ledger.record(a_batch(tagged(a_trace("old-1", model_version="old")), an_outcome("new-0", failure())))
    ledger.record(a_batch(an_outcome("new-0", success(source="human"))))

    found = {(each.trace_id, each.arm, each.said, each.success, each.sampling_probability) for each in served(ledger)}

    assert {
        ("old-1", ArmName.BASELINE, "", None, 1.0),
        ("new-0", ArmName.CANDIDATE, "--fp", True, 1.0),
        ("new-1", ArmName.CANDIDATE, "", None, 1.0),
    } == found


def test_after_a_cutover_the_baseline_before_it_stands_in(ledger: SqlLedger) -> None:
    """As far back as it counts as evidence."""
    record(ledger, "old", 3, since=NOON - DAY)
    record(ledger, "new", 2)

    assert 5 == len(served(ledger))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_many_requests_every_third_is_read(ledger: SqlLedger, seed: int) -> None:
    """Each seed reads others, all of them together everything, and each stands for three."""
    record(ledger, "old", 9)

    found = served(ledger, seed=seed, most=4)

    assert {f"old-{(2 - seed) % 3 + 3 * n}" for n in range(3)} == {each.trace_id for each in found}
    assert {1 / 3} == {each.sampling_probability for each in found}


def test_a_declared_tier_comes_before_the_learnt_one(ledger: SqlLedger) -> None:
    """As in a verdict."""
    record(ledger, "old", 1)
    declared = replace(tagged(a_trace("new-0", model_version="new")), declared_tier=Tier.HARD)
    ledger.record(a_batch(declared))

    assert ["untiered", "hard"] == [each.tier for each in served(ledger)]
