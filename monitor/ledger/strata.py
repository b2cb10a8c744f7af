"""
Evidence in cells: how many requests of a version, hour, tier, class, bin and failure class there are.

Kept in the transaction that writes the requests, so they are what a recount of the rows gives, and a review reads cells
and not requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from monitor.ledger.cells import SUMS, Cell, Key, class_tools
from monitor.ledger.cohorts import CellMemory
from monitor.ledger.counting import HOUR_SECONDS, CounterDelta
from monitor.ledger.dialect import Dialect
from monitor.ledger.joining import Slot
from monitor.ledger.ledger import TaggedTrace
from monitor.ledger.schema import stratum
from monitor.rollout.tracker import VersionKey


class StratumWriter:
    """
    Moves cells.

    Args:
        dialect: How the database takes many rows.
        memory: Has cells that were read.
    """

    def __init__(self, dialect: Dialect, memory: CellMemory) -> None:
        self._memory = memory
        self._write = dialect.upserter(
            stratum, become=lambda added: {name: stratum.c[name] + added[name] for name in SUMS}
        )

    def add_slots(
        self, connection: sa.Connection, slots: Iterable[Slot], version_ids: Mapping[VersionKey, int]
    ) -> None:
        """Count what a batch did to its trace ids."""
        moves: dict[Key, list[float]] = {}
        for slot in slots:
            if slot.new_trace is not None and slot.delta is not None:
                _move(moves, _new_cell(slot, slot.new_trace, slot.delta, version_ids[slot.delta.version]), 1)
            elif slot.has_new_outcome and slot.cell is not None:
                _move(moves, slot.cell, -1)
                _move(moves, slot.cell.labelled(slot.label, slot.said), 1)
        self._apply(connection, moves)

    def move(self, connection: sa.Connection, before: Iterable[Cell], after: Iterable[Cell] = ()) -> None:
        """Take *before* out of their cells and count *after*; cells that are left empty go."""
        moves: dict[Key, list[float]] = {}
        gone = list(before)
        for cell in gone:
            _move(moves, cell, -1)
        for cell in after:
            _move(moves, cell, 1)
        self._apply(connection, moves)
        versions = {cell.key.model_version_id for cell in gone}
        connection.execute(
            sa.delete(stratum).where(stratum.c.model_version_id.in_(versions)).where(stratum.c.requests == 0)
        )

    def _apply(self, connection: sa.Connection, moves: Mapping[Key, list[float]]) -> None:
        for version_id, hour in {key[:2] for key in moves}:
            self._memory.moved(version_id, hour)
        # In the order of keys: one for all replicas, so no deadlock.
        self._write(connection, sorted((*key, *sums) for key, sums in moves.items() if any(sums)))


def _move(moves: dict[Key, list[float]], cell: Cell, sign: int) -> None:
    sums = moves.setdefault(cell.key, [0] * len(SUMS))
    for place, number in enumerate(cell.sums):
        sums[place] += sign * number


def _new_cell(slot: Slot, tagged: TaggedTrace, delta: CounterDelta, version_id: int) -> Cell:
    """Where the trace that *slot* brought counts."""
    tag, label, said = tagged.tag, slot.label, slot.said
    key = Key(
        version_id,
        int(tagged.trace.started_at // HOUR_SECONDS),
        tag.calibration_id,
        str(tag.tier),
        tagged.declared_tier or "",
        delta.capability,
        class_tools(delta.capability, tagged.features.tool_set),
        tag.bin,
        tag.is_known,
        (label.failure_class or "") if label is not None and not label.success else "",
        said.words,
    )
    success = None if label is None else label.success
    is_clustered = tagged.cluster is not None
    return Cell(key, success, tag.difficulty_logit, tag.difficulty_variance, is_clustered, said.looked, said.audited)
