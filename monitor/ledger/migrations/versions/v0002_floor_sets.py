"""Floors of the config, with the time when they were first seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of floor sets."""
    op.create_table(
        "floor_set",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("floors", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_floor_set")),
    )
