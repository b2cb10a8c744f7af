"""Inspects a ledger without changing it, not even its schema."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import sqlalchemy as sa

from monitor.clock import Clock
from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.ingest.source import TopicPartition
from monitor.labels.delay import LabelDelay, label_delays
from monitor.ledger.activity import timed_labels
from monitor.ledger.engine import open_engine, reading, revision_of
from monitor.ledger.recording import next_offsets
from monitor.ledger.schema import REVISION, model_version, request, stratum
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT, TEACHING_ENVIRONMENTS

_MOST_SERVICES = 20
_MAY_INSERT = sa.text(
    "SELECT NOT pg_is_in_recovery() AND coalesce(has_table_privilege(to_regclass('request'), 'INSERT'), true)"
)


class SchemaVersion(NamedTuple):
    """Revision of a ledger's tables (None: it has no tables yet), and the revision that this Cliffwatch needs."""

    found: str | None
    wanted: str | None

    @property
    def is_current(self) -> bool:
        return self.found == self.wanted


@dataclass(frozen=True, slots=True)
class LabelFlow:
    """
    How many labels requests get, from whom and how late; reference history is left out.

    Attributes:
        requests: Requests counted.
        labelled: Requests with an outcome.
        sources: A sample of the labels of the last weeks, by source.
        delays: Delays of labels by service, for the services with the latest traffic.
        without_trace: Outcomes whose trace never came.
    """

    requests: int = 0
    labelled: int = 0
    sources: Mapping[str, int] = field(default_factory=dict)
    delays: Mapping[str, Sequence[LabelDelay]] = field(default_factory=dict)
    without_trace: int = 0


NO_LABELS = LabelFlow()
"""For a ledger that does not exist yet."""


class TierCoverage(NamedTuple):
    """
    How many requests of one service have learnt and declared tiers; reference history and probes are left out.

    Attributes:
        known: Requests that their calibration knows.
        declared: Requests with a declared tier.
        both: Requests with a declared and a learnt tier.
        agreeing: Requests whose declared and learnt tiers are both hard, or both not.
        labels: Requests with an outcome, by capability.
    """

    service: str
    requests: int
    known: int
    declared: int
    both: int
    agreeing: int
    labels: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """
    State of a ledger that can be reached.

    Attributes:
        schema: Revision of its tables.
        write_problem: Why it cannot be written; empty if it can.
        free_bytes: Free space on the disk of a SQLite file; None for PostgreSQL.
        clock_skew_seconds: How far the database's clock is ahead of ours; None for a SQLite file.
        next_offsets: Next offset of each partition; None if the schema is not current.
        labels: Number and delay of labels; None if the schema is not current.
        tiers: Requests with tiers by service; empty if the schema is not current.
    """

    schema: SchemaVersion
    write_problem: str = ""
    free_bytes: int | None = None
    clock_skew_seconds: float | None = None
    next_offsets: Mapping[TopicPartition, int] | None = None
    labels: LabelFlow | None = None
    tiers: Sequence[TierCoverage] = ()


def schema_version(url: str) -> SchemaVersion:
    """
    The schema of the ledger at *url*.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
    """
    with _engine(url) as engine, reading(engine) as connection:
        return SchemaVersion(revision_of(connection), REVISION)


def inspect_ledger(url: str, clock: Clock) -> LedgerFacts:
    """
    Inspect the ledger at *url*, which must exist.

    Args:
        url: SQLAlchemy URL.
        clock: Compared with the database's clock.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
    """
    with _engine(url) as engine:
        with reading(engine) as connection:
            schema = SchemaVersion(revision_of(connection), REVISION)
            facts = LedgerFacts(schema, clock_skew_seconds=_clock_skew_seconds(connection, clock))
            if facts.schema.is_current:
                labels, tiers = _label_flow(connection, now=clock.time()), _tier_coverage(connection)
                facts = replace(facts, next_offsets=next_offsets(connection), labels=labels, tiers=tiers)
        return replace(facts, write_problem=_write_problem(engine), free_bytes=_free_bytes(engine.url))


@contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _tier_coverage(connection: sa.Connection) -> Sequence[TierCoverage]:
    cells, has_tier = stratum.c, stratum.c.declared_tier != ""
    has_both = sa.and_(has_tier, cells.tier != Tier.UNTIERED.value)
    agree = cells.tier.in_(HARD_TIER) == cells.declared_tier.in_(HARD_TIER)
    counts = (
        sa.func.sum(sa.case((condition, cells.requests), else_=0))
        for condition in (sa.true(), cells.is_known, has_tier, has_both, sa.and_(has_both, agree))
    )
    labels: defaultdict[str, dict[str, int]] = defaultdict(dict)
    by_class = _by_service(cells.capability, sa.func.sum(cells.labelled)).group_by(cells.capability)
    for service, capability, labelled in connection.execute(by_class):
        labels[service][capability] = int(labelled)
    rows = connection.execute(_by_service(*counts).order_by(model_version.c.service))
    return [TierCoverage._make((service, *map(int, sums), labels[service])) for service, *sums in rows]


def _by_service(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return (
        sa.select(model_version.c.service, *columns)
        .join_from(stratum, model_version, stratum.c.model_version_id == model_version.c.id)
        .where(model_version.c.environment.not_in(TEACHING_ENVIRONMENTS))
        .group_by(model_version.c.service)
    )


def _label_flow(connection: sa.Connection, *, now: float) -> LabelFlow:
    version, is_served = model_version.c, model_version.c.environment != REFERENCE_ENVIRONMENT
    totals = sa.select(sa.func.sum(version.requests), sa.func.sum(version.labelled)).where(is_served)
    requests, labelled = (int(total or 0) for total in connection.execute(totals).one())
    live = (
        sa.select(version.service, version.environment)
        .where(is_served, version.environment != PROBES_ENVIRONMENT)
        .group_by(version.service, version.environment)
        .order_by(sa.func.max(version.last_started_at).desc())
        .limit(_MOST_SERVICES)
    )
    labels = {
        f"{service}, {environment}": list(timed_labels(connection, service, environment, now=now))
        for service, environment in sorted(connection.execute(live).all())
    }
    orphans = sa.select(sa.func.count()).select_from(request).where(request.c.model_version_id.is_(None))
    return LabelFlow(
        requests=requests,
        labelled=labelled,
        sources=Counter(source for of in labels.values() for source, *_ in of),
        delays={name: label_delays(of) for name, of in labels.items()},
        without_trace=connection.scalar(orphans) or 0,
    )


def _clock_skew_seconds(connection: sa.Connection, clock: Clock) -> float | None:
    if connection.dialect.name != "postgresql":
        return None
    before = clock.time()
    database_time = connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())"))
    return float(database_time) - (before + clock.time()) / 2


def _write_problem(engine: sa.Engine) -> str:
    try:
        with engine.connect() as connection, connection.begin() as transaction:  # BEGIN IMMEDIATE needs write access
            if engine.dialect.name == "postgresql" and not connection.scalar(_MAY_INSERT):
                return "the user may not insert into its tables"
            transaction.rollback()
    except sa.exc.DBAPIError as error:
        return str(error.orig).strip().partition("\n")[0]
    return ""


def _free_bytes(url: sa.URL) -> int | None:
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return shutil.disk_usage(Path(url.database).resolve().parent).free
