from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.ledger.sql import SqlLedger
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    tagged,
)
from tests.ledgers import (
    SHARED_LEDGER,
    STORIES,
)


def test_activity_tells_how_traffic_moved(ledger: SqlLedger) -> None:
    """Each version knows when how many of its requests started."""
    old = [tagged(a_trace(f"o{number}", started_at=NOON + number)) for number in range(10)]
    new = [tagged(a_trace(f"n{n}", model_version="model-2", started_at=NOON + 7 + n)) for n in range(4)]

    ledger.record(a_batch(*old, *new))

    first, second = ledger.activity()
    assert (
        first.model_version,
        first.first_started_at,
        first.last_started_at,
        first.requests,
    ) == ("model-1", NOON, NOON + 9, 10)
    assert [(NOON, NOON + 9, 10)] == list(first.traffic)
    assert (second.model_version, second.requests) == ("model-2", 4)


@settings(max_examples=20, deadline=None, suppress_health_check=SHARED_LEDGER)
@given(parts=st.lists(st.lists(st.integers(0, 5 * 3_600), max_size=6), max_size=4))
def test_traffic_is_that_of_the_requests_in_each_hour(ledger: SqlLedger, parts: Sequence[Sequence[int]]) -> None:
    """However late a request comes, each hour has its first start, its last and its number."""
    run = f"hours-{next(STORIES)}"
    starts: list[float] = []
    for number, part in enumerate(parts):
        started = [NOON + seconds for seconds in part]
        names = [f"{run}-{number}-{place}" for place in range(len(part))]
        traces = zip(names, started, strict=True)
        ledger.record(a_batch(*(tagged(a_trace(name, service=run, started_at=at)) for name, at in traces)))
        starts += started
        by_hour: dict[int, list[float]] = defaultdict(list)
        for start in starts:
            by_hour[int(start // 3_600)].append(start)

        mine = [spell for seen in ledger.activity() if seen.service == run for spell in seen.traffic]

        assert [(min(each), max(each), len(each)) for _, each in sorted(by_hour.items())] == mine


def test_the_first_and_the_last_start_are_the_earliest_and_the_latest(ledger: SqlLedger) -> None:
    """In whatever order requests come, within a batch and over several, and whatever tier and capability they have."""
    batches = [[5.0], [9.0, 2.0], [4.0], [1.5, 30.0, 3.0]]
    spans = []
    for number, starts in enumerate(batches):
        traces = [
            a_trace(f"t{number}-{place}", capability=f"c{place}", started_at=NOON + start)
            for place, start in enumerate(starts)
        ]
        ledger.record(a_batch(*map(tagged, traces)))
        (seen,) = ledger.activity()
        spans.append((seen.first_started_at - NOON, seen.last_started_at - NOON, seen.requests))

    assert [(5.0, 5.0, 1), (2.0, 9.0, 3), (2.0, 9.0, 4), (1.5, 30.0, 7)] == spans


@pytest.mark.parametrize(
    ("wait", "last_at", "late"),
    [
        pytest.param(0, 0, 0.0, id="its requests arrive at once"),
        pytest.param(7, 0, 7.0, id="they arrive seven hours late, or its clock is behind"),
        pytest.param(7, 9, 7.0, id="it was late once, and then stopped"),
        pytest.param(0, 9, 0.0, id="it stopped, and its silence is no lateness"),
        pytest.param(7, 90, 0.0, id="it is gone for good, and nobody asks"),
    ],
)
def test_a_version_is_late_by_what_its_requests_arrive_after_those_of_the_same_time(
    ledger: SqlLedger, wait: int, last_at: int, late: float
) -> None:
    """Hour by hour, another version serves until some hours after the last request of this one."""
    hour = 3_600.0
    for at in range(24 + wait + last_at):
        arrived = [tagged(a_trace(f"old-{at}", started_at=NOON + at * hour))]
        if 0 <= at - wait < 24:
            late_one = a_trace(f"new-{at}", model_version="model-2", started_at=NOON + (at - wait) * hour)
            arrived.append(tagged(late_one))
        ledger.record(a_batch(*arrived, received_at=NOON + at * hour))

    seen = {each.model_version: each.late_seconds / hour for each in ledger.activity()}

    assert {"model-1": 0.0, "model-2": late} == seen


@pytest.mark.parametrize(
    ("tampering", "versions"),
    [
        ("UPDATE request SET received_at = 'soon'", ["model-1", "model-2"]),
        ("UPDATE model_version SET last_started_at = 'soon' WHERE model_version = 'model-1'", ["model-2"]),
    ],
)
def test_a_row_that_cannot_be_read_hides_no_other_version(tmp_path: Path, tampering: str, versions: list[str]) -> None:
    """Whatever an accident stored, the versions whose rows can be read are known."""
    path = tmp_path / "ledger.db"
    with closing(SqlLedger(f"sqlite:///{path}")) as ledger:
        late = a_trace("t2", model_version="model-2", started_at=NOON)
        ledger.record(a_batch(tagged(a_trace("t1", started_at=NOON + 7 * 3_600.0)), tagged(late)))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(tampering)
            connection.commit()

        assert versions == sorted(seen.model_version for seen in ledger.activity())
