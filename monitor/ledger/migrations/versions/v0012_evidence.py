"""Adds hourly evidence, verdicts by source, totals of pruned rows, served models, and packed pending spans."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op
from backports import zstd
from msgspec import MsgspecError, json, msgpack

from monitor.ledger.schema import metadata

revision = "0012"
down_revision = "0002"  # the revisions in between were never released; this one includes them

_SPANS_AT_ONCE = 10_000
# Taken from the schema: a later migration that changes one of them must write its present columns here.
_NEW_TABLES = ("evidence", "traffic", "pruned", "stratum", "served_model", "pending_span", "span_pack")
_NEW_COLUMNS = {
    "request": ("declared_tier", "cluster", "horizon", "said", "looked", "audited"),
    "waiting_trace": ("counted_spans", "not_before", "counted_heads", "service"),
    "model_version": ("pruned_before",),
}
_NEW_INDEXES = {
    "dead_letter": ("ix_dead_letter_received_at",),
    "request": ("ix_request_model_version_id_cluster",),
    "waiting_trace": ("ix_waiting_trace_pending", "ix_waiting_trace_counted"),
}
_FILL_TRAFFIC = """
    INSERT INTO traffic (model_version_id, hour, requests, first_started_at, last_started_at)
    SELECT model_version_id, CAST(floor(started_at / 3600) AS INTEGER), count(*), min(started_at), max(started_at)
    FROM request WHERE model_version_id IS NOT NULL GROUP BY 1, 2
"""
_FILL_STRATA = """
    INSERT INTO stratum (
        model_version_id, hour, calibration_id, tier, declared_tier, capability, tool_set, bin, is_known, failure_class,
        said, requests, labelled, failures, logit_sum, variance_sum, clustered, clustered_failures,
        looked_sum, looked_squares_sum, audited_sum, audited_squares_sum
    )
    SELECT
        model_version_id, CAST(floor(started_at / 3600) AS INTEGER), coalesce(calibration_id, ''),
        coalesce(tier, 'untiered'), '', coalesce(capability, 'unclassified'),
        CASE WHEN coalesce(capability, 'unclassified') = 'unclassified' THEN coalesce(tool_set, '') ELSE '' END,
        coalesce(bin, 0), coalesce(is_known, FALSE),
        CASE WHEN success IS FALSE THEN coalesce(failure_class, '') ELSE '' END,
        '', count(*), count(success), sum(CASE WHEN success IS FALSE THEN 1 ELSE 0 END),
        coalesce(sum(difficulty_logit), 0), coalesce(sum(difficulty_variance), 0), 0, 0, 0, 0, 0, 0
    FROM request WHERE model_version_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""


def upgrade() -> None:
    """Create the tables and columns, and fill them from the stored requests and spans."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for name in _NEW_TABLES:
        metadata.tables[name].create(op.get_bind())
    for table, columns in _NEW_COLUMNS.items():
        for name in columns:
            like = metadata.tables[table].c[name]
            op.add_column(table, sa.Column(name, like.type, nullable=like.nullable, server_default=like.server_default))
    for table, indexes in _NEW_INDEXES.items():
        for index in metadata.tables[table].indexes:
            if index.name in indexes:
                index.create(op.get_bind())
    op.execute("UPDATE counter SET detail = 'non_agent' WHERE name = 'spans' AND detail = 'foreign'")
    for fill in (_FILL_TRAFFIC, _FILL_STRATA):
        # SQLite may be built without floor(); its cast truncates, which is the same for times since 1970.
        op.execute(fill if is_postgresql else fill.replace("floor(started_at / 3600)", "started_at / 3600"))
    _pack_spans()
    if is_postgresql:  # it would lock the version's row for each request, and versions are never deleted
        op.drop_constraint("fk_request_model_version_id", "request", type_="foreignkey")


def _pack_spans() -> None:
    if op.get_bind().dialect.name == "postgresql":  # so that no replica adds a row before the table is dropped
        op.execute("LOCK TABLE waiting_span")
    waiting = sa.table("waiting_span", *map(sa.column, ("trace_id", "span_id", "body")))
    in_order = sa.select(waiting).order_by(waiting.c.trace_id, waiting.c.span_id)
    rows = op.get_bind().execute(in_order, execution_options={"yield_per": _SPANS_AT_ONCE})
    for trace_id, of_trace in groupby(rows, key=lambda row: row.trace_id):
        spans = list(of_trace)
        body = zstd.compress(msgpack.encode({trace_id: [_facts(span) for span in spans]}))
        ids = " ".join(span.span_id for span in spans)
        op.bulk_insert(metadata.tables["span_pack"], [{"id": trace_id, "traces": 1, "body": body}])
        op.bulk_insert(metadata.tables["pending_span"], [{"trace_id": trace_id, "pack": trace_id, "span_ids": ids}])
    op.drop_table("waiting_span")


def _facts(row: Any) -> Any:
    try:
        return json.decode(row.body)
    except (MsgspecError, UnicodeEncodeError):  # a corrupt span must not stop the upgrade, and still counts
        return {"trace_id": row.trace_id, "span_id": row.span_id, "started_at": 0.0}
