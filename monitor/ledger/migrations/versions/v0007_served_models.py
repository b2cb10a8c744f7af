"""What a service is served under a model's name; spans stay a while after their trace was counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, let pending traces be counted and put off, and say non_agent where foreign was said."""
    op.create_table(
        "served_model",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("requested_model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("first_started_at", sa.Double(), nullable=False),
        sa.Column("last_started_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "service", "environment", "requested_model", "model_version", name=op.f("pk_served_model")
        ),
    )
    for column in (
        sa.Column("counted_spans", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("not_before", sa.Double(), nullable=False, server_default="0"),
        sa.Column("counted_heads", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("waiting_trace", column)
    op.execute("UPDATE counter SET detail = 'non_agent' WHERE name = 'spans' AND detail = 'foreign'")
