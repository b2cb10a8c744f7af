"""The ledger on SQLite or PostgreSQL, through SQLAlchemy Core; one public method is one transaction."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql, sqlite

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.tiers import Tier
from monitor.errors import LedgerUnavailable
from monitor.ingest.source import TopicPartition
from monitor.ledger.case_query import select_cases
from monitor.ledger.engine import ledger_errors, migrate, open_engine
from monitor.ledger.labels import DialectInsert, LabelBudget
from monitor.ledger.ledger import (
    Asked,
    Batch,
    CalibrationRecord,
    CounterKey,
    CounterName,
    FailureCounts,
    ProbeResult,
    Recorded,
    RolloutRecord,
    WaitingSpans,
)
from monitor.ledger.recording import RaceLost, Recorder, tag_columns
from monitor.ledger.schema import (
    calibration as calibration_table,
)
from monitor.ledger.schema import (
    counter,
    floor_set,
    kafka_offset,
    model_version,
    request,
    verdict_change,
    waiting_trace,
)
from monitor.ledger.schema import (
    rollout as rollout_table,
)
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.waiting import due_spans, spans_of
from monitor.rollout.cases import Cases
from monitor.rollout.cohort import Arm, Cell, Cohort
from monitor.rollout.commitment import FloorSet, floors_in_force
from monitor.rollout.oncall import Signature
from monitor.rollout.policy import Floor
from monitor.rollout.tracker import Rollout, VersionActivity
from monitor.rollout.verdict import Verdict
from monitor.trace.model import PROBES_ENVIRONMENT, REFERENCE_ENVIRONMENT, TraceId
from monitor.trace.settings import AssemblySettings, OutcomeSettings

_INSERTS: Mapping[str, DialectInsert] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_REVIEW_LOCK = 7_306_918_452_114  # an arbitrary number that all replicas agree on
_VERDICT = TypeAdapter(Verdict)
_FLOORS = TypeAdapter(tuple[Floor, ...])
_ROWS_PER_FETCH = 5_000
_MOST_SIGNATURES = 1_000
_RACES_PER_BATCH = 10  # each lost race shows rows that the next try joins, so even two are rare
_LATER_VERSIONS_WATCHED = 5


class _NamesOverCap(Exception):
    """A name could become a label value too many: take back what was written."""


class SqlLedger:
    """
    The `Ledger` in a SQL database.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL.
        settings: Caps on label values.
        outcomes: Which of several verdicts on a trace stands.

    Raises:
        ConfigInvalid: *url* cannot be used.
        LedgerUnavailable: the database cannot be reached.
        LedgerInvalid: it was written by a newer version.
    """

    def __init__(
        self, url: str, settings: LedgerSettings | None = None, *, outcomes: OutcomeSettings | None = None
    ) -> None:
        self._engine = open_engine(url)
        migrate(self._engine)
        self._insert = _INSERTS[self._engine.dialect.name]
        self._settings = settings or LedgerSettings()
        self._recorder = Recorder(self._insert, self._settings, outcomes or OutcomeSettings())

    def offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Next offset of each partition that the ledger has seen."""
        topics = {partition.topic for partition in partitions}
        with self._reading() as connection:
            rows = connection.execute(sa.select(kafka_offset).where(kafka_offset.c.topic.in_(topics))).all()
        known = {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}
        return {partition: known[partition] for partition in partitions if partition in known}

    def record(self, batch: Batch) -> Recorded:
        """Write *batch* in one transaction; `OffsetFenced` when another owner moved one of the offsets."""
        for _ in range(_RACES_PER_BATCH):
            try:
                with self._writing() as connection:
                    return self._recorder.record(connection, batch)
            except RaceLost:
                self._recorder.forget()
            except BaseException:
                self._recorder.forget()
                raise
        raise LedgerUnavailable(f"Other replicas wrote the same traces first, {_RACES_PER_BATCH} times in a row.")

    def due_spans(self, settings: AssemblySettings, *, now: float, max_spans: int) -> Sequence[WaitingSpans]:
        """Spans of traces that are complete at *now* (Unix seconds) or waited long enough, the longest first."""
        with self._reading() as connection:
            return due_spans(connection, settings, now=now, max_spans=max_spans)

    def spans_of(self, trace_ids: Collection[TraceId]) -> Sequence[WaitingSpans]:
        """Spans that wait for these traces, complete or not; traces without any are left out."""
        with self._reading() as connection:
            return spans_of(connection, sorted(trace_ids))

    def waiting_spans(self) -> int:
        """Spans that wait for their trace to be complete."""
        with self._reading() as connection:
            return connection.scalar(sa.select(sa.func.sum(waiting_trace.c.span_count))) or 0

    def counters(self) -> Mapping[CounterKey, int]:
        """Every counter as committed."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(counter)).all()
        return {CounterKey(CounterName(row[0]), *row[1:7]): row.value for row in rows}

    def activity(self) -> Sequence[VersionActivity]:
        """What is known of each model version of each service and environment, oldest first."""
        with self._reading() as connection:
            versions = connection.execute(
                sa.select(model_version).order_by(model_version.c.first_started_at, model_version.c.id)
            ).all()
            return [
                VersionActivity(
                    service=row.service,
                    environment=row.environment,
                    model_version=row.model_version,
                    first_started_at=row.first_started_at,
                    last_started_at=row.last_started_at,
                    requests=row.requests,
                    requests_since=_requests_since(connection, row, versions),
                )
                for row in versions
            ]

    def history(self, *, exclude: Collection[str] = (), limit: int | None = None) -> Iterator[LabelledRequest]:
        """Labelled requests that may teach difficulty: versions in order of first appearance, each in trace order."""
        with self._reading() as connection:
            versions = connection.execute(
                sa.select(model_version.c.id, model_version.c.model_version)
                .where(model_version.c.model_version.not_in(exclude))
                .order_by(model_version.c.first_started_at, model_version.c.id)
            ).all()
        for version in versions:
            yield from self._history_of(version.id, version.model_version, limit)

    def labels_of(self, model_version_name: str, *, matured_before: float, limit: int) -> Sequence[LabelledRequest]:
        """The latest labelled requests of a model version in all services and environments, in trace order."""
        with self._reading() as connection:
            ids = connection.scalars(
                sa.select(model_version.c.id)
                .where(model_version.c.model_version == model_version_name)
                .order_by(model_version.c.id)
            ).all()
        labels = [
            label
            for version_id in ids
            for label in self._history_of(version_id, model_version_name, limit, matured_before=matured_before)
        ]
        return sorted(labels, key=lambda label: label.started_at)[-limit:]

    def history_labels(self, *, exclude: Collection[str] = ()) -> int:
        """How many labelled requests `history` would give."""
        with self._reading() as connection:
            total = connection.scalar(
                sa.select(sa.func.sum(model_version.c.labelled)).where(model_version.c.model_version.not_in(exclude))
            )
        return int(total or 0)

    def cohort(self, rollout: Rollout, *, matured_before: float) -> Cohort:
        """Both arms of *rollout*: requests that started before *matured_before* (Unix seconds), by cell."""
        with self._reading() as connection:
            return Cohort(
                baseline=_arm(connection, rollout, rollout.baseline, matured_before),
                candidate=_arm(connection, rollout, rollout.candidate, matured_before),
                calibration_id=rollout.calibration_id,
            )

    def failure_classes(self, rollout: Rollout, *, matured_before: float) -> tuple[FailureCounts, FailureCounts]:
        """Failures of baseline and candidate by whole signature, the most frequent ones."""
        with self._reading() as connection:
            return (
                _failure_classes(connection, rollout, rollout.baseline, matured_before),
                _failure_classes(connection, rollout, rollout.candidate, matured_before),
            )

    def cases(self, rollout: Rollout, *, limit: int) -> Cases:
        """What established versions passed and the candidate of *rollout* fails in the hard tier, *limit* at most."""
        with self._reading() as connection:
            return select_cases(connection, rollout, limit=limit)

    def rollouts(self) -> Sequence[RolloutRecord]:
        """Every rollout, oldest first, with its latest verdict."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(rollout_table).order_by(rollout_table.c.started_at, rollout_table.c.id)
            ).all()
            changes = connection.execute(
                sa.select(verdict_change).order_by(verdict_change.c.rollout_id, verdict_change.c.number)
            ).all()
            seen = _floor_sets(connection)
        return [
            RolloutRecord(
                rollout=_rollout(row),
                verdict=None if row.verdict is None else _VERDICT.validate_json(row.verdict),
                changes=[(change.at, change.state) for change in changes if change.rollout_id == row.id],
                floors=floors_in_force(seen, _rollout(row)),
            )
            for row in rows
        ]

    def see_floors(self, floors: Sequence[Floor], *, at: float) -> None:
        """Keep the floors of the config with the time (Unix seconds) from which on they were seen, if they changed."""
        with self._writing() as connection:
            seen = _floor_sets(connection)
            if not seen or tuple(seen[-1].floors) != tuple(floors):
                connection.execute(
                    sa.insert(floor_set),
                    {"number": len(seen), "seen_at": at, "floors": _FLOORS.dump_json(tuple(floors)).decode()},
                )

    def start_rollout(self, rollout: Rollout) -> None:
        """Keep a new rollout; one that is there already is left as it is."""
        with self._writing() as connection:
            self._start_rollout(connection, rollout)

    def announce_rollout(self, rollout: Rollout) -> bool:
        """Keep a rollout whose names no request bore yet; False, and nothing kept, where a name is over its cap."""
        try:
            with self._writing() as connection:
                self._admit_names(connection, rollout)
                self._start_rollout(connection, rollout)
        except _NamesOverCap:
            return False
        return True

    def end_rollout(self, rollout_id: str, *, ended_at: float, reason: str) -> None:
        """Mark a rollout as ended."""
        self._update_rollout(rollout_id, ended_at=ended_at, end_reason=reason)

    def read_rollout_under(self, rollout_id: str, calibration_id: str) -> None:
        """From now on, read both arms of a rollout under another calibration (its own could not be trusted)."""
        self._update_rollout(rollout_id, calibration_id=calibration_id)

    def save_verdict(self, rollout_id: str, verdict: Verdict, *, at: float) -> None:
        """Keep the latest verdict of a rollout, and its change with the time when the state differs from the last."""
        with self._writing() as connection:
            last = connection.execute(
                sa.select(verdict_change.c.number, verdict_change.c.state)
                .where(verdict_change.c.rollout_id == rollout_id)
                .order_by(verdict_change.c.number.desc())
                .limit(1)
            ).one_or_none()
            if last is None or last.state != verdict.state:
                number = 0 if last is None else last.number + 1
                connection.execute(
                    sa.insert(verdict_change),
                    {"rollout_id": rollout_id, "number": number, "at": at, "state": verdict.state},
                )
            connection.execute(
                sa.update(rollout_table)
                .where(rollout_table.c.id == rollout_id)
                .values(verdict=_VERDICT.dump_json(verdict).decode(), verdict_at=at)
            )

    def calibrations(self) -> Sequence[CalibrationRecord]:
        """Every calibration: those never in force first, then in the order in which they came into force."""
        columns = calibration_table.c
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(columns.id, columns.frozen_at, columns.promoted_at, columns.history_labels).order_by(
                    columns.promoted_at.nulls_first(), columns.frozen_at, columns.id
                )
            )
            return [CalibrationRecord(*row) for row in rows]

    def calibration(self, calibration_id: str) -> Calibration | None:
        """The calibration of that id, or None; `CalibrationInvalid` when what is stored cannot be trusted."""
        with self._reading() as connection:
            body = connection.scalar(
                sa.select(calibration_table.c.body).where(calibration_table.c.id == calibration_id)
            )
        return None if body is None else Calibration.from_json(body)

    def keep(self, calibration: Calibration, *, history_labels: int) -> None:
        """Keep *calibration* without putting it in force; one that is there already is left as it is."""
        with self._writing() as connection:
            connection.execute(
                self._insert(calibration_table).on_conflict_do_nothing(),
                _calibration_row(calibration, promoted_at=None, history_labels=history_labels),
            )

    def promote(self, calibration: Calibration, *, at: float, history_labels: int) -> None:
        """Keep *calibration* and put it in force from *at* (Unix seconds), or right after the last one."""
        with self._writing() as connection:
            last = connection.scalar(sa.select(sa.func.max(calibration_table.c.promoted_at)))
            promoted_at = at if last is None or at > last else math.nextafter(last, math.inf)
            connection.execute(
                self._insert(calibration_table).on_conflict_do_update(
                    index_elements=["id"], set_={"promoted_at": promoted_at, "history_labels": history_labels}
                ),
                _calibration_row(calibration, promoted_at=promoted_at, history_labels=history_labels),
            )

    def asked(self) -> Iterator[Asked]:
        """Every request that names itself, by capability and name."""
        columns = request.c
        with self._reading() as connection:
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
                yield Asked(_features(row), row.times)

    def probe_results(self) -> Iterator[ProbeResult]:
        """How versions did on what `reference` and `probes` environments asked: by probe, earliest version first."""
        columns, version = request.c, model_version.c
        first = sa.func.min(columns.started_at).label("first_started_at")
        with self._reading() as connection:
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

    def retag(self, rollout: Rollout, calibration: Calibration) -> int:
        """Tag anew the requests of both arms that another calibration tagged; how many there were."""
        with self._writing() as connection:
            rows = connection.execute(
                sa.select(request.c.trace_id, *_FEATURES)
                .join(model_version)
                .where(*_of_service(rollout))
                .where(model_version.c.model_version.in_((rollout.baseline, rollout.candidate)))
                .where(request.c.calibration_id != calibration.calibration_id)
                .order_by(request.c.trace_id)
            ).all()
            if rows:
                connection.execute(
                    sa.update(request).where(request.c.trace_id == sa.bindparam("_trace_id")),
                    [tag_columns(calibration.tag(_features(row))) | {"_trace_id": row.trace_id} for row in rows],
                )
        return len(rows)

    @contextmanager
    def exclusively(self) -> Iterator[bool]:
        """Whether this replica holds the right to review the ledger; held until the context ends."""
        if self._engine.dialect.name == "sqlite":  # one replica only
            yield True
            return
        with ledger_errors(), self._engine.connect() as connection:
            # Bound to the connection: a replica that dies gives it back.
            is_ours = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_REVIEW_LOCK))))
            connection.commit()
            try:
                yield is_ours
            finally:
                if is_ours:
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(_REVIEW_LOCK)))
                    connection.commit()

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()

    def _history_of(
        self, version_id: int, version: str, limit: int | None, *, matured_before: float = math.inf
    ) -> Iterator[LabelledRequest]:
        latest = (
            sa.select(request.c.started_at, request.c.trace_id, request.c.success, *_FEATURES)
            .where(request.c.model_version_id == version_id)
            .where(request.c.success.is_not(None))
            .where(sa.true() if math.isinf(matured_before) else request.c.started_at < matured_before)
            .order_by(request.c.started_at.desc(), request.c.trace_id)
            .limit(limit)
            .subquery()
        )
        with self._reading() as connection:
            rows = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(
                sa.select(latest).order_by(latest.c.started_at, latest.c.trace_id)
            )
            for row in rows:
                yield LabelledRequest(_features(row), version, failed=not row.success, started_at=row.started_at)

    def _admit_names(self, connection: sa.Connection, rollout: Rollout) -> None:
        labels = LabelBudget(self._insert)  # not the recorder's: that belongs to the thread that records
        scope = f"{rollout.service} {rollout.environment}"
        names = [("service", "", scope, self._settings.max_services)] + [
            ("model_version", scope, version, self._settings.max_model_versions)
            for version in (rollout.baseline, rollout.candidate)
        ]
        if not all(labels.admit(connection, label, within, value, cap=cap) for label, within, value, cap in names):
            raise _NamesOverCap

    def _start_rollout(self, connection: sa.Connection, rollout: Rollout) -> None:
        connection.execute(
            self._insert(rollout_table).on_conflict_do_nothing(),
            {
                "id": rollout.rollout_id,
                "service": rollout.service,
                "environment": rollout.environment,
                "baseline": rollout.baseline,
                "candidate": rollout.candidate,
                "started_at": rollout.started_at,
                "calibration_id": rollout.calibration_id,
            },
        )

    def _update_rollout(self, rollout_id: str, **values: Any) -> None:
        with self._writing() as connection:
            connection.execute(sa.update(rollout_table).where(rollout_table.c.id == rollout_id).values(**values))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with ledger_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        # A reader that began IMMEDIATE would wait for the writer, and the writer for it.
        with ledger_errors(), self._engine.connect() as plain:
            connection = plain.execution_options(cliffwatch_read_only=True)
            with connection.begin():
                yield connection


