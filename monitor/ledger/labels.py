"""Admits label values up to a cap, so that hostile names cannot create metric series without limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.tiers import Tier
from monitor.ledger.ledger import DURATION_BUCKETS_SECONDS, STEP_BUCKETS
from monitor.ledger.schema import label_value
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.stored import readable, text
from monitor.rollout.tracker import VersionKey
from monitor.trace.horizon import LENGTHS, Horizon

OTHER = "other"
"""Replaces a label value that is over a cap."""

OTHERS: VersionKey = (OTHER, OTHER, OTHER)
"""Replaces the version if its service is over the cap."""

PENDING_SPANS = "pending_spans"
CAPS = ("service", "model_version", "capability", "failure_class", "series", PENDING_SPANS)
"""The caps, as values of the label `reason` of `cliffwatch_series_dropped_total`."""

_TIERS = len(Tier)
_HISTOGRAMS = (len(DURATION_BUCKETS_SECONDS) + 3) + (len(STEP_BUCKETS) + 3)  # each with +Inf, count and sum

_HORIZONS = len(Horizon) * (3 * (len(LENGTHS) + 1) + len(LENGTHS))  # three outcomes of each length or none; budgets

SERIES_OF_CAPABILITY = _TIERS * 5 + 7
"""Requests, two outcomes and two revisions per tier; in a rollout both arms with bounds, and whether it regressed."""

SERIES_OF_FAILURE_CLASS = _TIERS

SERIES_OF_VERSION = _TIERS * (_HISTOGRAMS + 6) + _HORIZONS + 17 + 156 + SERIES_OF_CAPABILITY + SERIES_OF_FAILURE_CLASS
"""
Most series of one model version, one capability and one failure class of it (`other`) included.

