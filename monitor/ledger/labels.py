"""Which label values the ledger admits: bounded in number, so that hostile names cannot blow up the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from monitor.ledger.schema import label_value

DialectInsert = Callable[[sa.Table], Any]
"""The `insert` of SQLite's or PostgreSQL's dialect: alike, but without a common type in SQLAlchemy."""

OTHER = "other"
"""What a label value over the cap counts as."""


class LabelBudget:
    """
    The values admitted so far for each label and scope, kept in the ledger and remembered here.

    Args:
        insert: The dialect's `insert`, which knows `on_conflict_do_nothing`.
    """

    def __init__(self, insert: DialectInsert) -> None:
        self._insert = insert
        self._admitted: dict[tuple[str, str], set[str]] = {}

    def admit(self, connection: sa.Connection, label: str, scope: str, value: str, *, cap: int) -> bool:
        """Whether *value* may be used; the first *cap* values of a scope may, for ever."""
        known = self._admitted.get((label, scope))
        if known is None:
            known = self._admitted[label, scope] = set(
                connection.scalars(
                    sa.select(label_value.c.value)
                    .where(label_value.c.label == label)
                    .where(label_value.c.scope == scope)
                )
            )
        if value in known:
            return True
        if len(known) >= cap:
            return False
        connection.execute(
            self._insert(label_value).on_conflict_do_nothing(), {"label": label, "scope": scope, "value": value}
        )
        known.add(value)
        return True

    def forget(self) -> None:
        """Remember nothing, after a rollback took back what was admitted."""
        self._admitted.clear()
