from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from monitor.ledger.counting import CounterDeltas
from monitor.ledger.ledger import (
    CounterKey,
    CounterName,
)
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import Budget, Usage
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    an_outcome,
    failure,
    success,
    tagged,
)
from tests.ledger.naive_counts import naive_counts
from tests.ledgers import (
    HARD,
    SHARED_LEDGER,
    STORIES,
    an_event,
    counts,
    problems,
)


def test_counters_carry_the_labels_of_the_request(ledger: SqlLedger) -> None:
    """A request counts under its service, environment, version, tier and capability."""
    ledger.record(a_batch(tagged(a_trace(outcome=failure("timeout")), HARD)))

    key = CounterKey(CounterName.REQUESTS, "shop", "production", "model-1", "hard", "search")
    assert 1 == ledger.counters()[key]
    assert 1 == ledger.counters()[dataclasses.replace(key, name=CounterName.OUTCOMES, detail="failure")]
    by_class = dataclasses.replace(key, name=CounterName.FAILURES_BY_CLASS, capability="", detail="timeout")
    assert 1 == ledger.counters()[by_class]


def test_work_is_summed_in_whole_units(ledger: SqlLedger) -> None:
    """Durations, tokens, cost and tool calls add up in seconds and microseconds, tokens, nanodollars and calls."""
    usage = Usage(input_tokens=100, output_tokens=20, cost_usd=0.0041)
    for trace_id in ("a", "b"):
        trace = a_trace(trace_id, duration_seconds=2.5, usage=usage, tool_calls=3, budget=Budget(tool_calls=2))
        ledger.record(a_batch(tagged(trace)))

    assert {"whole": 4, "": 1_000_000} == counts(ledger, CounterName.DURATION_MICROSECONDS)
    assert {"2.5": 2} == counts(ledger, CounterName.DURATION_BUCKET)
    assert {"input": 200, "output": 40} == counts(ledger, CounterName.TOKENS)
    assert {"": 8_200_000} == counts(ledger, CounterName.COST_NANODOLLARS)
    assert {"": 6} == counts(ledger, CounterName.TOOL_CALLS)
    assert {"": 2} == counts(ledger, CounterName.BUDGET_EXCEEDED)


def test_steps_are_counted_in_buckets(ledger: SqlLedger) -> None:
    """How many model calls requests took is a histogram by tier; a request that does not say is not in it."""
    traces = [a_trace(f"t{steps}", steps=steps) for steps in (1, 4, 5, 2_000)]
    ledger.record(a_batch(*(tagged(trace, HARD) for trace in traces), tagged(a_trace("t"), HARD)))

    assert {"1.0": 1, "5.0": 2, "+Inf": 1} == counts(ledger, CounterName.STEPS_BUCKET)
    assert {"": 2_010} == counts(ledger, CounterName.STEPS)
    assert {"hard"} == {key.tier for key in ledger.counters() if key.name is CounterName.STEPS}


def test_a_failure_is_named_beside_the_counter_that_it_moved(ledger: SqlLedger) -> None:
    """With its trace or after it: a reader of the counter wants one of the traces behind it."""
    came = ledger.record(a_batch(tagged(a_trace("t1", outcome=failure())), tagged(a_trace("t2"))))
    later = ledger.record(a_batch(an_outcome("t2", failure()), tagged(a_trace("t3", outcome=success()))))

    (counter,) = [key for key in ledger.counters() if key.name is CounterName.OUTCOMES and key.detail == "failure"]
    assert [{counter: "t1"}, {counter: "t2"}] == [came.failed_traces, later.failed_traces]


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=SHARED_LEDGER)
@given(data=st.data())
def test_counts_are_those_of_a_naive_ledger(ledger: SqlLedger, data: st.DataObject) -> None:
    """However a story is cut into batches, every counter is what counting it event by event gives."""
    run = f"story-{next(STORIES)}"  # the ledger is shared by the examples of one run
    events = data.draw(st.lists(an_event(run), max_size=25))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=3)))

    for start, end in pairwise([0, *cuts, len(events)]):
        ledger.record(a_batch(*events[start:end]))

    mine = {key: value for key, value in ledger.counters().items() if key.service == run}
    assert naive_counts(events) == mine
    assert [] == problems(ledger)


def test_a_request_counts_once_among_those_of_its_length(ledger: SqlLedger) -> None:
    """Unlabelled until somebody says how it ended, then under the outcome that stands now, whatever it was before."""
    run = tagged(a_trace("t1", steps=33, tool_calls=0, duration_seconds=64.0, budget=Budget(steps=50)))
    ledger.record(a_batch(run))
    assert {"steps 32 unlabelled": 1, "tool_calls 0 unlabelled": 1, "seconds 32 unlabelled": 1} == lengths(ledger)

    for outcome, word in ((success(), "success"), (failure(labelled_at=NOON + 1), "failure")):
        ledger.record(a_batch(an_outcome("t1", outcome), run))

        assert {f"steps 32 {word}": 1, f"tool_calls 0 {word}": 1, f"seconds 32 {word}": 1} == lengths(ledger)
    assert {"steps 32": 1} == counts(ledger, CounterName.HORIZON_BUDGETS)
    assert [] == problems(ledger)


def lengths(ledger: SqlLedger) -> dict[str, int]:
    return dict(counts(ledger, CounterName.HORIZON))


