from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.difficulty.tiers import TIERS, Tag, Tier
from monitor.ledger.labels import (
    OTHER,
    SERIES_OF_CAPABILITY,
    SERIES_OF_FAILURE_CLASS,
    SERIES_OF_VERSION,
)
from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS, CounterKey, CounterName, TaggedTrace
from monitor.ledger.schema import label_value
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.sql import SqlLedger
from monitor.metrics.collect import families_of
from monitor.metrics.snapshot import Snapshot
from monitor.rollout.cohort import ArmName, TierGroup
from monitor.rollout.tracker import Role, Rollout
from monitor.rollout.verdict import ArmLabels, Interval, JudgeErrors
from monitor.trace.model import Budget, Usage
from tests.builders import NOON, a_batch, a_trace, an_outcome, failure, success, tagged
from tests.ledgers import counts
from tests.metrics.client_library import theirs
from tests.metrics.snapshots import a_comparison, a_policy, a_rate, a_record, a_verdict, a_version

MOST_SERIES = 15_000
VERSIONS_PAID_FOR = MOST_SERIES // SERIES_OF_VERSION
SETTINGS = LedgerSettings(
    max_services=30, max_model_versions=10, max_capabilities=5, max_failure_classes=5, max_series=MOST_SERIES
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    ledger = SqlLedger(url, SETTINGS)
    yield ledger
    ledger.close()


def versions(ledger: SqlLedger) -> set[tuple[str, str, str]]:
    return {(seen.service, seen.environment, seen.model_version) for seen in ledger.activity()}


def a_run(number: int, **labels: str) -> TaggedTrace:
    return tagged(a_trace(f"t{number}", **labels))


def test_names_beyond_all_series_count_as_other(ledger: SqlLedger) -> None:
    """The cap on all series together holds before the product of the single caps is reached."""
    runs = [
        a_run(100 * service + version, service=f"s{service}", model_version=f"m{version}")
        for service in range(30)
        for version in range(10)
    ]

    ledger.record(a_batch(*runs))

    admitted = {version for version in versions(ledger) if OTHER not in version}
    paid_for = (MOST_SERIES - SERIES_OF_VERSION) // (SERIES_OF_VERSION + SERIES_OF_CAPABILITY)
    assert paid_for - 4 <= len(admitted) <= paid_for  # the last service's room for its next versions stays empty
    assert 300 == sum(counts(ledger, CounterName.REQUESTS).values())
    dropped = counts(ledger, CounterName.SERIES_DROPPED)
    assert 300 - len(admitted) <= dropped["series"] <= 300


def test_a_name_is_admitted_for_ever(url: str, ledger: SqlLedger) -> None:
    """A restart under a lower cap goes on counting under the names that are there."""
    ledger.record(a_batch(*[a_run(number, capability=f"c{number}") for number in range(5)]))
    ledger.close()

    again = SqlLedger(url, LedgerSettings(max_capabilities=2))
    again.record(a_batch(*[a_run(10 + number, capability=f"c{number}") for number in range(7)]))

    requests = {key.capability: value for key, value in again.counters().items() if key.name is CounterName.REQUESTS}
    assert {**{f"c{number}": 2 for number in range(5)}, OTHER: 2} == requests
    again.close()


def test_caps_hold_for_all_replicas_together(url: str, ledger: SqlLedger) -> None:
    """Each replica learns what another one admitted before it admits a name itself."""
    second = SqlLedger(url, SETTINGS)
    for turn in range(10):
        for offset, replica in ((0, ledger), (1, second)):
            number = 2 * turn + offset
            replica.record(a_batch(a_run(number, model_version=f"m{number}", capability=f"c{number}")))

    assert {*(("shop", "production", f"m{number}") for number in range(10)), ("shop", "production", OTHER)} == versions(
        second
    )
    assert 6 == len({key.capability for key in ledger.counters() if key.name is CounterName.REQUESTS})
    second.close()


def test_an_requested_rollout_is_seen_by_who_records(ledger: SqlLedger) -> None:
    """Names that were announced take places that traffic then cannot take."""
    ledger.record(a_batch(a_run(0)))
    for number in range(4):
        announced = Rollout(f"r{number}", "shop", "production", f"b{number}", f"c{number}", started_at=NOON)
        assert ledger.announce_rollout(announced)
    ledger.record(a_batch(*[a_run(10 + number, model_version=f"m{number}") for number in range(5)]))

    assert {"model-1", "m0", OTHER} == {version for _, _, version in versions(ledger)}


def test_hostile_names_leave_few_rows(ledger: SqlLedger) -> None:
    """Rows of names and counters are bounded by the caps, not by what comes."""
    for start in range(0, 4_000, 500):
        ledger.record(
            a_batch(
                *[
                    tagged(
                        a_trace(
                            f"t{n}",
                            service=f"s{n % 40}",
                            model_version=f"m{n}",
                            capability=f"c{n}",
                            outcome=failure(f"f{n}"),
                        )
                    )
                    for n in range(start, start + 500)
                ]
            )
        )

    with ledger._engine.connect() as connection:
        names = connection.scalar(sa.select(sa.func.count()).select_from(label_value)) or 0
    assert len(versions(ledger)) <= VERSIONS_PAID_FOR + 11
    assert names < 500
    assert len(ledger.counters()) < SETTINGS.max_series
    assert 4_000 == sum(counts(ledger, CounterName.REQUESTS).values())


def test_a_version_makes_as_many_series_as_are_paid_for(ledger: SqlLedger) -> None:
    """The price of a name is what it makes at most: a version with all that can be said of it, and its rollout."""
    number = 0
    runs: list[object] = []
    for tier in Tier:
        for step in range(max(len(DURATION_BUCKETS_SECONDS), len(STEP_BUCKETS)) + 1):
            number += 1
            run = a_trace(
                f"t{number}",
                model_version="model-2",
                capability=OTHER,
                duration_seconds=(*DURATION_BUCKETS_SECONDS, 9_999.0)[step],
                steps=(*STEP_BUCKETS, 9_999, 9_999, 9_999, 9_999)[step],
                usage=Usage(1, 1, 0.5),
                tool_calls=1,
                budget=Budget(tool_calls=0 if step else 5),
                outcome=failure(OTHER) if step % 2 else success(),
            )
            runs += [
                tagged(run, Tag(tier, 0.0, 0.1, is_known=True, bin=1, calibration_id="c")),
                an_outcome(f"t{number}", (success if step % 2 else failure)(labelled_at=NOON + 1)),
            ]
    for length in (*(2**power for power in range(14)), None):
        lasted = None if length is None else float(length)
        limits = Budget(tool_calls=length, steps=length, seconds=lasted)
        for outcome in (success(), failure("budget_exceeded"), None):
            number += 1
            run = a_trace(
                f"t{number}",
                model_version="model-2",
                capability=OTHER,
                duration_seconds=lasted,
                steps=length,
                tool_calls=length,
                budget=limits,
                outcome=outcome,
            )
            runs.append(tagged(run, Tag(Tier.HARD, 0.0, 0.1, is_known=True, bin=1, calibration_id="c")))
    ledger.record(a_batch(*runs))  # type: ignore[arg-type]
    comparison = a_comparison(a_rate(), a_rate(), Interval(0.0, -0.1, 0.1))
    errors = JudgeErrors(Interval(0.0, -0.1, 0.1), Interval(0.0, -0.1, 0.1))
    verdict = a_verdict(
        tiers=dict.fromkeys(TIERS, comparison),
        hard_tier=comparison,
        capabilities={OTHER: comparison},
        coverage_gap=dict.fromkeys(TierGroup, 0.0),
        labels=dict.fromkeys(ArmName, ArmLabels(judge=dict.fromkeys(TierGroup, errors))),
    )
    snapshot = Snapshot(
        now=NOON,
        policy=a_policy(floors=()),
        counters={key: value for key, value in ledger.counters().items() if key.service},
        model_versions=[a_version("model-2", Role.CANDIDATE)],
        rollouts=[a_record(verdict)],
    )

    families = list(theirs(families_of(snapshot)))
    series = sum(len(family.samples) for family in families if "service" in (family.samples[0].labels or {}))

    alias = 1  # nobody asked for one here
    assert series + alias <= SERIES_OF_VERSION
    assert series >= SERIES_OF_VERSION - 10
    assert SERIES_OF_CAPABILITY + SERIES_OF_FAILURE_CLASS < SERIES_OF_VERSION
    assert CounterKey(CounterName.REQUESTS, "shop", "production", "model-2", "hard", OTHER) in snapshot.counters
