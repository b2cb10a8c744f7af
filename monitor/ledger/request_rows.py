"""Reads and writes the rows of `request`: one per trace ID, with its trace, features and label."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import Meta
from msgspec.json import Decoder, Encoder
from msgspec.structs import astuple

from monitor.difficulty.features import RequestFeatures
from monitor.labels.source_verdicts import SourceVerdicts
from monitor.ledger.cells import CELL_COLUMNS, cell_of
from monitor.ledger.counting import CounterDeltas
from monitor.ledger.dialect import Dialect
from monitor.ledger.joining import Slot
from monitor.ledger.schema import model_version, request
from monitor.ledger.stored import UNREADABLE, readable
from monitor.rollout.tracker import VersionKey
from monitor.trace.bounds import LARGEST_NUMBER
from monitor.trace.model import Outcome

_outcomes = Decoder(tuple[Outcome, ...]).decode
_outcomes_json = Encoder().encode
_LABEL_COLUMNS = (
    *("success", "failure_class", "outcome_source", "outcome_score", "labelled_at"),
    *("outcomes", "said", "looked", "audited"),
)
_TRACE_COLUMNS = tuple(
    column.name for column in request.columns if column.name not in {"trace_id", "received_at", *_LABEL_COLUMNS}
)
_COLUMNS = ("trace_id", "received_at", *_TRACE_COLUMNS, *_LABEL_COLUMNS)
_encode = json.JSONEncoder(sort_keys=True).encode
_trace_id = itemgetter(0)


class RequestRows:
    """
    Reads and writes the rows of a batch's trace IDs.

    Args:
        dialect: Builds statements for many rows in the SQL of the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._stored = _STORED.where(dialect.among(request.c.trace_id))
        self._append = dialect.appender(request, _COLUMNS)
        self._set_trace = dialect.updater(request, "trace_id", _TRACE_COLUMNS)
        self._set_label = dialect.updater(request, "trace_id", _LABEL_COLUMNS)
        self._versions: dict[int, VersionKey] = {}

    def load(self, connection: sa.Connection, trace_ids: Iterable[str], deltas: CounterDeltas) -> dict[str, Slot]:
        """Load the state of each trace ID and lock its row against other replicas; new IDs get an empty slot."""
        ids = list(trace_ids)
        if not ids:
            return defaultdict(Slot)
        rows = connection.execute(self._stored, {"among": self._dialect.values(ids)}).all()
        self._load_versions(connection, {row.model_version_id for row in rows} - self._versions.keys() - {None})
        return defaultdict(Slot, {row.trace_id: self._slot(row, deltas) for row in rows})

    def write(
        self,
        connection: sa.Connection,
        slots: Mapping[str, Slot],
        version_ids: Mapping[VersionKey, int],
        *,
        received_at: float,
    ) -> None:
        """
        Insert or update the row of every slot that a batch has changed.

        Raises:
            RaceLost: another replica inserted one of the trace ids since this transaction began.
        """
        new, joined, labelled = [], [], []
        for trace_id, slot in slots.items():
            if not slot.stored:
                new.append((trace_id, received_at, *_trace_values(slot, version_ids), *_label_values(slot)))
                continue
            if slot.new_trace is not None:
                joined.append((trace_id, *_trace_values(slot, version_ids)))
            if slot.has_new_outcome:
                labelled.append((trace_id, *_label_values(slot)))
        # Sorted by ID: all replicas write in the same order, so they cannot deadlock, and index pages are reused.
        self._append(connection, sorted(new, key=_trace_id))
        self._set_trace(connection, sorted(joined, key=_trace_id))
        self._set_label(connection, sorted(labelled, key=_trace_id))

    def forget(self) -> None:
        """Clear the cache after a rollback."""
        self._versions.clear()

    def _load_versions(self, connection: sa.Connection, ids: Iterable[int]) -> None:
        if unknown := sorted(ids):
            versions = sa.select(*model_version.c["id", "service", "environment", "model_version"])
            rows = connection.execute(versions.where(model_version.c.id.in_(unknown)))
            self._versions.update((version_id, (service, where, name)) for version_id, service, where, name in rows)

    def _slot(self, row: Any, deltas: CounterDeltas) -> Slot:
        slot = Slot(stored=True, said=SourceVerdicts(row.said or "", row.looked or 0.0, row.audited or 0.0))
        if row.model_version_id is not None:
            slot.cell, slot.horizon = cell_of(row), str(row.horizon or "")
            slot.delta = deltas.of(self._versions[row.model_version_id], row.counted_tier, row.capability)
        if row.success is not None:
            slot.label = Outcome(
                success=row.success,
                failure_class=row.failure_class,
                score=row.outcome_score,
                source=row.outcome_source,
                labelled_at=row.labelled_at,
            )
            slot.standing = (slot.label,)
        if row.outcomes is not None:
            slot.standing = next(readable("request", [row], lambda row: _outcomes(row.outcomes)), slot.standing)
        return slot


