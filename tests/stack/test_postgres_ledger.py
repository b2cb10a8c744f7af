from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from monitor.ledger.ledger import CounterName
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_trace, an_outcome, failure, tagged
from tests.contracts.ledger_contract import LedgerContract, counts, net_outcomes
from tests.stack.servers import PostgresServer

pytestmark = pytest.mark.stack


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


class TestPostgres(LedgerContract):
    @pytest.fixture
    def ledger(self, url: str) -> Iterator[SqlLedger]:
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


def test_only_one_of_two_replicas_reviews(url: str) -> None:
    """While one replica holds the review, the other is told no."""
    first, second = SqlLedger(url), SqlLedger(url)

    with first.exclusively() as first_holds, second.exclusively() as second_holds:
        assert (first_holds, second_holds) == (True, False)
    with second.exclusively() as second_holds:
        assert second_holds

    first.close()
    second.close()
