"""Requests with what was known of them before the model answered: what difficulty is learnt from and probes chosen."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import sqlalchemy as sa

from monitor.difficulty.features import LabelledRequest
from monitor.ledger.ledger import Asked, ProbeResult
from monitor.ledger.request_rows import FEATURE_COLUMNS, features_of
from monitor.ledger.schema import model_version, request
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT, UNRESOLVED

_ROWS_PER_FETCH = 5_000


def versions_but(connection: sa.Connection, exclude: Collection[str]) -> Sequence[tuple[int, str]]:
    """Id and name of every model version that is none of *exclude*, in order of first appearance."""
    rows = connection.execute(
        sa.select(model_version.c.id, model_version.c.model_version)
        .where(model_version.c.model_version.not_in({*exclude, UNRESOLVED}))
        .order_by(model_version.c.first_started_at, model_version.c.id)
    )
    return [(version_id, name) for version_id, name in rows]


def versions_named(connection: sa.Connection, name: str) -> Sequence[int]:
    """Ids of the model version *name* in all services and environments."""
    return connection.scalars(
        sa.select(model_version.c.id).where(model_version.c.model_version == name).order_by(model_version.c.id)
    ).all()


def count_labels(connection: sa.Connection, *, exclude: Collection[str]) -> int:
    """How many labelled requests the versions have that are none of *exclude*."""
    total = connection.scalar(
        sa.select(sa.func.sum(model_version.c.labelled)).where(
            model_version.c.model_version.not_in({*exclude, UNRESOLVED})
        )
    )
    return int(total or 0)


def select_history(
    connection: sa.Connection, version_id: int, version: str, *, limit: int | None, matured_before: float = math.inf
) -> Iterator[LabelledRequest]:
    """The latest labelled requests of one version, *limit* at most, in trace order."""
    latest = (
        sa.select(request.c.started_at, request.c.trace_id, request.c.success, *FEATURE_COLUMNS)
        .where(request.c.model_version_id == version_id)
        .where(request.c.success.is_not(None))
        .where(sa.true() if math.isinf(matured_before) else request.c.started_at < matured_before)
        .order_by(request.c.started_at.desc(), request.c.trace_id)
        .limit(limit)
        .subquery()
    )
    rows = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(
        sa.select(latest).order_by(latest.c.started_at, latest.c.trace_id)
    )
    for row in rows:
        yield LabelledRequest(features_of(row), version, failed=not row.success, started_at=row.started_at)


def select_asked(connection: sa.Connection) -> Iterator[Asked]:
    """Every request that names itself, by capability and name."""
    columns = request.c
    rows = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(
        sa.select(
            columns.capability,
            columns.item,
            # One description stands for all that a request was given.
            sa.func.max(columns.tool_set).label("tool_set"),
            sa.func.max(columns.prompt_family).label("prompt_family"),
            sa.func.max(columns.attributes).label("attributes"),
            sa.func.count().label("times"),
        )
        .where(columns.item.is_not(None))
        .group_by(columns.capability, columns.item)
        .order_by(columns.capability, columns.item)
    )
    for row in rows:
        yield Asked(features_of(row), row.times)


def select_probe_results(connection: sa.Connection) -> Iterator[ProbeResult]:
    """How versions did on what `reference` and `probes` environments asked: by probe, earliest version first."""
    columns, version = request.c, model_version.c
    first = sa.func.min(columns.started_at).label("first_started_at")
    rows = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(
        sa.select(
            columns.item,
            sa.func.max(columns.capability),
            version.model_version,
            first,
            sa.func.count(),
            sa.func.count(columns.success),
            sa.func.count(sa.case((columns.success.is_(False), 1))),
        )
        .join(model_version)
        .where(columns.item.is_not(None))
        .where(version.environment.in_((REFERENCE_ENVIRONMENT, PROBES_ENVIRONMENT)))
        .group_by(columns.item, version.model_version)
        .order_by(columns.item, first, version.model_version)
    )
    for row in rows:
        yield ProbeResult(*row)
