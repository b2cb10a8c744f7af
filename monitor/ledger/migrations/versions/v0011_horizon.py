"""How long a request was, so that an outcome that comes later counts among those of its length."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column; it stays empty for the requests that are there already, whose length was not kept."""
    op.add_column("request", sa.Column("horizon", sa.Text))
