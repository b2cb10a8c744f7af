from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from monitor.ledger.ledger import Batch, CounterName, Lease
from monitor.ledger.schema import label_value
from monitor.ledger.sql import SqlLedger
from monitor.trace.model import TraceId
from tests.builders import NOON, a_batch, a_trace, an_outcome, failure, tagged
from tests.ledger.test_activity import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_calibrations import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_cases import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_cohorts import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_counters import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_counting import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_dialect import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_evidence import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_history import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_joining import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_label_delays import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_leases import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_pending_spans import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_recording import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_request_rows import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_retention import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_rollouts import *  # noqa: F403  (the same tests on this database)
from tests.ledger.test_served import *  # noqa: F403  (the same tests on this database)
from tests.ledgers import (
    assembled,
    close_due,
    counts,
    net_outcomes,
    problems,
    spans_left_over,
)
from tests.stack.servers import PostgresServer, wait_until
from tests.trace.spans import a_call, a_span

pytestmark = pytest.mark.stack


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def ledger(url: str) -> Iterator[SqlLedger]:
    """What the tests of `tests/ledger`, imported above, take here."""
    ledger = SqlLedger(url)
    yield ledger
    ledger.close()


def test_replicas_that_meet_in_the_same_traces_count_them_once(url: str) -> None:
    """Two replicas that record the same traces, one with the outcomes, at once count each once and join all."""
    problems: list[BaseException] = []

    def write(*, with_outcomes: bool) -> None:
        ledger = SqlLedger(url)
        try:
            for start in range(0, 400, 20):
                ids = [f"t{number}" for number in range(start, start + 20)]
                events = [an_outcome(i, failure()) for i in ids] if with_outcomes else [tagged(a_trace(i)) for i in ids]
                ledger.record(a_batch(*events, *[tagged(a_trace(i)) for i in ids[:5]]))
        except BaseException as problem:  # noqa: BLE001  (told by the assertion below)
            problems.append(problem)
        finally:
            ledger.close()

    replicas = [threading.Thread(target=write, kwargs={"with_outcomes": flag}) for flag in (True, False)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()

    ledger = SqlLedger(url)
    assert [] == problems
    assert {"": 400} == counts(ledger, CounterName.REQUESTS)
    assert (0, 400) == net_outcomes(ledger)
    ledger.close()


def record_while_rows_are_held(holder: SqlLedger, held: Batch, other: SqlLedger, batch: Batch) -> None:
    """Let *other* record *batch* while *holder*, which is recording *held*, keeps its rows locked until it waits."""
    waiting = threading.Thread(target=other.record, args=(batch,))
    with holder._engine.begin() as connection:
        holder._recorder.record(connection, held)
        waiting.start()
        wait_until(lambda: not waiting.is_alive() or holder_is_waited_for(holder), what="the other replica waits")
    waiting.join()


def holder_is_waited_for(holder: SqlLedger) -> bool:
    with holder._engine.connect() as connection:
        return bool(connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def test_a_trace_that_was_filled_while_a_replica_waited_counts_once(url: str) -> None:
    """A replica that waits for a row sees, when it gets it, that another one has counted its trace."""
    first, second = SqlLedger(url), SqlLedger(url)
    first.record(a_batch(an_outcome("t1", failure())))
    trace = a_batch(tagged(a_trace("t1")))

    record_while_rows_are_held(first, trace, second, trace)

    assert {"": 1} == counts(first, CounterName.REQUESTS)
    assert {"": 1} == counts(first, CounterName.DUPLICATES)
    assert (0, 1) == net_outcomes(first)
    first.close()
    second.close()


@pytest.mark.parametrize("closes_first", [True, False])
def test_a_span_that_comes_while_its_trace_is_closed_is_not_lost(url: str, *, closes_first: bool) -> None:
    """Closed first, the span waits anew and is late in the end; closed second, the trace goes on waiting with it."""
    first, second = SqlLedger(url), SqlLedger(url)
    first.record(a_batch(a_span(), a_call("a")))
    closing = dataclasses.replace(a_batch(), assembled=[assembled("t", [a_span(), a_call("a")])])
    batches = [closing, a_batch(a_call("b"))]

    record_while_rows_are_held(first, batches[not closes_first], second, batches[closes_first])
    close_due(first, now=NOON + 3_600)

    fates = {"joined": 2, "late": 1} if closes_first else {"joined": 3}
    assert {"received": 3, **fates} == counts(first, CounterName.SPANS)
    assert {"": 1} == counts(first, CounterName.REQUESTS)
    assert 0 == first.pending_spans()
    first.close()
    second.close()


def test_replicas_that_share_the_spans_of_each_trace_count_it_once(url: str) -> None:
    """Three replicas read spans, traces and verdicts of the same ids and close them at once: nothing is lost."""
    problems: list[BaseException] = []
    ids = [TraceId(f"t{number}") for number in range(120)]

    def work(replica: int) -> None:
        ledger = SqlLedger(url)
        try:
            for start in range(0, len(ids), 10):
                some = ids[start : start + 10]
                spans = [
                    a_call(f"s{replica}{n}", trace_id=each, service=f"shop-{each}") for each in some for n in (0, 1)
                ]
                whole = [tagged(a_trace(each, service=f"shop-{each}")) for each in some[replica::4]]
                verdicts = [an_outcome(each, failure()) for each in some[replica::3]]
                dice = random.Random(start + replica)
                ledger.record(a_batch(*dice.sample(events := [*spans, *whole, *verdicts], len(events))))
                close_due(ledger, now=NOON + 3_600)
        except BaseException as problem:  # noqa: BLE001  (told by the assertion below)
            problems.append(problem)
        finally:
            ledger.close()

    replicas = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()

    ledger = SqlLedger(url)
    while close_due(ledger, now=NOON + 3_600):
        """Until nothing waits."""
    assert [] == problems
    assert {"": 120} == counts(ledger, CounterName.REQUESTS)
    assert (0, 120) == net_outcomes(ledger)
    assert 720 == counts(ledger, CounterName.SPANS)["received"]
    assert (0, 0) == (spans_left_over(ledger), ledger.pending_spans())
    ledger.close()


def test_only_one_of_two_replicas_reviews(url: str) -> None:
    """While one replica holds the review, the other is told no."""
    first, second = SqlLedger(url), SqlLedger(url)

    review = Lease.REVIEW
    with first.hold_lease(review) as first_holds, second.hold_lease(review) as second_holds:
        assert (first_holds, second_holds) == (True, False)
    with second.hold_lease(review) as second_holds:
        assert second_holds

    first.close()
    second.close()


def test_a_replica_that_remembers_a_name_counts_it_after_another_let_it_go(url: str) -> None:
    """Accounts balance at once, and within an hour the name has its place again for all."""
    one, other = SqlLedger(url), SqlLedger(url)
    now = NOON + 106 * 86_400.0
    one.record(a_batch(tagged(a_trace("t1"))))
    assert [] == list(other.prune(now=NOON + 1))
    list(other.prune(now=now))

    for number, later in enumerate((0.0, 7_200.0)):
        again = a_trace(f"n{number}", started_at=now + later)
        one.record(a_batch(tagged(again), received_at=NOON + later))
        assert [number + 1] == [version.requests for version in other.activity()]
        assert [] == problems(other)

    with one._engine.connect() as connection:
        named = set(connection.scalars(sa.select(label_value.c.value).where(label_value.c.label == "model_version")))
    one.close()
    other.close()
    assert {a_trace().model_version} == named
