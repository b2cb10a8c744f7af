"""When the labels of a service came, on requests spread over its last weeks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import sqlalchemy as sa

from monitor.labels.delay import TimedLabel
from monitor.ledger.schema import model_version, request
from monitor.ledger.stored import readable, real

_WATCHED_SECONDS = 30 * 86_400.0
_VERSIONS = 2  # a baseline and its candidate: how an older one was labelled says little of them
_SPELLS = 24  # the time of a version is cut in so many pieces
_REQUESTS_OF_SPELL = 200  # the first of each piece: old ones and young ones alike, whatever the traffic

_SOME = (
    sa.select(request.c.outcome_source, request.c.success, request.c.started_at, request.c.labelled_at)
    .where(request.c.model_version_id == sa.bindparam("version"))
    .where(request.c.started_at > sa.bindparam("after"), request.c.started_at <= sa.bindparam("until"))
    .order_by(request.c.started_at)
    .limit(_REQUESTS_OF_SPELL)
    .subquery()
)
_LABELS = sa.select(_SOME).where(_SOME.c.success.is_not(None), _SOME.c.labelled_at.is_not(None))


def timed_labels(connection: sa.Connection, service: str, environment: str, *, now: float) -> Iterator[TimedLabel]:
    """The label that counts, of some requests of the versions of a service that served last; *now* in Unix seconds."""
    columns, since = model_version.c, now - _WATCHED_SECONDS
    versions = (
        sa.select(columns.id, columns.first_started_at, columns.last_started_at)
        .where(columns.service == service, columns.environment == environment, columns.last_started_at >= since)
        .order_by(columns.last_started_at.desc())
        .limit(_VERSIONS)
    )
    found = readable("model_version", connection.execute(versions).all(), lambda row: (row[0], *map(real, row[1:])))
    for version, first, last in found:
        start = max(first, since) - 1.0
        for after, until in pairwise([*(start + (last - start) * part / _SPELLS for part in range(_SPELLS)), last]):
            some = connection.execute(_LABELS, {"version": version, "after": after, "until": until}).all()
            for source, success, started, labelled in readable(
                "request", some, lambda row: (*row[:2], *map(real, row[2:]))
            ):
                yield source or "unknown", success, labelled - started, now - started
