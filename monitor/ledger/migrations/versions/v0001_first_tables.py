"""The ledger's first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _columns(kind: Any, *names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    """Columns that are alike but for their names."""
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def _create(table: str, key: list[str], *columns: Any) -> None:
    op.create_table(table, *columns, sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")))


def upgrade() -> None:
    """Make every table."""
    _create('calibration', ['id'],
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('frozen_at', sa.Double(), nullable=False),
    sa.Column('promoted_at', sa.Double(), nullable=True),
    sa.Column('history_labels', sa.BigInteger(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    )
    _create('counter', ['name', 'service', 'environment', 'model_version', 'tier', 'capability', 'detail'],
    *_columns(sa.Text(), "name", "service", "environment", "model_version", "tier", "capability", "detail"),
    sa.Column('value', sa.BigInteger(), nullable=False),
    )
    _create('dead_letter', ['topic', 'partition', 'offset'],
    sa.Column('topic', sa.Text(), nullable=False),
    sa.Column('partition', sa.Integer(), nullable=False),
    sa.Column('offset', sa.BigInteger(), nullable=False),
    *_columns(sa.Text(), "reason", "detail", "sha256"),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('received_at', sa.Double(), nullable=False),
    )
    _create('kafka_offset', ['topic', 'partition'],
    sa.Column('topic', sa.Text(), nullable=False),
    sa.Column('partition', sa.Integer(), nullable=False),
    sa.Column('next_offset', sa.BigInteger(), nullable=False),
    )
    _create('label_value', ['label', 'scope', 'value'],
    *_columns(sa.Text(), "label", "scope", "value"),
    )
    _create('model_version', ['id'],
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    *_columns(sa.Text(), "service", "environment", "model_version"),
    *_columns(sa.Double(), "first_started_at", "last_started_at"),
    *_columns(sa.BigInteger(), "requests", "labelled"),
    sa.UniqueConstraint('service', 'environment', 'model_version', name='uq_model_version')
    )
    _create('rollout', ['id'],
    *_columns(sa.Text(), "id", "service", "environment", "baseline", "candidate"),
    sa.Column('started_at', sa.Double(), nullable=False),
    sa.Column('ended_at', sa.Double(), nullable=True),
    sa.Column('end_reason', sa.Text(), server_default='', nullable=False),
    sa.Column('calibration_id', sa.Text(), nullable=False),
    sa.Column('verdict', sa.Text(), nullable=True),
    sa.Column('verdict_at', sa.Double(), nullable=True),
    )
    _create('request', ['trace_id'],
    sa.Column('trace_id', sa.Text(), nullable=False),
    sa.Column('model_version_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('started_at', sa.Double(), nullable=True),
    sa.Column('received_at', sa.Double(), nullable=False),
    *_columns(sa.Text(), "capability", "item", "tool_set", "prompt_family", "attributes", "counted_tier", "tier", nullable=True),
    *_columns(sa.Double(), "difficulty_logit", "difficulty_variance", nullable=True),
    sa.Column('is_known', sa.Boolean(), nullable=True),
    sa.Column('bin', sa.Integer(), nullable=True),
    sa.Column('calibration_id', sa.Text(), nullable=True),
    sa.Column('success', sa.Boolean(), nullable=True),
    *_columns(sa.Text(), "failure_class", "outcome_source", nullable=True),
    *_columns(sa.Double(), "outcome_score", "labelled_at", nullable=True),
    sa.Column('outcomes', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['model_version_id'], ['model_version.id'], name=op.f('fk_request_model_version_id')),
    )
    op.create_index('ix_request_model_version_id_started_at', 'request', ['model_version_id', 'started_at'], unique=False)
    _create('verdict_change', ['rollout_id', 'number'],
    sa.Column('rollout_id', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['rollout_id'], ['rollout.id'], name=op.f('fk_verdict_change_rollout_id')),
    )
    _create('waiting_trace', ['trace_id'],
    sa.Column('trace_id', sa.Text(), nullable=False),
    *_columns(sa.Double(), "first_received_at", "last_received_at"),
    sa.Column('root_ended', sa.Boolean(), nullable=False),
    sa.Column('span_count', sa.Integer(), nullable=False),
    )
    _create('waiting_span', ['trace_id', 'span_id'],
    *_columns(sa.Text(), "trace_id", "span_id", "body"),
    )
