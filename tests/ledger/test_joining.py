from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from monitor.ledger.ledger import (
    CounterKey,
    CounterName,
    TaggedTrace,
)
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import Budget, OutcomeEvent, TraceId
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    an_outcome,
    failure,
    success,
    tagged,
)
from tests.ledgers import (
    HARD,
    SHARED_LEDGER,
    close_due,
    counts,
    net_outcomes,
    problems,
    spans_left_over,
)
from tests.trace.spans import a_call, a_span


def test_a_trace_that_comes_twice_counts_once(ledger: SqlLedger) -> None:
    """A redelivered trace moves the counter of duplicates and nothing else."""
    ledger.record(a_batch(tagged(a_trace())))

    recorded = ledger.record(a_batch(tagged(a_trace()), tagged(a_trace())))

    assert (0, 2) == (recorded.counted, recorded.duplicates)
    assert {"": 1} == counts(ledger, CounterName.REQUESTS)
    assert {"": 2} == counts(ledger, CounterName.DUPLICATES)


def test_an_outcome_may_come_before_its_trace(ledger: SqlLedger) -> None:
    """An outcome waits for its trace and is counted when it comes."""
    ledger.record(a_batch(an_outcome("t1", failure())))
    assert {} == counts(ledger, CounterName.OUTCOMES)

    ledger.record(a_batch(tagged(a_trace("t1"))))

    assert {"failure": 1} == counts(ledger, CounterName.OUTCOMES)


def test_verdicts_that_come_with_a_trace_are_one_label(ledger: SqlLedger) -> None:
    """A run that ended well but over its budget failed, and never counted as a success."""
    trace = a_trace(outcome=success(source="status"), tool_calls=3, budget=Budget(tool_calls=2))

    ledger.record(a_batch(tagged(trace)))

    assert {"failure": 1} == counts(ledger, CounterName.OUTCOMES)
    assert {"budget_exceeded": 1} == counts(ledger, CounterName.FAILURES_BY_CLASS)
    assert {} == counts(ledger, CounterName.OUTCOME_REVISIONS)


def test_a_later_label_revises_an_earlier_one(ledger: SqlLedger) -> None:
    """A revision keeps the first label counted and says from what to what it moved."""
    ledger.record(a_batch(tagged(a_trace(outcome=success()))))

    ledger.record(a_batch(an_outcome("t1", failure(labelled_at=NOON + 60))))

    assert {"success": 1} == counts(ledger, CounterName.OUTCOMES)
    assert {"success>failure": 1} == counts(ledger, CounterName.OUTCOME_REVISIONS)
    assert (0, 1) == net_outcomes(ledger)


def test_a_better_source_is_not_overruled(ledger: SqlLedger) -> None:
    """What a human said stands, whatever a judge says later."""
    ledger.record(a_batch(tagged(a_trace(outcome=success(source="human")))))

    ledger.record(a_batch(an_outcome("t1", failure(labelled_at=NOON + 60, source="judge"))))

    assert (1, 0) == net_outcomes(ledger)


@settings(max_examples=25, deadline=None, suppress_health_check=SHARED_LEDGER)
@given(data=st.data())
def test_order_and_redelivery_change_nothing(ledger: SqlLedger, data: st.DataObject) -> None:
    """Any order, duplication and batching of the same events gives the same requests and the same net outcomes."""
    run = data.draw(st.uuids()).hex  # the ledger is shared by the examples of one run
    ids = [f"{run}-{number}" for number in range(4)]
    traces: list[TaggedTrace | OutcomeEvent] = [
        tagged(a_trace(trace_id, service=run, outcome=outcome))
        for trace_id, outcome in zip(ids, (None, success(), failure(), None), strict=True)
    ]
    verdicts: list[TaggedTrace | OutcomeEvent] = [
        an_outcome(ids[0], failure(labelled_at=NOON + 5)),
        an_outcome(ids[1], failure(labelled_at=NOON + 5)),
        an_outcome(ids[2], success(labelled_at=NOON - 5)),
        an_outcome(ids[1], success(source="human", labelled_at=NOON - 50)),
    ]
    events = data.draw(st.permutations(traces + verdicts + traces[:2] + verdicts[:2]))
    cut = data.draw(st.integers(0, len(events)))

    for part in (events[:cut], events[cut:]):
        ledger.record(a_batch(*part))

    mine = {key: value for key, value in ledger.counters().items() if key.service == run}
    requests = sum(value for key, value in mine.items() if key.name is CounterName.REQUESTS)
    outcomes = {"success": 0, "failure": 0}
    for key, value in mine.items():
        if key.name is CounterName.OUTCOMES:
            outcomes[key.detail] += value
        if key.name is CounterName.OUTCOME_REVISIONS:
            before, after = key.detail.split(">")
            outcomes[before] -= value
            outcomes[after] += value
    assert 4 == requests
    assert {"success": 1, "failure": 2} == outcomes


def test_a_trace_told_as_a_whole_and_by_its_spans_counts_once(ledger: SqlLedger) -> None:
    """Whichever comes first is the request; the other is a duplicate, or late."""
    whole, spans = tagged(a_trace("t")), [a_span(), a_call("a")]
    native_first = [tagged(a_trace("u")), *(structs.replace(span, trace_id=TraceId("u")) for span in spans)]
    ledger.record(a_batch(*spans, *native_first))
    close_due(ledger)
    ledger.record(a_batch(whole, native_first[-1]))

    assert {"": 2} == counts(ledger, CounterName.REQUESTS)
    assert {"": 1} == counts(ledger, CounterName.DUPLICATES)
    assert {"received": 5, "joined": 2, "late": 2, "duplicate": 1} == counts(ledger, CounterName.SPANS)
    assert 0 == spans_left_over(ledger)


def test_verdicts_wait_for_a_trace_made_of_spans(ledger: SqlLedger) -> None:
    """A verdict before, between and after the spans of its trace is joined, and the best source stands."""
    ledger.record(a_batch(an_outcome("t", failure(source="judge"))))
    ledger.record(a_batch(a_span(), an_outcome("t", success(source="reported")), a_call("a")))
    close_due(ledger)
    assert (0, 1) == net_outcomes(ledger)

    ledger.record(a_batch(an_outcome("t", success(source="human", labelled_at=NOON - 9))))

    assert (1, 0) == net_outcomes(ledger)
    assert {"": 1} == counts(ledger, CounterName.REQUESTS)


def test_a_label_in_a_later_batch_counts_where_its_trace_does(ledger: SqlLedger) -> None:
    """Under the version, tier and capability of the trace; the request itself is not counted again."""
    ledger.record(a_batch(tagged(a_trace("t1", capability="pay"), HARD)))

    recorded = ledger.record(a_batch(an_outcome("t1", failure("timeout"))))

    assert (0, 1) == (recorded.counted, recorded.labelled)
    labels = ("shop", "production", "model-1", "hard")
    expected = {
        CounterKey(CounterName.REQUESTS, *labels, "pay"): 1,
        CounterKey(CounterName.OUTCOMES, *labels, "pay", "failure"): 1,
        CounterKey(CounterName.FAILURES_BY_CLASS, *labels, "", "timeout"): 1,
    }
    assert expected == {
        key: value for key, value in ledger.counters().items() if key.name in {k.name for k in expected}
    }
    assert [] == problems(ledger)
