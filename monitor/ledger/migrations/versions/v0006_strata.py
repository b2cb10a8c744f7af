"""Evidence in cells, what requests belong to, and the tier that somebody declared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_FILL = """
    INSERT INTO stratum (
        model_version_id, hour, calibration_id, tier, declared_tier, capability, tool_set, bin, is_known, failure_class,
        requests, labelled, failures, logit_sum, variance_sum, clustered, clustered_failures
    )
    SELECT
        model_version_id, CAST(floor(started_at / 3600) AS INTEGER), calibration_id, tier, '', capability,
        CASE WHEN capability = 'unclassified' THEN coalesce(tool_set, '') ELSE '' END, bin, is_known,
        CASE WHEN success IS FALSE THEN coalesce(failure_class, '') ELSE '' END,
        count(*), count(success), sum(CASE WHEN success IS FALSE THEN 1 ELSE 0 END),
        sum(difficulty_logit), sum(difficulty_variance), 0, 0
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
        sa.Column("model_version_id", _Id, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("calibration_id", "tier", "declared_tier")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("capability", "tool_set")),
        sa.Column("bin", sa.Integer(), nullable=False),
        sa.Column("is_known", sa.Boolean(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("requests", "labelled", "failures")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("logit_sum", "variance_sum")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("clustered", "clustered_failures")),
        sa.PrimaryKeyConstraint(
            "model_version_id",
            "hour",
            "calibration_id",
            "tier",
            "declared_tier",
            "capability",
            "tool_set",
            "bin",
            "is_known",
            "failure_class",
            name=op.f("pk_stratum"),
        ),
    )
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    # Without its optional functions SQLite has no floor; times are never before 1970, so it only cuts.
    op.execute(_FILL if is_postgresql else _FILL.replace("floor(started_at / 3600)", "started_at / 3600"))
