"""Rows of requests: what the ledger has of a trace id, what a batch makes of it, and the features that it keeps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tag
from monitor.ledger.joining import Slot
from monitor.ledger.labels import DialectInsert, VersionKey
from monitor.ledger.schema import model_version, request
from monitor.trace.model import Outcome

_IDS_PER_SELECT = 500  # well below SQLite's limit of bound parameters


class RaceLost(Exception):
    """Another replica inserted one of our trace ids first: roll back and record the batch again, now seeing its row."""


def load_slots(connection: sa.Connection, trace_ids: Iterable[str]) -> dict[str, Slot]:
    """A slot for each trace id, filled from the ledger where it has a row; rows are locked against other replicas."""
    ordered = sorted(trace_ids)
    slots = {trace_id: Slot() for trace_id in ordered}
    for start in range(0, len(ordered), _IDS_PER_SELECT):
        ids = ordered[start : start + _IDS_PER_SELECT]
        rows = connection.execute(_STORED.where(request.c.trace_id.in_(ids))).all()
        versions = _version_keys(connection, {row.model_version_id for row in rows} - {None})
        for row in rows:
            slot = slots[row.trace_id]
            slot.stored = True
            if row.model_version_id is not None:
                slot.version = versions[row.model_version_id]
                slot.counted_tier, slot.capability = row.counted_tier, row.capability
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
                slot.standing = _OUTCOMES.validate_json(row.outcomes)
    return slots


def write_slots(
    connection: sa.Connection,
    insert: DialectInsert,
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
    inserts: list[dict[str, Any]] = []
    for trace_id, slot in sorted(slots.items()):
        if not slot.stored:
            if slot.new_trace is None and not slot.standing:
                continue  # only spans have come
            row = _trace_columns(slot, version_ids) | _outcome_columns(slot)
            inserts.append(row | {"trace_id": trace_id, "received_at": received_at})
    if inserts:  # an empty list would run as an insert of defaults
        result = connection.execute(insert(request).on_conflict_do_nothing(), inserts)
        if result.rowcount != len(inserts):
            raise RaceLost
    joined = [
        _trace_columns(slot, version_ids) | {"_trace_id": trace_id}
        for trace_id, slot in sorted(slots.items())
        if slot.stored and slot.new_trace is not None
    ]
    labelled = [
        _outcome_columns(slot) | {"_trace_id": trace_id}
        for trace_id, slot in sorted(slots.items())
        if slot.stored and slot.has_new_outcome
    ]
    for rows in (joined, labelled):
        if rows:
            columns: dict[str, Any] = {name: sa.bindparam(name) for name in rows[0] if name != "_trace_id"}
            connection.execute(
                sa.update(request).where(request.c.trace_id == sa.bindparam("_trace_id")).values(columns), rows
            )


FEATURE_COLUMNS = (
    request.c.capability,
    request.c.item,
    request.c.tool_set,
    request.c.prompt_family,
    request.c.attributes,
)
"""What `features_of` reads."""


def features_of(row: Any) -> RequestFeatures:
    """The features that a row with `FEATURE_COLUMNS` keeps."""
    return RequestFeatures(
        capability=row.capability,
        item=row.item,
        tool_set=row.tool_set,
        prompt_family=row.prompt_family,
        attributes=json.loads(row.attributes) if row.attributes else {},
    )


def feature_columns(features: RequestFeatures) -> dict[str, Any]:
    """Columns that keep the features of a request, so that it can be tagged anew and learnt from without its text."""
    return {
        "capability": features.capability,
        "item": features.item,
        "tool_set": features.tool_set,
        "prompt_family": features.prompt_family,
        "attributes": json.dumps(dict(features.attributes), sort_keys=True) if features.attributes else None,
    }


def tag_columns(tag: Tag) -> dict[str, Any]:
    """Columns that keep a tag."""
    return {
        "tier": tag.tier,
        "difficulty_logit": tag.difficulty_logit,
        "difficulty_variance": tag.difficulty_variance,
        "is_known": tag.is_known,
        "bin": tag.bin,
        "calibration_id": tag.calibration_id,
    }


def _version_keys(connection: sa.Connection, ids: Iterable[int]) -> dict[int, VersionKey]:
    columns = model_version.c
    rows = connection.execute(
        sa.select(columns.id, columns.service, columns.environment, columns.model_version).where(columns.id.in_(ids))
    )
    return {version_id: (service, environment, version) for version_id, service, environment, version in rows}


# Joined with the version, PostgreSQL would show a row that another replica has just filled, but without its version: it
# reads again only the table that it locks.
_STORED = (
    sa.select(
        request.c.trace_id,
        request.c.model_version_id,
        request.c.counted_tier,
        request.c.capability,
        request.c.success,
        request.c.failure_class,
        request.c.outcome_score,
        request.c.outcome_source,
        request.c.labelled_at,
        request.c.outcomes,
    )
    .order_by(request.c.trace_id)
    .with_for_update()  # PostgreSQL; SQLite has locked the whole file already
)

_TRACE_COLUMNS = (
    "model_version_id", "started_at", "capability", "item", "tool_set", "prompt_family", "attributes", "counted_tier",
    "tier", "difficulty_logit", "difficulty_variance", "is_known", "bin", "calibration_id",
)  # fmt: skip


def _trace_columns(slot: Slot, version_ids: Mapping[VersionKey, int]) -> dict[str, Any]:
    """Columns that a trace fills; all empty while only an outcome has come."""
    if slot.new_trace is None or slot.version is None:
        return dict.fromkeys(_TRACE_COLUMNS)
    trace, features, tag = slot.new_trace.trace, slot.new_trace.features, slot.new_trace.tag
    return {
        "model_version_id": version_ids[slot.version],
        "started_at": trace.started_at,
        "counted_tier": slot.counted_tier,
        **feature_columns(features),
        "capability": slot.capability,
        **tag_columns(tag),
    }


_LABEL_COLUMNS = ("success", "failure_class", "outcome_source", "outcome_score", "labelled_at")
_OUTCOMES = TypeAdapter(tuple[Outcome, ...])


def _outcome_columns(slot: Slot) -> dict[str, Any]:
    """The label, and all standing verdicts where it is not the only one or says less than it did."""
    label = slot.label
    columns: dict[str, Any] = dict.fromkeys(_LABEL_COLUMNS)
    if label is not None:
        values = (label.success, label.failure_class, label.source, label.score, label.labelled_at)
        columns = dict(zip(_LABEL_COLUMNS, values, strict=True))
    says_all = label is None or label.evaluation is None
    is_label_all = says_all and slot.standing == (() if label is None else (label,))
    return columns | {"outcomes": None if is_label_all else _OUTCOMES.dump_json(slot.standing).decode()}
