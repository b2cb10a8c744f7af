"""
Which version a run counts for that names no more than the model which was asked for.

A name like `gpt-4o` is served by one version today and by another tomorrow, and a call that fails says only the name.
It counts for the version that its service was served under that name around that time, as answered calls tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from monitor.trace.model import UNRESOLVED, ModelVersion, Trace, VersionBy
from monitor.trace.semconv import PROVIDER_PREFIX


class Served(Struct, frozen=True, gc=False):
    """A version that a service was served under the name of a model ('' for none), and when, Unix seconds."""

    service: str
    environment: str
    requested_model: str
    model_version: str
    first_started_at: float
    last_started_at: float


class ServedModels:
    """
    What is known of all services.

    Args:
        rows: As the ledger keeps them.
        within_seconds: How long before or after a run an answered call still tells its version.
    """

    def __init__(self, rows: Iterable[Served], within_seconds: float) -> None:
        self._within = within_seconds
        self._rows: dict[tuple[str, str], list[Served]] = {}
        for row in rows:
            self._rows.setdefault((row.service, row.environment), []).append(row)

    def and_asked_for_by(self, traces: Iterable[Trace]) -> ServedModels:
        """The same, and the names that successful *traces* asked for, where nothing else tells their version."""
        asked = [run for run in traces if not has_failed(run) and self.resolve(run, is_last_chance=True) is run]
        return self.and_taught_by(asked, by=VersionBy.REQUEST)

    def and_taught_by(self, traces: Iterable[Trace], by: VersionBy = VersionBy.RESPONSE) -> ServedModels:
        """The same, and what *traces* say that they were served."""
        taught = {key: Served(*key, *times) for key, times in taught_by(traces, by={by}).items()}
        for row in (row for rows in self._rows.values() for row in rows):
            key = (row.service, row.environment, row.requested_model, row.model_version)
            also = taught.get(key, row)
            first = min(row.first_started_at, also.first_started_at)
            taught[key] = Served(*key, first, max(row.last_started_at, also.last_started_at))
        return ServedModels(taught.values(), self._within)

    def resolve(self, trace: Trace, *, is_last_chance: bool) -> Trace | None:
        """
        *trace* with the version that it counts for, `UNRESOLVED` where several are possible or none is known.

        Args:
            trace: A run; one whose version somebody told is returned as it is.
            is_last_chance: Nothing more is to be waited for.

        Returns:
            None where an answered call may still tell, and there is time to wait for it.
        """
        rows: Sequence[Served] = self._rows.get((trace.service, trace.environment), ())
        if trace.version_by is not VersionBy.REQUEST:
            # Of a stream, a library may repeat the alias that was asked for; other calls tell what answers under it.
            repeats = trace.version_by is VersionBy.RESPONSE and trace.requested_model == trace.model_version
            rows = [row for row in rows if repeats and row.requested_model == trace.model_version]
            rows = [row for row in rows if _is_dated(row.model_version, row.requested_model)]
            if not rows:
                return trace
        named = _served_under(trace.requested_model, rows)
        versions = self._around(trace.started_at, named) if named else set[str]()
        if len(versions) == 1:
            return replace(trace, model_version=ModelVersion(versions.pop()), version_by=VersionBy.SERVED)
        if not (named or is_last_chance):
            return None
        # Where every version is called what it is asked for, a new name is a new version, even one that only fails.
        names_tell = bool(rows) and all(row.requested_model == row.model_version for row in rows)
        if not named and trace.requested_model and (names_tell or not has_failed(trace)):
            return trace
        return replace(trace, model_version=UNRESOLVED, version_by=VersionBy.NOTHING)

    def _around(self, at: float, rows: Sequence[Served]) -> set[str]:
        """Versions served around *at*, or those served closest to it."""
        distances = {row: max(row.first_started_at - at, at - row.last_started_at, 0.0) for row in rows}
        reach = max(self._within, min(distances.values()))
        return {row.model_version for row, distance in distances.items() if distance <= reach}


def _served_under(requested: str | None, rows: Sequence[Served]) -> Sequence[Served]:
    """Rows that tell what is served under the name *requested*, the best kind of them; all of them for None."""
    if requested is None:
        return rows
    named = [row for row in rows if row.requested_model == requested]
    answered = [row for row in named if row.model_version != requested]
    itself = [row for row in rows if row.model_version == requested]
    dated = [row for row in rows if _is_dated(row.model_version, requested)]
    bare = _bare(requested)
    alike = [row for row in rows if bare in {_bare(row.requested_model), _bare(row.model_version)}]
    return answered or named or itself or dated or alike


def _is_dated(version: str, alias: str) -> bool:
    """Whether *version* is a dated form of *alias*; `gpt-4o-mini` and `gpt-4.1`, other models, are none of `gpt-4o`."""
    name = alias.removesuffix("-latest")
    return version.startswith(name) and _DATE.match(version, len(name)) is not None


_DATE = re.compile(r"[-@:_](?:(?:preview|exp)-\d\d|\d\d-20\d\d|\d{3}(?!\d*b\b))")  # or a number, such as 001


def has_failed(trace: Trace) -> bool:
    """Whether *trace* failed or was stopped, by its own account."""
    return trace.aborted or (trace.outcome is not None and not trace.outcome.success)


def _bare(model: str) -> str:
    """The name of *model* in lower case, without the path that a gateway may write before it."""
    return PROVIDER_PREFIX.sub("", model.rpartition("/")[2]).lower()


def taught_by(
    traces: Iterable[Trace], by: AbstractSet[VersionBy] = frozenset({VersionBy.RESPONSE, VersionBy.REQUEST})
) -> Mapping[tuple[str, str, str, str], tuple[float, float]]:
    """First and last start by service, environment, name and version, of runs that say what they were served."""
    taught: dict[tuple[str, str, str, str], tuple[float, float]] = {}
    for trace in traces:
        if trace.version_by in by:
            key = (trace.service, trace.environment, trace.requested_model or "", trace.model_version)
            first, last = taught.get(key, (trace.started_at, trace.started_at))
            taught[key] = (min(first, trace.started_at), max(last, trace.started_at))
    return taught
