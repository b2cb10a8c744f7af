from __future__ import annotations

import threading
from pathlib import Path

from monitor.ledger.ledger import CounterName
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch, a_trace, tagged
from tests.ledgers import counts


def test_what_was_recorded_is_there_after_a_restart(tmp_path: Path) -> None:
    """A ledger opened again shows what was committed before."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    first = SqlLedger(url)
    first.record(a_batch(tagged(a_trace()), next_offset=1))
    first.close()

    second = SqlLedger(url)
    recorded = second.record(a_batch(tagged(a_trace()), expected_offset=1, next_offset=2))

    assert (0, 1) == (recorded.counted, recorded.duplicates)
    assert {"": 1} == counts(second, CounterName.REQUESTS)
    second.close()


def test_two_writers_lose_no_update(tmp_path: Path) -> None:
    """Two connections that write the same counters at the same time add up."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    SqlLedger(url).close()

    def write(name: str) -> None:
        ledger = SqlLedger(url)
        for number in range(40):
            ledger.record(a_batch(tagged(a_trace(f"{name}{number}"))))
        ledger.close()

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    ledger = SqlLedger(url)
    assert {"": 80} == counts(ledger, CounterName.REQUESTS)
    ledger.close()
