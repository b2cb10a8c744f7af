"""The query behind `SqlLedger.cases`: requests that established versions mostly pass and the candidate mostly fails."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from monitor.difficulty.tiers import Tier
from monitor.ledger.schema import model_version, request
from monitor.rollout.cases import Case, CaseKind, Cases
from monitor.rollout.cohort import Runs
from monitor.rollout.oncall import Signature
from monitor.rollout.tracker import Rollout
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT

_Conditions = tuple[sa.ColumnElement[bool], ...]

# Identifies a request by its item, or else by its prompt family; the prefix keeps the two apart.
# The queries group by its label, since PostgreSQL treats two equal expressions with parameters as different.
_KEY = sa.case(
    (request.c.item.is_not(None), sa.literal_column("'i'", sa.Text) + request.c.item),
    else_=sa.literal_column("'f'", sa.Text) + request.c.prompt_family,
)
PASSES = sa.func.count(sa.case((request.c.success.is_(True), 1)))
FAILURES = sa.func.count(sa.case((request.c.success.is_(False), 1)))
LABELLED = sa.func.count(request.c.success)
_FOR_EVER = 1e12  # Unix seconds


def select_cases(connection: sa.Connection, rollout: Rollout, *, limit: int, capability: str = "") -> Cases:
    """
    The cases of *rollout* in every tier, those that fail most often first.

    Args:
        connection: Connection to the ledger.
        rollout: The rollout.
        limit: Most cases to return.
        capability: Only cases of this capability; empty for all.
    """
    of_candidate = (*_of_candidate(rollout), request.c.capability == capability if capability else sa.true())
    chosen = _chosen(rollout, of_candidate).subquery()
    rows = connection.execute(
        sa.select(chosen, sa.func.count().over().label("total"))
        .order_by(chosen.c.failures.desc(), chosen.c.established_passes.desc(), chosen.c.key)
        .limit(limit)
    ).all()
    keys = [row.key for row in rows]
    failed = _latest(connection, keys, (request.c.success.is_(False), *of_candidate))
    passed = _latest(connection, keys, (request.c.success.is_(True), *_of_established(rollout)), first=rollout.baseline)
    return Cases(rows[0].total if rows else 0, [_case(row, failed[row.key], passed[row.key]) for row in rows])


def _chosen(rollout: Rollout, of_candidate: _Conditions) -> sa.Select[Any]:
    """Keys that the candidate mostly fails and the baseline mostly passes (without its runs: established versions)."""
    candidate = (
        sa.select(_KEY.label("key"), LABELLED.label("labelled"), FAILURES.label("failures"))
        .join(model_version)
        .where(*of_candidate, request.c.success.is_not(None))
        .group_by("key")
        .having(2 * FAILURES > LABELLED)
        .cte()
    )
    version = model_version.c
    is_baseline = (version.model_version == rollout.baseline) & (version.environment != REFERENCE_ENVIRONMENT)
    of_baseline = sa.func.count(sa.case((is_baseline, request.c.success)))
    passed_by_it = sa.func.count(sa.case((is_baseline & request.c.success.is_(True), 1)))
    established = (
        sa.select(
            _KEY.label("key"),
            sa.case((of_baseline > 0, of_baseline), else_=LABELLED).label("labelled"),
            sa.case((of_baseline > 0, passed_by_it), else_=PASSES).label("passes"),
        )
        .join(model_version)
        .where(*_of_established(rollout), request.c.success.is_not(None))
        .where(_KEY.in_(sa.select(candidate.c.key)))
        .group_by("key")
        .subquery()
    )
    return (
        sa.select(
            *candidate.c["key", "labelled", "failures"],
            established.c.labelled.label("established_labelled"),
            established.c.passes.label("established_passes"),
        )
        .join(established, established.c.key == candidate.c.key)
        .where(2 * established.c.passes > established.c.labelled)
    )


def _of_candidate(rollout: Rollout) -> _Conditions:
    return (
        model_version.c.service == rollout.service,
        model_version.c.environment == rollout.environment,
        model_version.c.model_version == rollout.candidate,
        request.c.started_at.between(rollout.started_at, rollout.ended_at or _FOR_EVER),
        _KEY.is_not(None),
    )


def _of_established(rollout: Rollout) -> _Conditions:
    """Runs of other versions of the same service, of its probes, and of the reference history of any service."""
    version = model_version.c
    own = (version.service == rollout.service) & version.environment.in_((rollout.environment, PROBES_ENVIRONMENT))
    is_established = own | (version.environment == REFERENCE_ENVIRONMENT)
    return is_established, version.model_version != rollout.candidate, _KEY.is_not(None)


def _latest(
    connection: sa.Connection, keys: list[str], conditions: _Conditions, *, first: str = ""
) -> dict[str, sa.Row[Any]]:
    """The latest run of each of *keys*; a run of the version *first* is preferred."""
    newest = sa.func.row_number().over(
        partition_by=_KEY,
        order_by=((model_version.c.model_version != first), request.c.started_at.desc(), request.c.trace_id),
    )
    ranked = (
        sa.select(
            _KEY.label("key"),
            *request.c["trace_id", "started_at", "capability", "failure_class"],
            sa.func.coalesce(request.c.declared_tier, request.c.tier).label("tier"),
            model_version.c.model_version,
            newest.label("place"),
        )
        .join(model_version)
        .where(*conditions)
        .where(_KEY.in_(keys))
        .subquery()
    )
    return {row.key: row for row in connection.execute(sa.select(ranked).where(ranked.c.place == 1))}


def _case(row: sa.Row[Any], failed: sa.Row[Any], passed: sa.Row[Any]) -> Case:
    return Case(
        name=row.key[1:],
        kind=CaseKind.REQUEST if row.key.startswith("i") else CaseKind.FAMILY,
        signature=Signature(Tier(failed.tier), failed.capability, failed.failure_class or ""),
        trace_id=failed.trace_id,
        started_at=failed.started_at,
        candidate=Runs(row.labelled, row.failures),
        established=Runs(row.established_labelled, row.established_labelled - row.established_passes),
        passed_trace_id=passed.trace_id,
        passed_by=passed.model_version,
    )
