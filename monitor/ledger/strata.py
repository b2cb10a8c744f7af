"""
Writes the evidence in cells: totals of requests by version, hour, tier, class, bin and failure class.

Cells change in the transaction that writes the requests, so they always equal a recount of the rows, and a review can
read cells instead of requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from monitor.ledger.cell_memory import CellMemory
from monitor.ledger.cells import SUMS, Cell, Key, class_tools
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.dialect import Dialect, sums_of
from monitor.ledger.joining import Slot
from monitor.ledger.schema import stratum
from monitor.rollout.tracker import VersionKey


class StratumWriter:
    """
    Adds requests to cells, and moves them from one cell to another.

    Args:
        dialect: Builds statements for many rows in the SQL of the database.
        memory: Cache of cells, invalidated where a cell changes.
    """

    def __init__(self, dialect: Dialect, memory: CellMemory) -> None:
        self._memory = memory
        self._write = dialect.upserter(stratum, sums_of(stratum, SUMS))

    def add_slots(
        self, connection: sa.Connection, slots: Iterable[Slot], version_ids: Mapping[VersionKey, int]
    ) -> None:
        """Count the new requests and the new labels of a batch."""
        moves: dict[Key, list[float]] = {}
        for slot in slots:
            if slot.new_trace is not None:
                _add(moves, slot, version_ids)
            elif slot.has_new_outcome and slot.cell is not None:
                _move(moves, slot.cell, -1)
                _move(moves, slot.cell.labelled(slot.label, slot.said), 1)
        self._apply(connection, moves)

    def move(self, connection: sa.Connection, before: Sequence[Cell], after: Iterable[Cell]) -> None:
        """Subtract *before* from their cells, add *after*, and delete cells that become empty."""
        moves: dict[Key, list[float]] = {}
        for cell in before:
            _move(moves, cell, -1)
        for cell in after:
            _move(moves, cell, 1)
        self._apply(connection, moves)
        versions = {cell.key.model_version_id for cell in before}
        connection.execute(sa.delete(stratum).where(stratum.c.model_version_id.in_(versions), stratum.c.requests == 0))

    def _apply(self, connection: sa.Connection, moves: Mapping[Key, list[float]]) -> None:
        for version_id, hour in {key[:2] for key in moves}:
            self._memory.invalidate(version_id, hour)
        # In key order, the same for all replicas, so that they cannot deadlock.
        self._write(connection, sorted((*key, *sums) for key, sums in moves.items() if any(sums)))


def _move(moves: dict[Key, list[float]], cell: Cell, sign: int) -> None:
    sums = moves.setdefault(cell.key, [0] * len(SUMS))
    for place, number in enumerate(cell.sums):
        sums[place] += sign * number


def _add(moves: dict[Key, list[float]], slot: Slot, version_ids: Mapping[VersionKey, int]) -> None:
    """Count the new trace of *slot*: the same as `_move`, but faster, since it runs for each new request."""
    tagged, delta, label, said = slot.new_trace, slot.delta, slot.label, slot.said
    if tagged is None or delta is None:
        return
    tag = tagged.tag
    failed = label is not None and not label.success
    key = Key(
        version_ids[delta.version],
        int(tagged.trace.started_at // HOUR_SECONDS),
        tag.calibration_id,
        str(tag.tier),
        tagged.declared_tier or "",
        delta.capability,
        class_tools(delta.capability, tagged.features.tool_set),
        tag.bin,
        tag.is_known,
        (label.failure_class or "") if label is not None and failed else "",
        said.pattern,
    )
    sums = moves.get(key)
    if sums is None:
        sums = moves[key] = [0] * len(SUMS)
    labelled = label is not None
    sums[0] += 1
    sums[1] += labelled
    sums[2] += failed
    sums[3] += tag.difficulty_logit
    sums[4] += tag.difficulty_variance
    if tagged.cluster is not None and tagged.cluster >= 0:
        sums[5] += labelled
        sums[6] += failed
    if said.label_weight:
        sums[7] += said.label_weight
        sums[8] += said.label_weight**2
        sums[9] += said.audit_weight
        sums[10] += said.audit_weight**2
