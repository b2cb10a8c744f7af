from __future__ import annotations

from msgspec import structs

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_trace, an_outcome, failure, tagged
from tests.ledgers import EASY


def test_a_counter_is_read_under_the_key_that_moved_it(ledger: SqlLedger) -> None:
    """Of an empty ledger nothing is read, and labels that a counter does not have are empty."""
    before = ledger.counters()
    ledger.record(a_batch(tagged(a_trace()), tagged(a_trace())))

    moved = ledger.counters()

    assert {} == before
    assert 1 == moved[CounterKey(CounterName.REQUESTS, "shop", "production", "model-1", "untiered", "search")]
    assert 1 == moved[CounterKey(CounterName.DUPLICATES, "shop", "production", "model-1")]


def test_a_request_counts_under_the_tier_that_was_declared(ledger: SqlLedger) -> None:
    """Whatever a calibration says of it, and so do its verdicts, also the late ones."""
    ledger.record(a_batch(structs.replace(tagged(a_trace(), EASY), declared_tier="hard")))
    ledger.record(a_batch(an_outcome("t1", failure())))

    moved = ledger.counters()

    place = ("shop", "production", "model-1", "hard", "search")
    assert 1 == moved[CounterKey(CounterName.REQUESTS, *place)]
    assert 1 == moved[CounterKey(CounterName.OUTCOMES, *place, "failure")]
    assert set() == {key for key in moved if key.tier == "easy"}
