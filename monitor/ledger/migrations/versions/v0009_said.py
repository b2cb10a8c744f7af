"""Who said what of a request, beside the label that stands."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY: dict[str, Any] = {
    "model_version_id": sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
    "hour": sa.Integer(),
    **dict.fromkeys(("calibration_id", "tier", "declared_tier", "capability", "tool_set"), sa.Text()),
    "bin": sa.Integer(),
    "is_known": sa.Boolean(),
    "failure_class": sa.Text(),
}
_COUNTS: dict[str, Any] = {
    **dict.fromkeys(("requests", "labelled", "failures"), sa.BigInteger()),
    **dict.fromkeys(("logit_sum", "variance_sum"), sa.Double()),
    **dict.fromkeys(("clustered", "clustered_failures"), sa.BigInteger()),
}
_SAID: dict[str, Any] = {"said": sa.Text()}
_WEIGHTS: dict[str, Any] = dict.fromkeys(("looked_sum", "looked_squares_sum", "audited_sum", "audited_squares_sum"), sa.Double())
_COPY = """
    INSERT INTO stratum (
        model_version_id, hour, calibration_id, tier, declared_tier, capability, tool_set, bin, is_known, failure_class,
        said, requests, labelled, failures, logit_sum, variance_sum, clustered, clustered_failures,
        looked_sum, looked_squares_sum, audited_sum, audited_squares_sum
    )
    SELECT
        model_version_id, hour, calibration_id, tier, declared_tier, capability, tool_set, bin, is_known, failure_class,
        '', requests, labelled, failures, logit_sum, variance_sum, clustered, clustered_failures, 0, 0, 0, 0
    FROM stratum_before
"""


def upgrade() -> None:
    """Add the columns; of what was counted before, the label that stands is all that is known."""
    for column in (sa.Column("said", sa.Text()), sa.Column("looked", sa.Double()), sa.Column("audited", sa.Double())):
        op.add_column("request", column)
    op.execute("CREATE TABLE stratum_before AS SELECT * FROM stratum")
    op.drop_table("stratum")
    op.create_table(
        "stratum",
        *(sa.Column(name, kind, nullable=False) for name, kind in (_KEY | _SAID | _COUNTS | _WEIGHTS).items()),
        sa.PrimaryKeyConstraint(*_KEY, *_SAID, name=op.f("pk_stratum")),
    )
    op.execute(_COPY)
    op.drop_table("stratum_before")