def _calibration_row(calibration: Calibration, *, promoted_at: float | None, history_labels: int) -> dict[str, object]:
    return {
        "id": calibration.calibration_id,
        "frozen_at": calibration.frozen_at,
        "promoted_at": promoted_at,
        "history_labels": history_labels,
        "body": calibration.to_json(),
    }


_FEATURES = (
    request.c.capability,
    request.c.item,
    request.c.tool_set,
    request.c.prompt_family,
    request.c.attributes,
)


def _features(row: Any) -> RequestFeatures:
    return RequestFeatures(
        capability=row.capability,
        item=row.item,
        tool_set=row.tool_set,
        prompt_family=row.prompt_family,
        attributes=json.loads(row.attributes) if row.attributes else {},
    )


def _of_service(rollout: Rollout) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return (model_version.c.service == rollout.service, model_version.c.environment == rollout.environment)


def _arm(connection: sa.Connection, rollout: Rollout, version: str, matured_before: float) -> Arm:
    columns = request.c
    rows = connection.execute(
        sa.select(
            columns.tier,
            columns.capability,
            columns.bin,
            columns.is_known,
            sa.func.count(),
            sa.func.count(columns.success),
            sa.func.count(sa.case((columns.success.is_(False), 1))),
            sa.func.sum(columns.difficulty_logit),
            sa.func.sum(columns.difficulty_variance),
        )
        .join(model_version)
        .where(*_of_service(rollout))
        .where(model_version.c.model_version == version)
        .where(columns.started_at < matured_before)
        .where(columns.calibration_id == rollout.calibration_id)
        .group_by(columns.tier, columns.capability, columns.bin, columns.is_known)
        .order_by(columns.tier, columns.capability, columns.bin, columns.is_known)
    )
    return Arm(version, [Cell(Tier(tier), capability, *rest) for tier, capability, *rest in rows])