SHOP = ("shop", "production", "model-1")


def test_a_version_has_the_activity_of_all_its_deltas() -> None:
    """Starts and labels of every tier and capability; the starts by their hour, too."""
    deltas = CounterDeltas()
    for tier, capability, starts in (("hard", "pay", [7_300.0, 7_250.0]), ("easy", "search", [3_700.0, 9_000.0])):
        delta = deltas.of(SHOP, tier, capability)
        delta.traces += [tagged(a_trace(f"{tier}{start}", started_at=start)) for start in starts]
        delta.successes, delta.failures = 2, 1

    seen = deltas.activity()[SHOP]

    assert ([7_300.0, 7_250.0, 3_700.0, 9_000.0], 6) == (seen.starts, seen.labelled)
    assert [(1, [3_700.0]), (2, [7_250.0, 7_300.0, 9_000.0])] == list(seen.hours())


def test_labels_alone_are_activity_and_duplicates_alone_are_not() -> None:
    """A batch of late labels moves a version's labels and no start; one of redelivered traces moves nothing of it."""
    late, again = CounterDeltas(), CounterDeltas()
    late.of(SHOP, "hard", "pay").failures = 1
    again.of(SHOP, "hard", "pay").duplicates = 3

    seen = late.activity()[SHOP]

    assert ([], 1, []) == (seen.starts, seen.labelled, list(seen.hours()))
    assert ({}, 3) == (again.activity(), again.duplicates())


def test_only_what_moved_is_written() -> None:
    """Of the forty counters of a version, tier and capability a row is written for each that is not zero."""
    deltas = CounterDeltas()
    deltas.of(SHOP, "hard", "pay").duplicates = 1
    deltas.count(CounterName.IGNORED, detail="span_invalid", by=0)
    deltas.count(CounterName.RECORDS, detail="t/0", by=2)
    deltas.count(CounterName.RECORDS, detail="t/0")

    duplicate = (CounterName.DUPLICATES, *SHOP, "", "", "")
    assert {duplicate: 1, (CounterName.RECORDS, "", "", "", "", "", "t/0"): 3} == dict(deltas.counts())


def test_a_duration_on_a_bound_is_within_it() -> None:
    """As Prometheus counts: a bucket holds what is less than or equal to its bound."""
    deltas = CounterDeltas()
    durations = [3_600.5, 0.100001, 3_600.0, 0.1]
    deltas.of(SHOP, "hard", "pay").traces += [
        tagged(a_trace(f"t{seconds}", started_at=0.0, duration_seconds=seconds)) for seconds in durations
    ]

    counted = {key[-1]: value for key, value in deltas.counts().items() if key[0] == CounterName.DURATION_BUCKET}

    assert {"0.1": 1, "0.25": 1, "3600.0": 1, "+Inf": 1} == counted


def test_a_microsecond_and_a_nanodollar_are_rounded_not_cut() -> None:
    """Each request by itself, so that sums do not depend on which requests share a batch."""
    deltas = CounterDeltas()
    usage = Usage(cost_usd=1.0000000007)
    deltas.of(SHOP, "hard", "pay").traces += [
        tagged(a_trace(f"t{number}", started_at=0.0, duration_seconds=2.0000017, usage=usage)) for number in range(2)
    ]

    counted = {(key[0], key[-1]): value for key, value in deltas.counts().items()}

    assert 4 == counted[CounterName.DURATION_MICROSECONDS, "whole"]
    assert 4 == counted[CounterName.DURATION_MICROSECONDS, ""]
    assert (2, 2) == (counted[CounterName.COST_NANODOLLARS, "whole"], counted[CounterName.COST_NANODOLLARS, ""])


def test_a_request_counts_for_what_it_was_and_no_more() -> None:
    """Of two requests one asked for an alias and one went over its budget; neither says what it used."""
    deltas = CounterDeltas()
    delta = deltas.of(SHOP, "hard", "pay")
    alias = tagged(structs.replace(a_trace("t1"), floating_alias=True))
    delta.traces += [alias, structs.replace(tagged(a_trace("t2")), is_over_budget=True)]
    delta.successes, delta.revisions = 2, {"failure>success": 1}

    tiered, for_tier = (*SHOP, "hard", "pay"), (*SHOP, "hard", "")
    assert {
        (CounterName.REQUESTS, *tiered, ""): 2,
        (CounterName.OUTCOMES, *tiered, "success"): 2,
        (CounterName.OUTCOME_REVISIONS, *tiered, "failure>success"): 1,
        (CounterName.BUDGET_EXCEEDED, *for_tier, ""): 1,
        (CounterName.ALIAS_REQUESTS, *SHOP, "", "", ""): 1,
    } == dict(deltas.counts())
    assert {} == deltas.failed_traces()


@pytest.mark.parametrize("stored", ["5 6", "", b"\xff", "a b c d"])
def test_a_damaged_length_stops_no_label(ledger: SqlLedger, stored: object) -> None:
    """A label of a request whose length cannot be read counts all the same."""
    ledger.record(a_batch(tagged(a_trace())))
    with ledger._engine.begin() as connection:
        connection.execute(sa.text("UPDATE request SET horizon = :stored"), {"stored": stored})

    ledger.record(a_batch(an_outcome()))

    assert 1 == sum(counts(ledger, CounterName.OUTCOMES).values())
