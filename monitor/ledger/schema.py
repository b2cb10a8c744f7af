"""Tables of the ledger. Every change needs a migration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

REVISION = "0012"
"""The newest migration, which creates these tables."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite supports autoincrement only for INTEGER, not for BIGINT.
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *parts: Any) -> sa.Table:
    """A table with its columns, constraints and indexes."""
    return sa.Table(name, metadata, *parts)


def _columns(kind: Any, *names: str, **options: Any) -> Sequence[sa.Column[Any]]:
    """Columns of the same type and options."""
    return [sa.Column(name, kind, **options) for name in names]


def _partial_index(name: str, *columns: str, where: str) -> sa.Index:
    """An index over the rows that match *where*."""
    condition = sa.text(where)
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


kafka_offset = _table(
    "kafka_offset",
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)

model_version = _table(
    "model_version",
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    *_columns(sa.Text, "service", "environment", "model_version", nullable=False),
    *_columns(sa.Double, "first_started_at", "last_started_at", nullable=False),
    *_columns(sa.BigInteger, "requests", "labelled", nullable=False),
    sa.Column("pruned_before", sa.Double),  # start of the latest request whose row was pruned
    sa.UniqueConstraint("service", "environment", "model_version", name="uq_model_version"),
)

label_value = _table("label_value", *_columns(sa.Text, "label", "scope", "value", primary_key=True))

# Requests of each version by the hour of their start (hours since 1970), which saves counting rows every second.
traffic = _table(
    "traffic",
    sa.Column("model_version_id", _Id, primary_key=True, autoincrement=False),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    *_columns(sa.Double, "first_started_at", "last_started_at", nullable=False),
)

# Totals of pruned rows by version and tier: counters = rows + pruned.
pruned = _table(
    "pruned",
    sa.Column("model_version_id", _Id, primary_key=True, autoincrement=False),
    sa.Column("tier", sa.Text, primary_key=True),
    *_columns(sa.BigInteger, "requests", "successes", "failures", nullable=False),
)

# One row per trace ID. An outcome that arrives before its trace creates a row without a model version.
request = _table(
    "request",
    sa.Column("trace_id", sa.Text, primary_key=True),
    sa.Column("model_version_id", _Id),
    sa.Column("started_at", sa.Double),
    sa.Column("received_at", sa.Double, nullable=False),
    *_columns(sa.Text, "capability", "item", "tool_set", "prompt_family", "attributes"),
    sa.Column("counted_tier", sa.Text),  # the tier that counters know it by; never changes
    sa.Column("tier", sa.Text),  # the tier under the calibration that cohorts are read with
    *_columns(sa.Double, "difficulty_logit", "difficulty_variance"),
    sa.Column("is_known", sa.Boolean),
    sa.Column("bin", sa.Integer),
    *_columns(sa.Text, "calibration_id", "declared_tier"),
    sa.Column("cluster", sa.BigInteger),  # hash of the conversation, user or item; negative: hash of the trace ID
    sa.Column("horizon", sa.Text),  # its length class in each unit; missing in rows of old releases
    sa.Column("success", sa.Boolean),
    *_columns(sa.Text, "failure_class", "outcome_source"),
    *_columns(sa.Double, "outcome_score", "labelled_at"),
    sa.Column("outcomes", sa.Text),  # all standing outcomes as JSON, unless the label says it all
    sa.Column("said", sa.Text),  # a letter for each kind of source: p (passed), f (failed) or - (nothing)
    *_columns(sa.Double, "looked", "audited"),  # weights of a label by any source but checks, and by a person
    # Not on PostgreSQL, which would lock the version's row for each request: a third of the time of an insert.
    sa.ForeignKeyConstraint(["model_version_id"], ["model_version.id"]).ddl_if(dialect="sqlite"),
    sa.Index("ix_request_model_version_id_started_at", "model_version_id", "started_at"),
    _partial_index("ix_request_model_version_id_cluster", "model_version_id", "cluster", where="cluster IS NOT NULL"),
)

