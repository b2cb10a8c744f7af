"""The oldest tables that can be upgraded: a new ledger is made by the schema itself, and never passes through here."""

from __future__ import annotations

revision = "0002"
down_revision = None


def upgrade() -> None:
    """Nothing to do."""
