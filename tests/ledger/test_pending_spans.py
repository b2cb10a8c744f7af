from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.ledger.ledger import (
    CounterName,
)
from monitor.ledger.schema import pending_span, span_pack
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import TraceId
from monitor.trace.span import OperationKind, Span
from tests.builders import (
    NOON,
    a_batch,
    an_outcome,
    failure,
)
from tests.ledgers import (
    ASSEMBLY,
    assembled,
    close_due,
    close_trace,
    counts,
    net_outcomes,
    problems,
)
from tests.trace.spans import a_call, a_span, a_tool_call


def _column(ledger: SqlLedger, column: sa.Column[Any]) -> list[Any]:
    with ledger._engine.connect() as connection:
        return list(connection.scalars(sa.select(column)))


def test_spans_wait_until_their_trace_is_complete(ledger: SqlLedger) -> None:
    """Spans of several batches make one request when the root has ended and the quiet period has passed."""
    ledger.record(a_batch(a_call("a"), a_tool_call("b")))
    ledger.record(a_batch(a_span(), received_at=NOON + 10))

    assert (0, 3) == (close_due(ledger, now=NOON + 39), ledger.pending_spans())
    assert 1 == close_due(ledger, now=NOON + 40)

    assert {"": 1} == counts(ledger, CounterName.REQUESTS)
    assert {"received": 3, "joined": 3} == counts(ledger, CounterName.SPANS)
    assert 0 == ledger.pending_spans() == close_due(ledger, now=NOON + 4_000)


@pytest.mark.parametrize(
    ("span", "waits_seconds"),
    [
        pytest.param(a_call("a"), 300, id="without its root, a trace waits until it is idle"),
        pytest.param(a_span(ended_at=None), 300, id="a root that still runs closes nothing"),
        pytest.param(a_span(), 30, id="after its root has ended, a trace waits for the quiet period"),
    ],
)
def test_how_long_a_trace_waits(ledger: SqlLedger, span: Span, waits_seconds: float) -> None:
    """A trace is due when it has waited, and not a moment before."""
    ledger.record(a_batch(span))

    assert [] == ledger.due_spans(ASSEMBLY, now=NOON + waits_seconds - 0.5, max_spans=9)
    assert [[span]] == [due.spans for due in ledger.due_spans(ASSEMBLY, now=NOON + waits_seconds + 0.5, max_spans=9)]


def test_no_trace_waits_longer_than_its_age_allows(ledger: SqlLedger) -> None:
    """Spans that keep coming keep a trace open, up to the age limit or a number of spans."""
    for number in range(36):
        ledger.record(a_batch(a_call(f"s{number}"), received_at=NOON + number * 100))

    assert [] == ledger.due_spans(ASSEMBLY, now=NOON + 3_590, max_spans=9)
    assert 1 == len(ledger.due_spans(ASSEMBLY, now=NOON + 3_610, max_spans=9))
    few = ASSEMBLY.model_copy(update={"max_spans_per_trace": 36})
    assert 36 == len(ledger.due_spans(few, now=NOON + 3_510, max_spans=9)[0].spans)


def test_due_traces_come_in_portions_and_whole(ledger: SqlLedger) -> None:
    """What is read together is bounded in spans, and a trace that has more comes alone."""
    for number in range(3):
        spans = [a_call(f"s{n}", trace_id=TraceId(f"t{number}")) for n in range(4)]
        ledger.record(a_batch(*spans, received_at=NOON + number))

    def portion(max_spans: int) -> list[str]:
        return [due.trace_id for due in ledger.due_spans(ASSEMBLY, now=NOON + 400, max_spans=max_spans)]

    assert [["t0"], ["t0"], ["t0", "t1"], ["t0", "t1", "t2"]] == [portion(n) for n in (1, 7, 8, 99)]
    assert ["t1", "t2"] == [each.trace_id for each in ledger.spans_of([TraceId("t2"), TraceId("t1"), TraceId("x")])]


def test_a_span_that_comes_again_counts_once(ledger: SqlLedger) -> None:
    """In the same batch, in another one, or with another account of itself; the better account is kept."""
    running, ended, better = a_span(ended_at=None), a_span(), a_span(agent_name="says more")
    ledger.record(a_batch(ended, running, ended))
    ledger.record(a_batch(better, a_call("a"), running))
    ledger.record(a_batch(ended))

    (waiting,) = ledger.spans_of([TraceId("t")])

    assert [a_call("a"), better] == list(waiting.spans)
    assert {"received": 7, "duplicate": 5} == counts(ledger, CounterName.SPANS)
    assert 2 == ledger.pending_spans()


