"""Evidence in strata, requests by hour, what was pruned, what a service is served, and spans that are kept a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0002"  # 0003 to 0006 were never released, and are in this one
branch_labels = None
depends_on = None

_Columns = Mapping[str, Any]
_VERSION: _Columns = {"model_version_id": sa.BigInteger().with_variant(sa.Integer(), "sqlite")}
_HOUR: _Columns = {**_VERSION, "hour": sa.Integer()}
_TIMES: _Columns = dict.fromkeys(("first_started_at", "last_started_at"), sa.Double())
_STRATUM: _Columns = {
    **_HOUR,
    **dict.fromkeys(("calibration_id", "tier", "declared_tier", "capability", "tool_set"), sa.Text()),
    "bin": sa.Integer(),
    "is_known": sa.Boolean(),
    "failure_class": sa.Text(),
}
_SUMS: _Columns = {
    **dict.fromkeys(("requests", "labelled", "failures"), sa.BigInteger()),
    **dict.fromkeys(("logit_sum", "variance_sum"), sa.Double()),
    **dict.fromkeys(("clustered", "clustered_failures"), sa.BigInteger()),
}
_PENDING: Mapping[str, tuple[Any, str]] = {
    "counted_spans": (sa.Integer(), "0"),
    "not_before": (sa.Double(), "0"),
    "counted_heads": (sa.Text(), ""),
}

_FILL_TRAFFIC = """
    INSERT INTO traffic (model_version_id, hour, requests, first_started_at, last_started_at)
    SELECT model_version_id, CAST(floor(started_at / 3600) AS INTEGER), count(*), min(started_at), max(started_at)
    FROM request WHERE model_version_id IS NOT NULL GROUP BY 1, 2
"""
_FILL_STRATA = """
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
    """Make the tables and columns, and fill them from the requests that the ledger has."""
    rollout = sa.ForeignKeyConstraint(["rollout_id"], ["rollout.id"], name=op.f("fk_evidence_rollout_id"))
    _create("evidence", {"rollout_id": sa.Text(), "at": sa.Double()}, {"body": sa.Text()}, rollout)
    _create("traffic", _HOUR, {"requests": sa.BigInteger(), **_TIMES})
    counts = dict.fromkeys(("requests", "successes", "failures"), sa.BigInteger())
    _create("pruned", {**_VERSION, "tier": sa.Text()}, counts)
    _create("stratum", _STRATUM, _SUMS)
    served = dict.fromkeys(("service", "environment", "requested_model", "model_version"), sa.Text())
    _create("served_model", served, _TIMES)
    op.create_index("ix_dead_letter_received_at", "dead_letter", ["received_at"])
    op.add_column("request", sa.Column("declared_tier", sa.Text()))
    op.add_column("request", sa.Column("cluster", sa.BigInteger()))
    op.create_index(
        "ix_request_model_version_id_cluster",
        "request",
        ["model_version_id", "cluster"],
        sqlite_where=sa.text("cluster IS NOT NULL"),
        postgresql_where=sa.text("cluster IS NOT NULL"),
    )
    for name, (kind, default) in _PENDING.items():
        op.add_column("waiting_trace", sa.Column(name, kind, nullable=False, server_default=default))
    op.execute("UPDATE counter SET detail = 'non_agent' WHERE name = 'spans' AND detail = 'foreign'")
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for fill in (_FILL_TRAFFIC, _FILL_STRATA):
        # Without its optional functions SQLite has no floor; times are never before 1970, so it only cuts.
        op.execute(fill if is_postgresql else fill.replace("floor(started_at / 3600)", "started_at / 3600"))
    if is_postgresql:  # versions are never deleted, and their rows would be locked once for each request
        op.drop_constraint("fk_request_model_version_id", "request", type_="foreignkey")


def _create(table: str, key: _Columns, others: _Columns, *constraints: sa.Constraint) -> None:
    columns = (sa.Column(name, kind, nullable=False) for name, kind in {**key, **others}.items())
    op.create_table(table, *columns, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")), *constraints)
