from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.sql import SqlLedger


@pytest.fixture(params=["in memory", "in a file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlLedger]:
    """An empty ledger on SQLite; tests/stack/test_postgres_ledger.py runs the same tests on PostgreSQL."""
    ledger = SqlLedger(IN_MEMORY_URL if request.param == "in memory" else f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()
