from __future__ import annotations

from contextlib import closing
from pathlib import Path

from monitor.clock import WallClock
from monitor.ledger.inspection import inspect_ledger, schema_version
from monitor.ledger.sql import SqlLedger
from tests.builders import PARTITION, a_batch, a_trace, failure, tagged


def test_a_ledger_is_inspected_while_its_service_writes(tmp_path: Path) -> None:
    """What it holds is read through a connection of its own, and nothing of it changes."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    with closing(SqlLedger(url)) as ledger:
        ledger.record(a_batch(tagged(a_trace(outcome=failure())), next_offset=1))
        before = ledger.counters()

        facts = inspect_ledger(url, WallClock())

        assert schema_version(url).is_current
        assert {PARTITION: 1} == facts.next_offsets
        assert before == ledger.counters()
