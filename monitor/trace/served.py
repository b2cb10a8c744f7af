"""
Finds the version of a run that names only the requested model.

One version answers to a name like `gpt-4o` today and another tomorrow, and a failed call reports only the name. Such a
run counts for the version that answered the same service under that name around that time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from monitor.trace.grouping import grouped
from monitor.trace.model import UNRESOLVED, ModelVersion, Trace, VersionBy
from monitor.trace.semconv import PROVIDER_PREFIX


class Served(Struct, frozen=True, gc=False):
    """A version that answered a service under the name of a model ('' for none), and when, in Unix seconds."""

    service: str
    environment: str
    requested_model: str
    model_version: str
    first_started_at: float
    last_started_at: float


class ServedModels:
    """
    Versions that answered under each name, for all services.

    Args:
        rows: As the ledger keeps them.
        within_seconds: How long before or after a run an answered call still shows its version.
    """

    def __init__(self, rows: Iterable[Served], within_seconds: float) -> None:
        self._within = within_seconds
        self._rows = grouped(rows, lambda row: (row.service, row.environment))

    def and_asked_for_by(self, traces: Iterable[Trace]) -> ServedModels:
        """The same, and the names that successful *traces* asked for, if nothing else shows their version."""
        asked = [run for run in traces if not has_failed(run) and self.resolve(run, is_last_chance=True) is run]
        return self.and_taught_by(asked, by=VersionBy.REQUEST)

    def and_taught_by(self, traces: Iterable[Trace], by: VersionBy = VersionBy.RESPONSE) -> ServedModels:
        """The same, and the versions that *traces* report."""
        served = {key: Served(*key, *times) for key, times in taught_by(traces, by={by}).items()}
        for row in (row for rows in self._rows.values() for row in rows):
            key = (row.service, row.environment, row.requested_model, row.model_version)
            also = served.get(key, row)
            first = min(row.first_started_at, also.first_started_at)
            served[key] = Served(*key, first, max(row.last_started_at, also.last_started_at))
        return ServedModels(served.values(), self._within)

    def resolve(self, trace: Trace, *, is_last_chance: bool) -> Trace | None:
        """
        *trace* with the version that it counts for: `UNRESOLVED` if several are possible or none is known.

        Args:
            trace: A run; if it reports its own version, it is returned as it is.
            is_last_chance: Whether waiting is over.

        Returns:
            None if a call that may still come could show the version.
        """
        rows: Sequence[Served] = self._rows.get((trace.service, trace.environment), ())
        if trace.version_by is not VersionBy.REQUEST:
            # For a stream, a library may repeat the requested alias as the model that answered.
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
        # If every version so far was requested by its own name, a new name is a new version, even if all its runs fail.
        name_is_version = bool(rows) and all(row.requested_model == row.model_version for row in rows)
        if not named and trace.requested_model and (name_is_version or not has_failed(trace)):
            return trace
        return replace(trace, model_version=UNRESOLVED, version_by=VersionBy.NOTHING)

    def _around(self, at: float, rows: Sequence[Served]) -> set[str]:
        """Versions served around *at*, or those served closest to it."""
        distances = {row: max(row.first_started_at - at, at - row.last_started_at, 0.0) for row in rows}
        reach = max(self._within, min(distances.values()))
        return {row.model_version for row, distance in distances.items() if distance <= reach}


def _served_under(requested: str | None, rows: Sequence[Served]) -> Sequence[Served]:
    """Rows of the versions that answer to the name *requested*, by the best match that has any; all rows for None."""
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
    """Whether *version* is *alias* with a date; `gpt-4o-mini` and `gpt-4.1` are other models than `gpt-4o`."""
    name = alias.removesuffix("-latest")
    return version.startswith(name) and _DATE.match(version, len(name)) is not None


_DATE = re.compile(r"[-@:_](?:(?:preview|exp)-\d\d|\d\d-20\d\d|\d{3}(?!\d*b\b))")  # a number such as 001 is a date too


def has_failed(trace: Trace) -> bool:
    """Whether *trace* itself reports that it failed or was stopped."""
    return trace.aborted or (trace.outcome is not None and not trace.outcome.success)


def _bare(model: str) -> str:
    """The name of *model* in lower case, without the path of a gateway."""
    return PROVIDER_PREFIX.sub("", model.rpartition("/")[2]).lower()


def taught_by(
    traces: Iterable[Trace], by: AbstractSet[VersionBy] = frozenset({VersionBy.RESPONSE, VersionBy.REQUEST})
) -> Mapping[tuple[str, str, str, str], tuple[float, float]]:
    """First and last start of runs that report their version, by service, environment, requested name and version."""
    served: dict[tuple[str, str, str, str], tuple[float, float]] = {}
    for trace in traces:
        if trace.version_by in by:
            key = (trace.service, trace.environment, trace.requested_model or "", trace.model_version)
            first, last = served.get(key, (trace.started_at, trace.started_at))
            served[key] = (min(first, trace.started_at), max(last, trace.started_at))
    return served