def test_spans_of_a_trace_and_a_batch_are_one_row(ledger: SqlLedger) -> None:
    """What came before is not written again, and a span that is there already makes no row."""
    ledger.record(a_batch(a_call("b"), a_call("a")))
    ledger.record(a_batch(a_span(), a_call("a")))
    ledger.record(a_batch(a_call("b")))

    assert ["b a", a_span().span_id] == sorted(_column(ledger, pending_span.c.span_ids))
    assert [1, 1] == _column(ledger, span_pack.c.traces)
    assert {"received": 5, "duplicate": 2} == counts(ledger, CounterName.SPANS)
    assert 3 == ledger.pending_spans()


def test_a_better_account_of_a_span_takes_the_place_of_the_other(ledger: SqlLedger) -> None:
    """However often a span is written anew, its trace has one row of the spans that came before."""
    ledger.record(a_batch(a_span(), a_call("a", ended_at=NOON + 1)))
    for seconds in range(2, 9):
        ledger.record(a_batch(a_call("a", ended_at=NOON + seconds), a_call(f"n{seconds}")))

    (waiting,) = ledger.spans_of([TraceId("t")])

    assert NOON + 8 == next(span.ended_at for span in waiting.spans if span.span_id == "a")
    assert (9, 9) == (len(waiting.spans), ledger.pending_spans())
    assert ([1], []) == (_column(ledger, span_pack.c.traces), problems(ledger))


def test_a_pack_goes_with_the_last_trace_in_it(ledger: SqlLedger) -> None:
    """Traces that came together are let go one by one, each when it was counted and no span came of it for a while."""
    names = [f"t{number:02}" for number in range(20)]
    spans = {name: [a_span(trace_id=TraceId(name)), a_call("a", trace_id=TraceId(name))] for name in names}
    ledger.record(a_batch(*[span for of_trace in spans.values() for span in of_trace]))
    packs = []
    for some in (names[:5], names[5:19], names[19:]):
        counted = [assembled(name, spans[name]) for name in some]
        ledger.record(dataclasses.replace(a_batch(), assembled=counted, forget_before=NOON + 300))
        packs.append(sorted(_column(ledger, span_pack.c.traces)))

        left = [pending.spans for pending in ledger.spans_of([*map(TraceId, names)])]
        assert [sorted(spans[name], key=lambda span: span.span_id) for name in names[20 - len(left) :]] == left

    assert [15] == [sum(packs[0])]
    assert ([1], []) == (packs[1], packs[2])


def test_spans_that_cannot_be_read_still_count(ledger: SqlLedger) -> None:
    """A damaged pack stops no assembly: its spans are blank, and the trace is counted by its other spans."""
    ledger.record(a_batch(a_call("b"), a_call("c")))
    with ledger._engine.begin() as connection:
        connection.execute(sa.update(span_pack).values(body=b"no frame"))
    ledger.record(a_batch(a_call("d")))
    with ledger._engine.begin() as connection:
        connection.execute(sa.delete(span_pack).where(span_pack.c.body != b"no frame"))
    ledger.record(a_batch(a_span(), a_call("a")))

    assert 1 == close_due(ledger)

    assert {"received": 5, "joined": 5} == counts(ledger, CounterName.SPANS)
    assert ({"": 1}, 0) == (counts(ledger, CounterName.REQUESTS), ledger.pending_spans())


