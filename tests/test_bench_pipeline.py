"""The benches of the hot path: what they calculate, and that they still run."""

from __future__ import annotations

import json

import pytest

from bench import bench_growth
from bench.bench_growth import Mark, growth_table, memory_line, powers_of_ten, scrape_line
from bench.bench_pipeline import Row, stage_table, table
from bench.growth import growth_exponent, times_n_log_n
from bench.native_events import EVENTS
from bench.stopwatch import Stopwatch
from monitor.trace.model import Trace
from tests.trace.events import decode_native


@pytest.mark.parametrize(("power", "costs"), [(0.0, [5, 5, 5]), (1.0, [1, 10, 100]), (2.0, [1, 100, 10_000])])
def test_exponent_is_the_power_of_the_size(power: float, costs: list[float]) -> None:
    """A cost that is a power of the size has that power."""
    assert pytest.approx(power) == growth_exponent([10, 100, 1_000], costs)


def test_n_log_n_is_the_measure_of_growth() -> None:
    """What grows as n log n grows once as much, what grows as its square root less, as its square more."""
    assert pytest.approx(1.0) == times_n_log_n([100, 10_000], [1.0, 200.0])
    assert times_n_log_n([100, 10_000], [1.0, 10.0]) < 1.0 < times_n_log_n([100, 10_000], [1.0, 10_000.0])


def a_row(loop: str, microseconds: float, **stages: float) -> Row:
    return Row(loop, 1_000, microseconds / 1e3, 1.0, 100.0, stages)


def test_share_is_of_the_poll_with_a_parse() -> None:
    """A loop that costs twice as much as poll and parse has half of its speed, which is held against the target."""
    rows = [
        a_row("(a) bare poll", 8.0),
        a_row("(b) poll and JSON parse", 10.0),
        a_row("(c) pipeline, SQLite", 20.0, poll=9.0),
        a_row("(d) pipeline, PostgreSQL", 50.0, poll=9.0),
    ]

    _, bare, parse, sqlite, postgres = table(rows)

    assert "125%" in bare
    assert "100%" in parse
    assert ("50%" in sqlite, "40% reached" in sqlite) == (True, True)
    assert ("20%" in postgres, "30% missed" in postgres) == (True, True)
    assert stage_table(rows)[1].split()[-1] == "11.0"


def test_stage_within_a_stage_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a review writes to the ledger is the ledger's, and is not counted twice."""
    clock = iter([10.0, 11.0, 41.0, 43.0])  # the review begins, the ledger begins and ends, the review ends
    monkeypatch.setattr("bench.stopwatch.time.process_time", clock.__next__)
    watch = Stopwatch()
    inner = watch.timed("ledger", lambda: None)
    outer = watch.timed("review", inner)

    outer()

    assert {"ledger": 30.0, "review": 3.0} == watch.lap()
    assert {} == watch.lap()


@pytest.mark.parametrize("kind", EVENTS)
def test_made_up_events_are_events(kind: str) -> None:
    """Each is read whole, under a trace id of its own."""
    traces = [decode_native(value) for value in EVENTS[kind](200, services=3)]

    assert {Trace} == {type(trace) for trace in traces}
    assert 200 == len({trace.trace_id for trace in traces})
    assert 0 == sum(trace.unknown_fields for trace in traces if isinstance(trace, Trace))


def a_mark(rows: int, memory_mib: float = 100.0, scrape_seconds: float = 0.1) -> Mark:
    costs = dict.fromkeys(("decode", "features and tag", "ledger"), 5.0) | {"snapshot": rows / 10, "review": 7.0}
    return Mark(rows, 1, 1e4, costs, scrape_seconds, 20_000, memory_mib)


def test_growth_of_stages_is_that_of_the_whole_way() -> None:
    """A constant cost per record is linear over all records, and a look that reads every row is linear as well."""
    table = {line[:20].strip(): line.split()[-2:] for line in growth_table([a_mark(10**4), a_mark(10**6)])[1:]}

    assert ["1.00", "0.67"] == table["ledger"]
    assert ["1.00", "0.67"] == table["snapshot"]
    assert ["0.00", "0.01"] == table["review"]


def test_targets_are_held_against_what_was_measured() -> None:
    """Memory may grow by less than a twentieth, a scrape of 20,000 series may take less than 200 ms."""
    assert memory_line([a_mark(10**6), a_mark(10**7, 104.0)]).endswith("+4.0%; target below 5%: reached")
    assert memory_line([a_mark(10**6), a_mark(10**7, 106.0)]).endswith("missed")
    assert scrape_line(a_mark(10**4)).endswith("reached")
    assert scrape_line(a_mark(10**4, scrape_seconds=0.3)).endswith("missed")


@pytest.mark.slow
def test_service_is_measured_while_its_ledger_grows(tmp_path: object) -> None:
    """Every stage of the real service is seen, and every record is counted once."""
    (mark,) = bench_growth.grow(f"sqlite:///{tmp_path}/ledger.db", [8_000], services=3)

    assert 8_000 == mark.rows
    assert all(mark.microseconds[stage] > 0 for stage in ("decode", "features and tag", "ledger", "snapshot", "review"))
    assert mark.series > 100
    assert [10_000, 100_000] == powers_of_ten(100_000)
    json.dumps(mark.microseconds)
