"""Requests by hour, so that nobody counts rows; what was pruned, so that counters still balance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make both tables, fill the first from the requests, and let PostgreSQL take requests without a look at versions."""
    op.create_table(
        "traffic",
        sa.Column("model_version_id", _Id, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model_version_id", "hour", name=op.f("pk_traffic")),
    )
    op.create_table(
        "pruned",
        sa.Column("model_version_id", _Id, nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("successes", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model_version_id", "tier", name=op.f("pk_pruned")),
    )
    op.create_index("ix_dead_letter_received_at", "dead_letter", ["received_at"])
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    hour = "floor(started_at / 3600)" if is_postgresql else "started_at / 3600"
    op.execute(
        "INSERT INTO traffic (model_version_id, hour, requests) "
        f"SELECT model_version_id, CAST({hour} AS INTEGER), count(*) FROM request "
        "WHERE model_version_id IS NOT NULL GROUP BY 1, 2"
    )
    if is_postgresql:  # versions are never deleted, and their rows would be locked once for each request
        op.drop_constraint("fk_request_model_version_id", "request", type_="foreignkey")