Six per tier beside the histograms (tokens in and out, cost, tool calls, overspent budgets, share of the traffic), 17 of
the version and its environment (aliases, info, policy), and 156 of a rollout of which it is the candidate.
"""

SERIES_OF = {
    "model_version": SERIES_OF_VERSION,
    "version_capability": SERIES_OF_CAPABILITY,
    "version_failure_class": SERIES_OF_FAILURE_CLASS,
}
_VERSIONS_SET_ASIDE, _OWN_VERSIONS = 4, 8
_LOCK = {"label": "", "scope": "", "value": ""}


def has_room(taken: Mapping[str, int], pair: str, more: int, settings: LedgerSettings) -> bool:
    """
    Whether a service may create *more* series, without starving other services.

    Each service and environment reserves series for its first versions when it appears, so that a flood of services
    cannot take them. A few more versions are within its own share; beyond that, all services together may use half of
    the budget, so that a flood of versions leaves room for services that come later.

    Args:
        taken: Number of series by service and environment.
        pair: The service and environment that needs them.
        more: Number of series needed.
        settings: Gives the most series in all.
    """
    set_aside, own = _VERSIONS_SET_ASIDE * SERIES_OF_VERSION, _OWN_VERSIONS * SERIES_OF_VERSION
    after = taken.get(pair, 0) + more
    if pair in taken and after <= set_aside:
        return sum(taken.values()) + more <= settings.max_series
    reserved = sum(max(series, set_aside) for service, series in taken.items() if service != pair)
    shared = more + sum(max(0, series - own) for series in taken.values())
    has_share = after <= own or shared <= settings.max_series // 2
    return has_share and reserved + max(after, set_aside) <= settings.max_series


def _pair(scope: str) -> str:
    """Service and environment of the scope of a label value."""
    return " ".join(scope.split(" ", 2)[:2])


@dataclass(frozen=True, slots=True)
class PlacedName:
    """
    A label value that has series on `/metrics`.

    Attributes:
        kind: `model_version`, or `capability` or `failure_class` of a version.
        name: Service, environment, version and the class, separated by spaces.
        series: Most series that it may create.
        last_started_at: Start of the last request of a version, Unix seconds; None for classes.
    """

    kind: str
    name: str
    series: int
    last_started_at: float | None


@dataclass(slots=True)
class Admitted:
    """
    Cache of the label values that the ledger has admitted.

    Attributes:
        values: Values by label and scope.
        series: Series that they may create, by service and environment; those of `other` always count.
    """

    values: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    series: Counter[str] = field(default_factory=lambda: Counter({OTHER: SERIES_OF_VERSION}))

    def add(self, label: str, scope: str, value: str) -> None:
        """Add *value*; a version also adds its service, and a class of a version is also a class of the service."""
        self.values.setdefault((label, scope), set()).add(value)
        if label in SERIES_OF:
            self.series[_pair(scope)] += SERIES_OF[label]
            of_class = label.removeprefix("version_"), scope.partition(" ")[0], value
            self.add(*(("service", "", scope) if label == "model_version" else of_class))


@dataclass
class Admission:
    """
    Decides, inside one transaction, under which label values a request is counted.

    Admitted values stay until they are unused for long (see `retention`). Before it admits a new value, a transaction
    takes a lock and reads what other replicas admitted, so that the caps hold for all replicas together.

    Attributes:
        connection: Connection of the transaction.
        insert: The dialect's `insert`, which supports `on_conflict_do_update`; SQLAlchemy has no type for both.
        settings: Caps on the values of each label and on the series of all.
        admitted: Cache between transactions; the caller empties it after a rollback.
        dropped: How often a value was refused, by the cap that it was over.
    """

    connection: sa.Connection
    insert: Callable[[sa.Table], Any]
    settings: LedgerSettings
    admitted: Admitted
    dropped: Counter[str] = field(default_factory=Counter)
    _is_fresh: bool = False

    def version(self, service: str, environment: str, model_version: str) -> VersionKey:
        """The version that a request counts for: its own, `other` of its service, or `other` of all services."""
        pair, cap = f"{service} {environment}", self.settings.max_model_versions
        if self._is_dropped("service", "", pair, cap=self.settings.max_services):
            return OTHERS
        if not self._is_dropped("model_version", pair, model_version, cap=cap):
            return service, environment, model_version
        return OTHERS if self._refusal("model_version", pair, OTHER, cap=cap + 1) else (service, environment, OTHER)

    def capability(self, version: VersionKey, name: str) -> str:
        """The capability that a request of *version* counts for."""
        return self._class_of(version, "capability", name, cap=self.settings.max_capabilities)

    def failure_class(self, version: VersionKey, name: str) -> str:
        """The failure class that a failure of *version* counts for."""
        return self._class_of(version, "failure_class", name, cap=self.settings.max_failure_classes)

    def _class_of(self, version: VersionKey, label: str, name: str, *, cap: int) -> str:
        if name == OTHER or version == OTHERS:
            return OTHER  # its series are part of `SERIES_OF_VERSION`
        of_service, of_version = (label, version[0]), (f"version_{label}", " ".join(version))
        return OTHER if any(self._is_dropped(*of, name, cap=cap) for of in (of_service, of_version)) else name

    def _is_dropped(self, label: str, scope: str, value: str, *, cap: int) -> bool:
        exceeded = self._refusal(label, scope, value, cap=cap)
        if exceeded:
            self.dropped[exceeded] += 1
        return bool(exceeded)

    def _refusal(self, label: str, scope: str, value: str, *, cap: int) -> str:
        """Admit *value* if it fits; returns the cap that it exceeds, or an empty string."""
        admitted, more = self.admitted.values.get((label, scope), ()), SERIES_OF.get(label, 0)
        if value in admitted:
            return ""
        if len(admitted) >= cap:
            return label
        if more and not has_room(self.admitted.series, _pair(scope), more, self.settings):
            return "series"
        if not self._is_fresh:
            self._refresh()
            return self._refusal(label, scope, value, cap=cap)
        if label in SERIES_OF:  # the other labels can be derived from these, see `Admitted.add`
            self.connection.execute(self.insert(label_value), {"label": label, "scope": scope, "value": value})
        self.admitted.add(label, scope, value)
        return ""

    def _refresh(self) -> None:
        """Lock out other replicas that admit values, then read what they have admitted."""
        row = self.insert(label_value).values(_LOCK)
        lock = row.on_conflict_do_update(index_elements=list(_LOCK), set_={"value": row.excluded.value})
        self.connection.execute(lock)
        rows = self.connection.execute(sa.select(label_value).where(label_value.c.label.in_(SERIES_OF)))
        for label, scope, value in readable("label_value", rows, lambda row: tuple(map(text, row))):
            if value not in self.admitted.values.get((label, scope), ()):
                self.admitted.add(label, scope, value)
        self._is_fresh = True