FEATURE_COLUMNS = tuple(request.c[name] for name in RequestFeatures.__struct_fields__)
"""Columns that `features_of` reads."""


def features_of(row: Any) -> RequestFeatures:
    """The features stored in a row that has `FEATURE_COLUMNS`."""
    return RequestFeatures(
        capability=row.capability,
        item=row.item,
        tool_set=row.tool_set,
        prompt_family=row.prompt_family,
        attributes=_attributes(row.attributes) if row.attributes else {},
    )


_Number = Annotated[float, Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
_attributes_json = Decoder(dict[str, _Number | str]).decode


def _attributes(text: str) -> dict[str, float | str]:
    """Parse attributes from JSON; none if a number is out of bounds, which old releases of Cliffwatch let in."""
    return next(readable("request", [("attributes", text)], lambda row: _attributes_json(row[1])), {})


def are_sound(attributes: str) -> bool:
    """Whether stored *attributes* are valid."""
    try:
        _attributes_json(attributes)
    except UNREADABLE:
        return False
    return True


# Without a join to `model_version`: after waiting for a row lock, PostgreSQL reads only the locked table again, so the
# row could come back filled by another replica, but without its version.
_STORED = (
    sa.select(
        request.c.trace_id,
        *CELL_COLUMNS,
        *request.c["counted_tier", "outcome_score", "outcome_source", "labelled_at", "outcomes", "horizon"],
    )
    .order_by(request.c.trace_id)
    .with_for_update()  # PostgreSQL; SQLite has locked the whole file already
)


def _trace_values(slot: Slot, version_ids: Mapping[VersionKey, int]) -> tuple[Any, ...]:
    """Values of `_TRACE_COLUMNS`; all None while only an outcome has arrived."""
    if slot.new_trace is None or slot.delta is None:
        return _NO_TRACE
    features, delta = slot.new_trace.features, slot.delta
    return (
        version_ids[delta.version],
        slot.new_trace.trace.started_at,
        delta.capability,
        features.item,
        features.tool_set,
        features.prompt_family,
        _encode(dict(features.attributes)) if features.attributes else None,
        delta.tier,
        str(slot.new_trace.tag.tier),
        *astuple(slot.new_trace.tag)[1:],
        slot.new_trace.declared_tier,
        slot.new_trace.cluster,
        slot.horizon,
    )


_NO_TRACE = (None,) * len(_TRACE_COLUMNS)


def _label_values(slot: Slot) -> tuple[Any, ...]:
    """Values of `_LABEL_COLUMNS`: the label, and as JSON all standing outcomes unless the label says it all."""
    label, standing = slot.label, slot.standing
    if label is None:
        return (*[None] * 5, _outcomes_json(standing).decode() if standing else None, *[None] * 3)
    said, probability = slot.said, label.sampling_probability
    label_says_all = (label.evaluation, label.observation, probability) == (None, None, None) and len(standing) == 1
    return (
        label.success,
        label.failure_class,
        label.source,
        label.score,
        label.labelled_at,
        None if label_says_all else _outcomes_json(standing).decode(),
        said.pattern,
        said.label_weight or None,
        said.audit_weight or None,
    )