def _failure_classes(connection: sa.Connection, rollout: Rollout, version: str, matured_before: float) -> FailureCounts:
    columns = request.c
    failures = sa.func.count()
    rows = connection.execute(
        sa.select(columns.tier, columns.capability, columns.failure_class, failures)
        .join(model_version)
        .where(*_of_service(rollout))
        .where(model_version.c.model_version == version)
        .where(columns.started_at < matured_before)
        .where(columns.calibration_id == rollout.calibration_id)
        .where(columns.success.is_(False))
        .group_by(columns.tier, columns.capability, columns.failure_class)
        .order_by(failures.desc(), columns.tier, columns.capability, columns.failure_class)
        .limit(_MOST_SIGNATURES)
    )
    return {Signature(Tier(tier), capability, name or ""): count for tier, capability, name, count in rows}


def _floor_sets(connection: sa.Connection) -> Sequence[FloorSet]:
    rows = connection.execute(sa.select(floor_set).order_by(floor_set.c.number))
    return [FloorSet(row.seen_at, _FLOORS.validate_json(row.floors)) for row in rows]


def _requests_since(
    connection: sa.Connection, row: sa.Row[Any], versions: Sequence[sa.Row[Any]]
) -> Sequence[tuple[str, int]]:
    """Requests of *row*'s version since each of the latest later versions of its service and environment appeared."""
    if row.environment == REFERENCE_ENVIRONMENT:
        return []  # it never has a rollout
    later = [
        other
        for other in versions
        if (other.service, other.environment) == (row.service, row.environment)
        and other.first_started_at > row.first_started_at
    ]
    return [
        (
            other.model_version,
            connection.scalar(
                sa.select(sa.func.count())
                .select_from(request)
                .where(request.c.model_version_id == row.id)
                .where(request.c.started_at >= other.first_started_at)
            )
            or 0,
        )
        for other in later[-_LATER_VERSIONS_WATCHED:]
    ]


def _rollout(row: sa.Row[Any]) -> Rollout:
    return Rollout(
        rollout_id=row.id,
        service=row.service,
        environment=row.environment,
        baseline=row.baseline,
        candidate=row.candidate,
        started_at=row.started_at,
        ended_at=row.ended_at,
        calibration_id=row.calibration_id,
        end_reason=row.end_reason,
    )
