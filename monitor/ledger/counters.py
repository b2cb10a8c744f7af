"""The counters that the metrics show."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.ledger.schema import counter
from monitor.ledger.stored import readable, whole


def select_counters(connection: sa.Connection) -> Mapping[CounterKey, int]:
    """Every counter as committed."""
    rows = connection.execute(sa.select(counter)).all()
    return dict(readable("counter", rows, lambda row: (CounterKey(CounterName(row[0]), *row[1:7]), whole(row.value))))
