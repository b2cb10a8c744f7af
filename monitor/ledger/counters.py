"""The counters that the metrics show."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from monitor.ledger.ledger import CounterKey, CounterName
from monitor.ledger.schema import counter


def select_counters(connection: sa.Connection) -> Mapping[CounterKey, int]:
    """Every counter as committed."""
    rows = connection.execute(sa.select(counter)).all()
    return {CounterKey(CounterName(row[0]), *row[1:7]): row.value for row in rows}
