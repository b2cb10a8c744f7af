"""Pending spans of several traces in one pack."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from backports import zstd
from msgspec import Raw, msgpack

from monitor.ledger.schema import metadata

revision = "0012"
down_revision = "0011"

_ROWS_AT_ONCE = 1_000
_COMMON = (  # what each row was packed with, beside its ids
    "trace_id span_id started_at ended_at parent_span_id name kind agent model tool step service environment "
    "request_model response_model agent_name agent_version conversation_id user_id tool_name prompt_family tool_set "
    "messages tools answered calls_tools input_tokens output_tokens cost_usd budget attributes"
)
_NAMES = b"".join(map(msgpack.encode, _COMMON.split()))


def upgrade() -> None:
    """Make a pack of each row that is there, unless the first upgrade has just done so."""
    if sa.inspect(op.get_bind()).has_table("span_pack"):
        return
    if op.get_bind().dialect.name == "postgresql":  # or a row that another replica adds before the drop would be lost
        op.execute("LOCK TABLE pending_span")
    op.execute("CREATE TABLE packed_before AS SELECT trace_id, number, span_ids, body FROM pending_span")
    op.drop_table("pending_span")
    pending_span, span_pack = (metadata.tables[name] for name in ("pending_span", "span_pack"))
    for table in (pending_span, span_pack):
        table.create(op.get_bind())
    before = sa.select(sa.table("packed_before", *map(sa.column, ("trace_id", "number", "span_ids", "body"))))
    for row in op.get_bind().execute(before, execution_options={"yield_per": _ROWS_AT_ONCE}):
        pack = f"{row.trace_id}/{row.number}"
        op.bulk_insert(span_pack, [{"id": pack, "traces": 1, "body": _repacked(row)}])
        op.bulk_insert(pending_span, [{"trace_id": row.trace_id, "pack": pack, "span_ids": row.span_ids}])
    op.drop_table("packed_before")


def _repacked(row: Any) -> bytes:
    common = zstd.ZstdDict(_NAMES + f"{row.trace_id}{row.span_ids}".encode(), is_raw=True)
    try:
        spans = zstd.decompress(row.body, common.as_prefix)
    except (zstd.ZstdError, TypeError):  # what cannot be read stops no upgrade, and still counts
        return b""
    return zstd.compress(msgpack.encode({row.trace_id: Raw(spans)}))