# Evidence: totals of requests and labels by everything that verdicts need, for each hour of their starts.
stratum = _table(
    "stratum",
    sa.Column("model_version_id", _Id, primary_key=True, autoincrement=False),
    sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
    *_columns(sa.Text, "calibration_id", "tier", "declared_tier", "capability", primary_key=True),
    sa.Column("tool_set", sa.Text, primary_key=True),  # only for requests without a capability, else empty
    sa.Column("bin", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("is_known", sa.Boolean, primary_key=True),
    sa.Column("failure_class", sa.Text, primary_key=True),  # only for failures, else empty
    sa.Column("said", sa.Text, primary_key=True),  # empty if only the final label is known
    *_columns(sa.BigInteger, "requests", "labelled", "failures", nullable=False),
    *_columns(sa.Double, "logit_sum", "variance_sum", nullable=False),
    *_columns(sa.BigInteger, "clustered", "clustered_failures", nullable=False),  # labelled requests with a cluster
    *_columns(sa.Double, "looked_sum", "looked_squares_sum", "audited_sum", "audited_squares_sum", nullable=False),
)

# The table has the name that the first migration gave it.
pending_trace = _table(
    "waiting_trace",
    sa.Column("trace_id", sa.Text, primary_key=True),
    *_columns(sa.Double, "first_received_at", "last_received_at", nullable=False),
    sa.Column("root_ended", sa.Boolean, nullable=False),
    sa.Column("span_count", sa.Integer, nullable=False),
    sa.Column("counted_spans", sa.Integer, nullable=False, server_default="0"),  # span_count when last counted
    sa.Column("not_before", sa.Double, nullable=False, server_default="0"),  # postponed until then, or the next span
    sa.Column("counted_heads", sa.Text, nullable=False, server_default=""),  # IDs of the first spans of counted runs
    sa.Column("service", sa.Text, nullable=False, server_default=""),  # as named by the first span
    _partial_index("ix_waiting_trace_pending", "last_received_at", where="span_count > counted_spans"),
    _partial_index("ix_waiting_trace_counted", "last_received_at", where="span_count = counted_spans"),
)

# The spans of one trace in one batch, and the pack that holds them.
pending_span = _table(
    "pending_span",
    *_columns(sa.Text, "trace_id", "pack", primary_key=True),
    sa.Column("span_ids", sa.Text, nullable=False),  # separated by spaces
)

# Compressed spans of several traces from one batch.
span_pack = _table(
    "span_pack",
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("traces", sa.Integer, nullable=False),  # number of traces that still refer to it
    sa.Column("body", sa.LargeBinary, nullable=False),  # spans by trace ID: msgpack, zstd
)

# Model versions that answered requests for a model name ('' if the request names none), and when.
served_model = _table(
    "served_model",
    *_columns(sa.Text, "service", "environment", "requested_model", "model_version", primary_key=True),
    *_columns(sa.Double, "first_started_at", "last_started_at", nullable=False),
)

counter = _table(
    "counter",
    *_columns(
        sa.Text, "name", "service", "environment", "model_version", "tier", "capability", "detail", primary_key=True
    ),
    sa.Column("value", sa.BigInteger, nullable=False),
)

dead_letter = _table(
    "dead_letter",
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("offset", sa.BigInteger, primary_key=True),
    *_columns(sa.Text, "reason", "detail", "sha256", nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Index("ix_dead_letter_received_at", "received_at"),
)

calibration = _table(
    "calibration",
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("frozen_at", sa.Double, nullable=False),
    sa.Column("promoted_at", sa.Double),  # missing until it is put in force
    sa.Column("history_labels", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

rollout = _table(
    "rollout",
    sa.Column("id", sa.Text, primary_key=True),
    *_columns(sa.Text, "service", "environment", "baseline", "candidate", nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("end_reason", sa.Text, nullable=False, server_default=""),
    sa.Column("calibration_id", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("verdict_at", sa.Double),
)

verdict_change = _table(
    "verdict_change",
    sa.Column("rollout_id", sa.Text, sa.ForeignKey("rollout.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)

# Evidence at each look at a rollout, thinned out so that the number of rows is bounded.
evidence = _table(
    "evidence",
    sa.Column("rollout_id", sa.Text, sa.ForeignKey("rollout.id"), primary_key=True),
    sa.Column("at", sa.Double, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

# All floors of the config; a new row whenever they change.
floor_set = _table(
    "floor_set",
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seen_at", sa.Double, nullable=False),
    sa.Column("floors", sa.Text, nullable=False),
)
