from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

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
