"""The ledger's first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table('calibration',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('frozen_at', sa.Double(), nullable=False),
    sa.Column('promoted_at', sa.Double(), nullable=True),
    sa.Column('history_labels', sa.BigInteger(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_calibration'))
    )
    op.create_table('counter',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('service', sa.Text(), nullable=False),
    sa.Column('environment', sa.Text(), nullable=False),
    sa.Column('model_version', sa.Text(), nullable=False),
    sa.Column('tier', sa.Text(), nullable=False),
    sa.Column('capability', sa.Text(), nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.Column('value', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('name', 'service', 'environment', 'model_version', 'tier', 'capability', 'detail', name=op.f('pk_counter'))
    )
    op.create_table('dead_letter',
    sa.Column('topic', sa.Text(), nullable=False),
    sa.Column('partition', sa.Integer(), nullable=False),
    sa.Column('offset', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.Column('sha256', sa.Text(), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('received_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('topic', 'partition', 'offset', name=op.f('pk_dead_letter'))
    )
    op.create_table('kafka_offset',
    sa.Column('topic', sa.Text(), nullable=False),
    sa.Column('partition', sa.Integer(), nullable=False),
    sa.Column('next_offset', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('topic', 'partition', name=op.f('pk_kafka_offset'))
    )
    op.create_table('label_value',
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('scope', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('label', 'scope', 'value', name=op.f('pk_label_value'))
    )
    op.create_table('model_version',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('service', sa.Text(), nullable=False),
    sa.Column('environment', sa.Text(), nullable=False),
    sa.Column('model_version', sa.Text(), nullable=False),
    sa.Column('first_started_at', sa.Double(), nullable=False),
    sa.Column('last_started_at', sa.Double(), nullable=False),
    sa.Column('requests', sa.BigInteger(), nullable=False),
    sa.Column('labelled', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_model_version')),
    sa.UniqueConstraint('service', 'environment', 'model_version', name='uq_model_version')
    )
    op.create_table('rollout',
    sa.Column('id', sa.Text(), nullable=False),
    sa.Column('service', sa.Text(), nullable=False),
    sa.Column('environment', sa.Text(), nullable=False),
    sa.Column('baseline', sa.Text(), nullable=False),
    sa.Column('candidate', sa.Text(), nullable=False),
    sa.Column('started_at', sa.Double(), nullable=False),
    sa.Column('ended_at', sa.Double(), nullable=True),
    sa.Column('end_reason', sa.Text(), server_default='', nullable=False),
    sa.Column('calibration_id', sa.Text(), nullable=False),
    sa.Column('verdict', sa.Text(), nullable=True),
    sa.Column('verdict_at', sa.Double(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rollout'))
    )
    op.create_table('request',
    sa.Column('trace_id', sa.Text(), nullable=False),
    sa.Column('model_version_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('started_at', sa.Double(), nullable=True),
    sa.Column('received_at', sa.Double(), nullable=False),
    sa.Column('capability', sa.Text(), nullable=True),
    sa.Column('item', sa.Text(), nullable=True),
    sa.Column('tool_set', sa.Text(), nullable=True),
    sa.Column('prompt_family', sa.Text(), nullable=True),
    sa.Column('attributes', sa.Text(), nullable=True),
    sa.Column('counted_tier', sa.Text(), nullable=True),
    sa.Column('tier', sa.Text(), nullable=True),
    sa.Column('difficulty_logit', sa.Double(), nullable=True),
    sa.Column('difficulty_variance', sa.Double(), nullable=True),
    sa.Column('is_known', sa.Boolean(), nullable=True),
    sa.Column('bin', sa.Integer(), nullable=True),
    sa.Column('calibration_id', sa.Text(), nullable=True),
    sa.Column('success', sa.Boolean(), nullable=True),
    sa.Column('failure_class', sa.Text(), nullable=True),
    sa.Column('outcome_source', sa.Text(), nullable=True),
    sa.Column('outcome_score', sa.Double(), nullable=True),
    sa.Column('labelled_at', sa.Double(), nullable=True),
    sa.Column('outcomes', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['model_version_id'], ['model_version.id'], name=op.f('fk_request_model_version_id')),
    sa.PrimaryKeyConstraint('trace_id', name=op.f('pk_request'))
    )
    op.create_index('ix_request_model_version_id_started_at', 'request', ['model_version_id', 'started_at'], unique=False)
    op.create_table('verdict_change',
    sa.Column('rollout_id', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['rollout_id'], ['rollout.id'], name=op.f('fk_verdict_change_rollout_id')),
    sa.PrimaryKeyConstraint('rollout_id', 'number', name=op.f('pk_verdict_change'))
    )
    op.create_table('waiting_trace',
    sa.Column('trace_id', sa.Text(), nullable=False),
    sa.Column('first_received_at', sa.Double(), nullable=False),
    sa.Column('last_received_at', sa.Double(), nullable=False),
    sa.Column('root_ended', sa.Boolean(), nullable=False),
    sa.Column('span_count', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('trace_id', name=op.f('pk_waiting_trace'))
    )
    op.create_table('waiting_span',
    sa.Column('trace_id', sa.Text(), nullable=False),
    sa.Column('span_id', sa.Text(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('trace_id', 'span_id', name=op.f('pk_waiting_span'))
    )
