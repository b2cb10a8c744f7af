"""When the first and the last request of each hour started: a version that comes back does so at a known time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take both times from the requests; an hour whose requests were pruned lasted from its beginning to its end."""
    op.add_column("traffic", sa.Column("first_started_at", sa.Double(), nullable=False, server_default="0"))
    op.add_column("traffic", sa.Column("last_started_at", sa.Double(), nullable=False, server_default="0"))
    op.execute("UPDATE traffic SET first_started_at = hour * 3600.0, last_started_at = hour * 3600.0 + 3599.0")
    op.execute(
        "UPDATE traffic SET first_started_at = coalesce((SELECT min(started_at) FROM request "
        "WHERE request.model_version_id = traffic.model_version_id AND request.started_at >= traffic.hour * 3600.0 "
        "AND request.started_at < traffic.hour * 3600.0 + 3600.0), first_started_at), "
        "last_started_at = coalesce((SELECT max(started_at) FROM request "
        "WHERE request.model_version_id = traffic.model_version_id AND request.started_at >= traffic.hour * 3600.0 "
        "AND request.started_at < traffic.hour * 3600.0 + 3600.0), last_started_at)"
    )
    with op.batch_alter_table("traffic") as table:  # SQLite takes a default away only by making the table anew
        table.alter_column("first_started_at", server_default=None)
        table.alter_column("last_started_at", server_default=None)
