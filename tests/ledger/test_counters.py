from __future__ import annotations

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_trace, tagged


def test_a_counter_is_read_under_the_key_that_moved_it(ledger: SqlLedger) -> None:
    """Of an empty ledger nothing is read, and labels that a counter does not have are empty."""
    before = ledger.counters()
    ledger.record(a_batch(tagged(a_trace()), tagged(a_trace())))

    moved = ledger.counters()

    assert {} == before
    assert 1 == moved[CounterKey(CounterName.REQUESTS, "shop", "production", "model-1", "untiered", "search")]
    assert 1 == moved[CounterKey(CounterName.DUPLICATES, "shop", "production", "model-1")]
