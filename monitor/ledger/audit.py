"""Audits a ledger: compares its counters with its rows, without changing anything."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.calibration import Calibration
from monitor.errors import CalibrationInvalid
from monitor.ledger import schema
from monitor.ledger.cells import KEY, SUMS, one_request, summed
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.dialect import Dialect
from monitor.ledger.joining import OUTCOMES
from monitor.ledger.ledger import CEILING, CounterKey, CounterName
from monitor.ledger.pending_spans import count_spans
from monitor.ledger.recording import next_offsets, select_counters
from monitor.ledger.request_rows import are_sound
from monitor.ledger.schema import model_version, request
from monitor.ledger.stored import UNREADABLE
from monitor.trace.bounds import BEFORE, EARLIEST, LARGEST_NUMBER
from monitor.trace.grouping import added_up
from monitor.trace.horizon import Horizon

_FATES_OF_SPANS = ("joined", "non_agent", "duplicate", "late")
_MOST_PROBLEMS = 10
_ROWS_PER_FETCH = 5_000


@dataclass(frozen=True, slots=True)
class Check:
    """
    One comparison.

    Attributes:
        name: What is compared.
        compared: How many values were compared.
        problems: The first ten differences, in words.
    """

    name: str
    compared: int
    problems: tuple[str, ...] = ()


def checks(connection: sa.Connection, dialect: Dialect) -> Iterator[Check]:
    """Run every comparison, in one transaction that reads one snapshot."""
    counters = select_counters(connection)
    for compare in (_requests, _lengths, _versions, _strata, _spans, _positions, _calibrations, _bounds):
        try:
            yield from compare(connection, dialect, counters)
        except (*UNREADABLE, AttributeError) as error:  # a corrupt value: nothing can be said about the rest
            yield Check(f"{compare.__name__.strip('_')} that can be read", 1, (f"{type(error).__name__}: {error}",))
    yield Check("the database's own check", 1, tuple(dialect.damage(connection)[:_MOST_PROBLEMS]))


_Counters = Mapping[CounterKey, int]


def _requests(connection: sa.Connection, _: Dialect, counters: _Counters) -> Iterator[Check]:
    counted, rows = _counted(counters), _rows(connection)
    yield _equal("requests counted = rows + pruned", counted["requests"], rows["requests"])
    for outcome in ("success", "failure"):
        yield _equal(f"{outcome} outcomes, revisions included = labels", counted[outcome], rows[outcome])
    yield _equal("failures by class = outcomes that were failures", counted["of a class"], counted["ever failed"])


def _lengths(connection: sa.Connection, _: Dialect, counters: _Counters) -> Iterator[Check]:
    """Only for versions without pruned rows, since the counters of lengths include requests that were pruned."""
    is_whole = model_version.c.pruned_before.is_(None)
    versions = {tuple(row) for row in connection.execute(sa.select(*_VERSION).where(is_whole))}
    lengths = {key: value for key, value in counters.items() if key.name is CounterName.HORIZON}
    places = ((key.service, key.environment, key.model_version) for key in lengths)
    counted = {(*at, key.detail): lengths[key] for at, key in zip(places, lengths, strict=True) if at in versions}
    by = (*_VERSION, request.c.horizon, request.c.success)
    rows = sa.select(*by, sa.func.count()).join_from(request, model_version).where(is_whole).group_by(*by)
    recounted: Counter[tuple[Any, ...]] = Counter()
    for *version, horizon, success, number in connection.execute(rows):
        for unit, length in zip(Horizon, str(horizon or "").split(), strict=False):  # a corrupt row may hold any text
            recounted[*version, f"{unit} {length} {OUTCOMES[success]}"] += number
    yield _equal("requests by length and outcome = rows", counted, recounted)


_VERSION = (model_version.c.service, model_version.c.environment, model_version.c.model_version)
_Tallies = Mapping[str, Counter[tuple[Any, ...]]]
"""For each quantity, its number by service, environment, version and tier."""


def _counted(counters: _Counters) -> _Tallies:
    """Totals from the counters; `success` and `failure` are present outcomes: first labels plus revisions."""
    tallies: _Tallies = defaultdict(Counter)
    for key, value in counters.items():
        place = (key.service, key.environment, key.model_version, key.tier)
        match key.name:
            case CounterName.REQUESTS:
                moves = {"requests": value}
            case CounterName.OUTCOMES:
                moves = {"labels": value, key.detail: value}
            case CounterName.OUTCOME_REVISIONS:
                before, _, after = key.detail.partition(">")
                moves = {before: -value, after: value}
            case CounterName.FAILURES_BY_CLASS:
                moves = {"of a class": value}
            case _:
                continue
        if moves.get("failure", 0) > 0:
            moves["ever failed"] = value
        for quantity, change in moves.items():
            tallies[quantity][place] += change
    return tallies


def _rows(connection: sa.Connection) -> _Tallies:
    """Totals from the rows, pruned rows included."""
    tallies: _Tallies = defaultdict(Counter)
    key = (*_VERSION, request.c.counted_tier, request.c.success)
    stored = connection.execute(sa.select(*key, sa.func.count()).join_from(request, model_version).group_by(*key))
    for *place, success, number in stored:
        tallies["requests"][tuple(place)] += number
        if success is not None:
            tallies["success" if success else "failure"][tuple(place)] += number
    pruned = schema.pruned
    totals = sa.select(*_VERSION, *pruned.c["tier", "requests", "successes", "failures"])
    is_of = pruned.c.model_version_id == model_version.c.id
    for *place, requests, successes, failures in connection.execute(totals.join_from(pruned, model_version, is_of)):
        for quantity, number in (("requests", requests), ("success", successes), ("failure", failures)):
            tallies[quantity][tuple(place)] += number
    return tallies


def _versions(connection: sa.Connection, _: Dialect, counters: _Counters) -> Iterator[Check]:
    columns, counted = model_version.c, _counted(counters)
    rows = connection.execute(sa.select(columns.id, *_VERSION, columns.requests, columns.labelled)).all()
    requests, labels = (added_up((key[:3], n) for key, n in counted[name].items()) for name in ("requests", "labels"))
    yield _equal("requests of versions = requests counted", {tuple(row[1:4]): row.requests for row in rows}, requests)
    yield _equal("labels of versions = outcomes counted", {tuple(row[1:4]): row.labelled for row in rows}, labels)
    hours = schema.traffic.c
    by_version = sa.select(hours.model_version_id, sa.func.sum(hours.requests)).group_by(hours.model_version_id)
    by_hour = {(version_id,): int(requests) for version_id, requests in connection.execute(by_version)}
    yield _equal("requests by hour = requests of versions", by_hour, {(row.id,): row.requests for row in rows})
    of = request.c.model_version_id
    orphans = sa.select(sa.func.count()).select_from(request).where(of.is_not(None), of.not_in(sa.select(columns.id)))
    yield _equal("requests without their version", {("rows",): connection.scalar(orphans) or 0}, {("rows",): 0})


def _strata(connection: sa.Connection, dialect: Dialect, _: _Counters) -> Iterator[Check]:
    """Compare cells with a recount of the rows; sums of floats are rounded, since they depend on the order."""
    key, version_id = ("model_version_id", *KEY), request.c.model_version_id
    requests = sa.select(version_id, *one_request(dialect.hour(request.c.started_at))).where(version_id.is_not(None))
    recount = connection.execute(summed(requests.subquery(), key, SUMS))
    cells = connection.execute(sa.select(*(schema.stratum.c[name] for name in (*key, *SUMS))))
    pruned_before = model_version.c.pruned_before
    hours = connection.execute(sa.select(model_version.c.id, pruned_before).where(pruned_before.is_not(None)))
    last_pruned = {version_id: int(until // HOUR_SECONDS) for version_id, until in hours}
    stored, recounted = (
        {
            (*row[: len(key)], name): round(float(f"{row[len(key) + place]:.9g}"), 9)  # a sum of 0 may be 2e-15
            for row in rows
            if row.hour > last_pruned.get(row.model_version_id, -1)  # cells stay when their rows are pruned
            for place, name in enumerate(SUMS)
        }
        for rows in (cells, recount)
    )
    yield _equal("cells of evidence = requests and labels of rows", stored, recounted)


def _spans(connection: sa.Connection, _: Dialect, counters: _Counters) -> Iterator[Check]:
    of_traces = connection.execute(sa.select(*schema.pending_trace.c["trace_id", "span_count"]))
    span_counts = {(trace_id,): spans for trace_id, spans in of_traces}
    packed = connection.execute(sa.select(*schema.pending_span.c["trace_id", "span_ids"]))
    pending = added_up(((trace_id,), len(span_ids.split(" "))) for trace_id, span_ids in packed)
    yield _equal("spans noted of waiting traces = spans waiting", span_counts, pending)
    packs = connection.execute(sa.select(*schema.span_pack.c["id", "traces"]))
    referring = Counter((pack,) for pack in connection.scalars(sa.select(schema.pending_span.c.pack)))
    yield _equal("traces noted of packs = traces that refer to them", {(pack,): n for pack, n in packs}, referring)
    spans = Counter({key.detail: value for key, value in counters.items() if key.name is CounterName.SPANS})
    received, accounted = spans["received"], sum(spans[fate] for fate in _FATES_OF_SPANS) + count_spans(connection)
    yield _equal("spans received = spans accounted for + waiting", {("spans",): received}, {("spans",): accounted})


def _positions(connection: sa.Connection, _: Dialect, counters: _Counters) -> Iterator[Check]:
    """An offset may be greater than the number of records (gaps, a late start), but never smaller."""
    offsets = {f"{topic}/{partition}": offset for (topic, partition), offset in next_offsets(connection).items()}
    records = {key.detail: value for key, value in counters.items() if key.name is CounterName.RECORDS}
    behind = [
        f"{partition}: {records[partition]:,} records were read up to offset {offset:,}"
        for partition, offset in sorted(offsets.items())
        if records.get(partition, 0) > offset
    ]
    yield Check("records of a partition <= its next offset", len(offsets), tuple(behind[:_MOST_PROBLEMS]))
    letters = sum(value for key, value in counters.items() if key.name is CounterName.DEAD_LETTERS)
    stored = connection.scalar(sa.select(sa.func.count()).select_from(schema.dead_letter)) or 0
    problems = () if stored <= letters else (f"{stored:,} rows, {letters:,} counted",)
    yield Check("dead letters kept <= dead letters counted", stored, problems)


def _calibrations(connection: sa.Connection, *_: object) -> Iterator[Check]:
    problems = []
    rows = connection.execute(sa.select(*schema.calibration.c["id", "body"]).order_by("id")).all()
    for calibration_id, body in rows:
        try:
            Calibration.from_json(body)
        except CalibrationInvalid as error:
            problems.append(f"{calibration_id}: {error}")
    yield Check("checksums of calibrations", len(rows), tuple(problems[:_MOST_PROBLEMS]))


def _bounds(connection: sa.Connection, *_: object) -> Iterator[Check]:
    """Values out of range, from old releases or other writers; readers skip them."""
    at, score = request.c.started_at, request.c.outcome_score
    is_out = sa.or_(at < EARLIEST, at >= BEFORE, score < -LARGEST_NUMBER, score > LARGEST_NUMBER)
    problems = [f"request {trace_id}" for trace_id in connection.scalars(sa.select(request.c.trace_id).where(is_out))]
    rows = connection.execute(sa.select(schema.counter)).all()
    problems += [
        f"counter {row.name} / {row.service}: {row.value}"
        for row in rows
        if not (type(row.value) is int and 0 <= row.value < CEILING)
    ]
    attributes = sa.select(request.c.attributes).where(request.c.attributes.is_not(None)).distinct()
    texts = connection.execution_options(yield_per=_ROWS_PER_FETCH).scalars(attributes)
    unsound = sum(not are_sound(text) for text in texts)
    problems += [f"{unsound:,} sets of attributes"] if unsound else []
    yield Check("values within their bounds", len(rows), tuple(problems[:_MOST_PROBLEMS]))


def _equal(name: str, left: Mapping[tuple[Any, ...], float], right: Mapping[tuple[Any, ...], float]) -> Check:
    keys = sorted(left.keys() | right.keys(), key=str)
    pairs = ((key, left.get(key, 0), right.get(key, 0)) for key in keys)
    problems = [f"{' / '.join(map(str, key))}: {a:,} and {b:,}" for key, a, b in pairs if a != b]
    return Check(name, len(keys), tuple(problems[:_MOST_PROBLEMS]))
