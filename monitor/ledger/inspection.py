"""Reads facts of a ledger without changing anything in it, not even its schema."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import sqlalchemy as sa

from monitor.clock import Clock
from monitor.difficulty.tiers import HARD_TIER, Tier
from monitor.ingest.source import TopicPartition
from monitor.ledger.engine import open_engine, reading, revision_of
from monitor.ledger.schema import REVISION, kafka_offset, model_version, request, stratum
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT

_LATEST_LABELS = 5_000
_MAY_INSERT = sa.text(
    "SELECT NOT pg_is_in_recovery() AND coalesce(has_table_privilege(to_regclass('request'), 'INSERT'), true)"
)
_QUANTILE = 0.95
_Label = tuple[str | None, bool, float, float | None]
"""Source, success, and when its request started and it came, Unix seconds."""


class SchemaVersion(NamedTuple):
    """Revision of the tables that a ledger has (None: it has none), and the one that this Cliffwatch works with."""

    found: str | None
    wanted: str | None

    @property
    def is_current(self) -> bool:
        return self.found == self.wanted


@dataclass(frozen=True, slots=True)
class LabelFlow:
    """
    How labels come to requests that were served; reference history is left out.

    Attributes:
        requests: Requests counted.
        labelled: Those with an outcome.
        sources: Labels among the latest by who gave them.
        delay_seconds: Age of requests at which 95 % of their latest labels had come, by outcome; empty without any.
        without_trace: Outcomes whose trace never came.
    """

    requests: int
    labelled: int
    sources: Mapping[str, int]
    delay_seconds: Mapping[str, float]
    without_trace: int


NO_LABELS = LabelFlow(
    requests=0, labelled=0, sources=MappingProxyType({}), delay_seconds=MappingProxyType({}), without_trace=0
)
"""Of a ledger that is not there yet."""


class TierCoverage(NamedTuple):
    """
    How many requests of one service have a tier, by what gives it; reference history and probes are left out.

    Attributes:
        known: Requests that the calibration which tagged them knows.
        declared: Requests with a declared tier.
        both: Those that have a learnt tier too.
        agreeing: Those whose declared and learnt tiers are both hard or both easier.
        labels: Requests with an outcome by capability class.
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
    A ledger that answers.

    Attributes:
        schema: Its tables.
        write_problem: Why it cannot be written; empty where it can.
        free_bytes: Room on the disk of a SQLite file, or None.
        clock_skew_seconds: How far the database's clock is before ours, or None for a file.
        next_offsets: What it holds of each partition; empty where its schema is not current.
        labels: How labels come, or None where its schema is not current.
        tiers: What gives the requests of each service a tier; empty where its schema is not current.
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
        return _schema_of(connection)


def inspect_ledger(url: str, clock: Clock) -> LedgerFacts:
    """
    What is to be known of the ledger at *url*, which is there.

    Args:
        url: SQLAlchemy URL.
        clock: What the database's clock is compared with.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
    """
    with _engine(url) as engine:
        with reading(engine) as connection:
            schema = _schema_of(connection)
            skew = _clock_skew_seconds(connection, clock)
            offsets = _offsets(connection) if schema.is_current else None
            labels = _label_flow(connection) if schema.is_current else None
            tiers = _tier_coverage(connection) if schema.is_current else ()
        return LedgerFacts(
            schema,
            write_problem=_write_problem(engine),
            free_bytes=_free_bytes(engine.url),
            clock_skew_seconds=skew,
            next_offsets=offsets,
            labels=labels,
            tiers=tiers,
        )


@contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _schema_of(connection: sa.Connection) -> SchemaVersion:
    return SchemaVersion(revision_of(connection), REVISION)


def _offsets(connection: sa.Connection) -> Mapping[TopicPartition, int]:
    rows = connection.execute(sa.select(kafka_offset))
    return {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}


def _tier_coverage(connection: sa.Connection) -> Sequence[TierCoverage]:
    cells, has_tier = stratum.c, stratum.c.declared_tier != ""
    has_both = sa.and_(has_tier, cells.tier != Tier.UNTIERED.value)
    agree = cells.tier.in_(HARD_TIER) == cells.declared_tier.in_(HARD_TIER)
    counts = (
        sa.func.sum(sa.case((condition, cells.requests), else_=0))
        for condition in (sa.true(), cells.is_known, has_tier, has_both, sa.and_(has_both, agree))
    )
    labels: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for service, capability, labelled in connection.execute(
        _by_service(cells.capability, sa.func.sum(cells.labelled)).group_by(cells.capability)
    ):
        labels[service][capability] = int(labelled)
    rows = connection.execute(_by_service(*counts).order_by(model_version.c.service))
    covered = []
    for service, *sums in rows:
        requests, known, declared, both, agreeing = map(int, sums)
        covered.append(TierCoverage(service, requests, known, declared, both, agreeing, labels[service]))
    return covered


def _by_service(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return (
        sa.select(model_version.c.service, *columns)
        .join_from(stratum, model_version, stratum.c.model_version_id == model_version.c.id)
        .where(model_version.c.environment.not_in((REFERENCE_ENVIRONMENT, PROBES_ENVIRONMENT)))
        .group_by(model_version.c.service)
    )


def _label_flow(connection: sa.Connection) -> LabelFlow:
    served = model_version.c.environment != REFERENCE_ENVIRONMENT
    totals = connection.execute(
        sa.select(sa.func.sum(model_version.c.requests), sa.func.sum(model_version.c.labelled)).where(served)
    ).one()
    ids = connection.scalars(
        sa.select(model_version.c.id).where(served).order_by(model_version.c.last_started_at.desc()).limit(2)
    ).all()
    latest = [label for version in ids for label in _latest_labels(connection, version)]
    return LabelFlow(
        requests=int(totals[0] or 0),
        labelled=int(totals[1] or 0),
        sources=Counter(source or "unknown" for source, *_ in latest),
        delay_seconds=_delays(latest),
        without_trace=connection.scalar(
            sa.select(sa.func.count()).select_from(request).where(request.c.model_version_id.is_(None))
        )
        or 0,
    )


def _delays(labels: Iterable[_Label]) -> Mapping[str, float]:
    """Age at which most of *labels* had come, by outcome: failures are often labelled later than successes."""
    ages: dict[str, list[float]] = defaultdict(list)
    for _, success, started_at, labelled_at in labels:
        if labelled_at is not None:
            ages["successes" if success else "failures"].append(labelled_at - started_at)
    return {outcome: sorted(of)[int(_QUANTILE * (len(of) - 1))] for outcome, of in sorted(ages.items())}


def _latest_labels(connection: sa.Connection, version: int) -> Sequence[_Label]:
    rows = connection.execute(
        sa.select(request.c.outcome_source, request.c.success, request.c.started_at, request.c.labelled_at)
        .where(request.c.model_version_id == version)
        .where(request.c.success.is_not(None))
        .order_by(request.c.started_at.desc())
        .limit(_LATEST_LABELS)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _clock_skew_seconds(connection: sa.Connection, clock: Clock) -> float | None:
    if connection.dialect.name != "postgresql":
        return None
    before = clock.time()
    database_time = connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())"))
    return float(database_time) - (before + clock.time()) / 2


def _write_problem(engine: sa.Engine) -> str:
    try:
        with engine.connect() as connection, connection.begin() as transaction:  # IMMEDIATE on SQLite: needs the right
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
