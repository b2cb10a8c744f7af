"""Reads labelled requests and their features, from which difficulty is learnt and probes are chosen."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.tiers import Tier
from monitor.ledger.cases import FAILURES, LABELLED
from monitor.ledger.ledger import ProbeResult
from monitor.ledger.request_rows import FEATURE_COLUMNS, features_of
from monitor.ledger.schema import model_version, request
from monitor.ledger.transactions import Transactions
from monitor.trace.model import PROBES_ENVIRONMENT, TEACHING_ENVIRONMENTS, UNRESOLVED

_ROWS_PER_FETCH = 5_000


class HistoryReader(Transactions):
    """Reads labelled history, and the results of probes."""

    def history(self, *, exclude: Collection[str] = (), limit: int | None = None) -> Iterator[LabelledRequest]:
        """
        Labelled requests to learn difficulty from: versions in order of first appearance, each in trace order.

        Args:
            exclude: Model versions under comparison, left out in every service and environment.
            limit: Most requests of each version, the latest ones; None for all.
        """
        version = model_version.c
        select = sa.select(version.id, version.model_version).where(_is_none_of(exclude))
        with self._reading() as connection:
            versions = connection.execute(select.order_by(version.first_started_at, version.id)).all()
        for version_id, name in versions:
            with self._reading() as connection:
                yield from _labelled(connection, version_id, name, limit=limit)

    def labels_of(self, version: str, *, matured_before: float, limit: int) -> Sequence[LabelledRequest]:
        """
        The latest labelled requests of a model version in all services and environments, in trace order.

        Args:
            version: Any model version, including one under comparison.
            matured_before: Only requests that started before this, Unix seconds: labels of younger ones are biased.
            limit: Most requests to return.
        """
        ids = sa.select(model_version.c.id).where(model_version.c.model_version == version)
        labels: list[LabelledRequest] = []
        with self._reading() as connection:
            for version_id in connection.scalars(ids.order_by(model_version.c.id)).all():
                labels += _labelled(connection, version_id, version, limit=limit, matured_before=matured_before)
        return sorted(labels, key=lambda label: label.started_at)[-limit:]

    def history_labels(self, *, exclude: Collection[str] = ()) -> int:
        """Number of labelled requests that `history` returns without a limit."""
        with self._reading() as connection:
            total = connection.scalar(sa.select(sa.func.sum(model_version.c.labelled)).where(_is_none_of(exclude)))
        return int(min(max(total or 0, 0), 10**15))  # a corrupt row can make the sum infinite

    def items(self) -> Iterator[tuple[RequestFeatures, int]]:
        """Every item by capability and name, with the number of its requests in all environments."""
        columns = request.c
        # If an item was described in several ways, the greatest value of each column stands for all.
        features = (sa.func.max(columns[name]).label(name) for name in ("tool_set", "prompt_family", "attributes"))
        key = (columns.capability, columns.item)
        items = sa.select(*key, *features, sa.func.count().label("times")).where(columns.item.is_not(None))
        for row in self._rows(items.group_by(*key).order_by(*key)):
            yield features_of(row), row.times

    def probe_results(self) -> Iterator[ProbeResult]:
        """Results of each version on each item of the environments `reference` and `probes`, earliest version first."""
        columns, version = request.c, model_version.c
        first = sa.func.min(columns.started_at).label("first_started_at")
        results = (
            sa.select(columns.item, sa.func.max(columns.capability), version.model_version, first)
            .add_columns(sa.func.count(), LABELLED, FAILURES)
            .join(model_version)
            .where(columns.item.is_not(None))
            .where(version.environment.in_(TEACHING_ENVIRONMENTS))
            .group_by(columns.item, version.model_version)
            .order_by(columns.item, first, version.model_version)
        )
        for row in self._rows(results):
            yield ProbeResult(*row)

    def frontier_solved(self) -> Mapping[tuple[str, str, str], float]:
        """
        When each version last solved a probe of the frontier, by service, version and capability; Unix seconds.

        A version solves a probe if it is the first to pass it after runs that failed, runs of `reference` included. The
        time is that of the label if it has one, else that of the run.
        """
        columns, version = request.c, model_version.c
        passed_at, failed_at = (
            sa.func.min(sa.case((columns.success.is_(success), columns.started_at))) for success in (True, False)
        )
        first = (
            sa.select(columns.item, passed_at.label("passed_at"))
            .join(model_version)
            .where(version.environment.in_(TEACHING_ENVIRONMENTS))
            .group_by(columns.item)
            .having(failed_at < passed_at)
            .subquery()
        )
        key = (version.service, version.model_version, columns.capability)
        solved = (
            sa.select(*key, sa.func.max(sa.func.coalesce(columns.labelled_at, columns.started_at)))
            .join(model_version)
            .join(first, (first.c.item == columns.item) & (first.c.passed_at == columns.started_at))
            .where(version.environment == PROBES_ENVIRONMENT, columns.success.is_(True))
            .where(columns.counted_tier == Tier.FRONTIER)
            .group_by(*key)
        )
        return {(service, name, capability): at for service, name, capability, at in self._rows(solved)}

    def _rows(self, query: sa.Select[Any]) -> Iterator[Any]:
        with self._reading() as connection:
            yield from connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(query)


def _is_none_of(names: Collection[str]) -> sa.ColumnElement[bool]:
    return model_version.c.model_version.not_in({*names, UNRESOLVED})


def _labelled(
    connection: sa.Connection, version_id: int, version: str, *, limit: int | None, matured_before: float = math.inf
) -> Iterator[LabelledRequest]:
    """The latest labelled requests of one version, at most *limit*, in trace order."""
    latest = (
        sa.select(request.c.started_at, request.c.trace_id, request.c.success, *FEATURE_COLUMNS)
        .where(request.c.model_version_id == version_id)
        .where(request.c.success.is_not(None))
        .where(sa.true() if math.isinf(matured_before) else request.c.started_at < matured_before)
        .order_by(request.c.started_at.desc(), request.c.trace_id)
        .limit(limit)
        .subquery()
    )
    in_order = sa.select(latest).order_by(latest.c.started_at, latest.c.trace_id)
    for row in connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(in_order):
        yield LabelledRequest(features_of(row), version, failed=not row.success, started_at=row.started_at)
