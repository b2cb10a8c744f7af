"""Evidence in cells, what requests belong to, and the tier that somebody declared."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_KEY: dict[str, Any] = {
    "model_version_id": _Id,
    "hour": sa.Integer(),
    **dict.fromkeys(("calibration_id", "tier", "declared_tier", "capability", "tool_set"), sa.Text()),
    "bin": sa.Integer(),
    "is_known": sa.Boolean(),
    "failure_class": sa.Text(),
}
_SUMS: dict[str, Any] = {
    **dict.fromkeys(("requests", "labelled", "failures"), sa.BigInteger()),
    **dict.fromkeys(("logit_sum", "variance_sum"), sa.Double()),
    **dict.fromkeys(("clustered", "clustered_failures"), sa.BigInteger()),
}

_FILL = """
    INSERT INTO stratum (
        model_version_id, hour, calibration_id, tier, declared_tier, capability, tool_set, bin, is_known, failure_class,
        requests, labelled, failures, logit_sum, variance_sum, clustered, clustered_failures
    )
    SELECT
        model_version_id, CAST(floor(started_at / 3600) AS INTEGER), coalesce(calibration_id, ''),
        coalesce(tier, 'untiered'), '', coalesce(capability, 'unclassified'),
        CASE WHEN coalesce(capability, 'unclassified') = 'unclassified' THEN coalesce(tool_set, '') ELSE '' END,
        coalesce(bin, 0), coalesce(is_known, FALSE),
        CASE WHEN success IS FALSE THEN coalesce(failure_class, '') ELSE '' END,
        count(*), count(success), sum(CASE WHEN success IS FALSE THEN 1 ELSE 0 END),
        coalesce(sum(difficulty_logit), 0), coalesce(sum(difficulty_variance), 0), 0, 0
    FROM request WHERE model_version_id IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
"""


def upgrade() -> None:
    """Make the table and the columns, and count what the ledger has."""
    op.add_column("request", sa.Column("declared_tier", sa.Text()))
    op.add_column("request", sa.Column("cluster", sa.BigInteger()))
    op.create_index(
        "ix_request_model_version_id_cluster",
        "request",
        ["model_version_id", "cluster"],
        sqlite_where=sa.text("cluster IS NOT NULL"),
        postgresql_where=sa.text("cluster IS NOT NULL"),
    )
    op.create_table(
        "stratum",
        *(sa.Column(name, kind, nullable=False) for name, kind in (*_KEY.items(), *_SUMS.items())),
        sa.PrimaryKeyConstraint(*_KEY, name=op.f("pk_stratum")),
    )
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    # Without its optional functions SQLite has no floor; times are never before 1970, so it only cuts.
    op.execute(_FILL if is_postgresql else _FILL.replace("floor(started_at / 3600)", "started_at / 3600"))