@pytest.mark.parametrize(
    "damage", ["UPDATE span_pack SET traces = 'some'", "UPDATE pending_span SET pack = x'00'"], ids=["count", "id"]
)
def test_a_damaged_pack_stops_no_trace(tmp_path: Path, damage: str) -> None:
    """The trace is counted, its spans are let go, and those that come later have a pack of their own."""
    with closing(SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        ledger.record(a_batch(a_span(), a_call("a")))
        with ledger._engine.begin() as connection:
            connection.exec_driver_sql(damage)
        ledger.record(a_batch(a_call("a", ended_at=NOON + 9), a_span(trace_id=TraceId("u"))))

        assert 2 == close_due(ledger)
        ledger.record(dataclasses.replace(a_batch(), assembled=[assembled("x", [])], forget_before=NOON + 9_000))

        assert {"received": 4, "joined": 3, "duplicate": 1} == counts(ledger, CounterName.SPANS)
        assert [] == _column(ledger, pending_span.c.trace_id)


def test_a_trace_that_has_grown_goes_on_waiting(ledger: SqlLedger) -> None:
    """A span that comes while a trace is put together is not lost: the trace is closed with it later."""
    ledger.record(a_batch(a_span(), a_call("a")))
    (looked_at,) = ledger.due_spans(ASSEMBLY, now=NOON + 60, max_spans=9)
    ledger.record(a_batch(a_call("b"), received_at=NOON + 60))

    assert 0 == close_trace(ledger, "t", looked_at.spans).closed
    assert ({}, 3) == (counts(ledger, CounterName.REQUESTS), ledger.pending_spans())

    assert 1 == close_due(ledger, now=NOON + 90)
    assert {"received": 3, "joined": 3} == counts(ledger, CounterName.SPANS)


def test_a_trace_that_another_replica_has_closed_is_left_to_it(ledger: SqlLedger) -> None:
    """Two replicas that put the same trace together count it once."""
    ledger.record(a_batch(a_span(), a_call("a")))
    (looked_at,) = ledger.due_spans(ASSEMBLY, now=NOON + 60, max_spans=9)

    closed = [close_trace(ledger, "t", looked_at.spans).closed for _ in range(2)]

    assert [1, 0] == closed
    assert {"": 1} == counts(ledger, CounterName.REQUESTS)
    assert {"received": 2, "joined": 2} == counts(ledger, CounterName.SPANS)
    assert {} == counts(ledger, CounterName.DUPLICATES)


def test_late_spans_revise_the_outcome_and_nothing_else(ledger: SqlLedger) -> None:
    """What comes after its trace was counted is counted as late; an error in it fails the run, once."""
    ledger.record(a_batch(a_span(), a_call("a")))
    close_due(ledger)
    before = ledger.counters()

    ledger.record(a_batch(a_call("b", error=True), a_call("a"), received_at=NOON + 60))
    ledger.record(a_batch(a_call("b", error=True), received_at=NOON + 60))
    assert (1, 0) == (close_due(ledger, now=NOON + 120), close_due(ledger, now=NOON + 240))

    moved = {key.name for key, value in ledger.counters().items() if value != before.get(key)}
    assert {
        CounterName.SPANS,
        CounterName.RECORDS,
        CounterName.OUTCOME_REVISIONS,
        CounterName.FAILURES_BY_CLASS,
        CounterName.HORIZON,
    } == moved
    assert ({"success>failure": 1}, (0, 1)) == (counts(ledger, CounterName.OUTCOME_REVISIONS), net_outcomes(ledger))
    assert {"received": 5, "joined": 2, "late": 1, "duplicate": 2} == counts(ledger, CounterName.SPANS)
    assert 0 == ledger.pending_spans()


def test_spans_of_a_counted_trace_are_let_go_after_a_while(ledger: SqlLedger) -> None:
    """From then on what comes is late at once, and revises nothing."""
    ledger.record(a_batch(a_span(), a_call("a")))
    close_due(ledger)
    other = [a_span(trace_id=TraceId("u")), a_call("a", trace_id=TraceId("u"))]
    ledger.record(a_batch(*other, received_at=NOON + 900))
    ledger.record(dataclasses.replace(a_batch(), assembled=[assembled("u", other)], forget_before=NOON + 300))

    ledger.record(a_batch(a_call("b", error=True), received_at=NOON + 1_000))

    assert [] == ledger.spans_of([TraceId("t")])
    assert {"received": 5, "joined": 4, "late": 1} == counts(ledger, CounterName.SPANS)
    assert (2, 0) == net_outcomes(ledger)


def test_spans_of_no_agent_are_let_go(ledger: SqlLedger) -> None:
    """A trace in which no model is named is closed without a request, and its spans are counted."""
    ledger.record(a_batch(a_span(kind=OperationKind.OTHER), an_outcome("t", failure())))

    assert 1 == close_due(ledger)

    assert {"received": 1, "non_agent": 1} == counts(ledger, CounterName.SPANS)
    assert ({}, 0) == (counts(ledger, CounterName.REQUESTS), ledger.pending_spans())


def test_who_holds_most_gives_way_first(ledger: SqlLedger) -> None:
    """While pending spans are over their budget, the oldest traces of the noisy service are to be put together."""
    few = ASSEMBLY.model_copy(update={"max_pending_spans": 100})
    for number in range(5):
        spans = [a_call("a", trace_id=TraceId(f"noisy-{number}-{n}"), service="noisy") for n in range(40)]
        ledger.record(a_batch(*spans, received_at=NOON + number))
    ledger.record(a_batch(*[a_call("a", trace_id=TraceId(f"quiet-{n}"), service="quiet") for n in range(9)]))

    crowding = ledger.crowding_spans(few, max_spans=1_000)
    some = ledger.crowding_spans(few, max_spans=10)

    assert (109, 10) == (len(crowding), len(some))  # 209 are pending
    assert {"noisy"} == {span.service for pending in crowding for span in pending.spans}
    assert {0.0, 1.0, 2.0} == {pending.last_received_at - NOON for pending in crowding}
    assert [] == list(ledger.crowding_spans(ASSEMBLY, max_spans=1_000))
