"""Pending spans, those of a trace and a batch in one row; from when on the rows of a version are all there."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op
from backports import zstd
from msgspec import MsgspecError, json, msgpack

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SPANS_AT_ONCE = 10_000


def upgrade() -> None:
    """Pack the spans that wait, and those that are kept a while."""
    packed = op.create_table(
        "pending_span",
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("span_ids", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("trace_id", "number", name=op.f("pk_pending_span")),
    )
    waiting = sa.table("waiting_span", *map(sa.column, ("trace_id", "span_id", "body")))
    in_order = sa.select(waiting).order_by(waiting.c.trace_id, waiting.c.span_id)
    rows = op.get_bind().execute(in_order, execution_options={"yield_per": _SPANS_AT_ONCE})
    for trace_id, of_trace in groupby(rows, key=lambda row: row.trace_id):
        spans = list(of_trace)
        body = zstd.compress(msgpack.encode([_facts(span) for span in spans]))
        span_ids = " ".join(span.span_id for span in spans)
        op.bulk_insert(packed, [{"trace_id": trace_id, "number": 0, "span_ids": span_ids, "body": body}])
    op.drop_table("waiting_span")
    for name, spans_are in (("pending", "span_count > counted_spans"), ("counted", "span_count = counted_spans")):
        which, columns = sa.text(spans_are), ["last_received_at"]
        op.create_index(f"ix_waiting_trace_{name}", "waiting_trace", columns, sqlite_where=which, postgresql_where=which)
    op.add_column("model_version", sa.Column("pruned_before", sa.Double()))


def _facts(row: Any) -> Any:
    try:
        return json.decode(row.body)
    except (MsgspecError, UnicodeEncodeError):  # what cannot be read stops no upgrade, and still counts
        return {"trace_id": row.trace_id, "span_id": row.span_id, "started_at": 0.0}
