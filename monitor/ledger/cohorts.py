"""Both arms of a rollout as the statistics take them: from cells, and from rows only where an hour is cut in two."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from operator import add
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.tiers import EASIER_TIERS, HARD_TIER, Tier
from monitor.labels.said import SaidCount
from monitor.ledger.cells import KEY, SUMS, one_request
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.ledger import FailureCounts
from monitor.ledger.schema import model_version, request, stratum, traffic
from monitor.ledger.stored import readable, real, whole
from monitor.rollout import cohort as arms
from monitor.rollout.label_plan import ServedRequest
from monitor.rollout.oncall import Signature
from monitor.rollout.tracker import EvidenceWindow, Rollout
from monitor.trace.model import PROBES_ENVIRONMENT, UNRESOLVED

_MOST_SIGNATURES = 1_000
_MOST_CUT = 20_000  # requests of an hour that is cut in two; with more, the hour waits until it is whole
_CLUSTERED_READ = 20_000  # requests of so many, in whole clusters, tell a design effect
_CLUSTERS = 2**63
_ENOUGH_BESIDE = 200  # candidate requests beside as many of the baseline, with which hours are compared with themselves


class ArmReader:
    """
    Reads both arms of a rollout, in one transaction; what several views look at is read once.

    Args:
        connection: Of the transaction.
        rollout: Whose arms they are.
        matured_before: Only requests that started before, Unix seconds.
    """

    def __init__(self, connection: sa.Connection, rollout: Rollout, *, matured_before: float) -> None:
        self._connection = connection
        self._rollout = rollout
        self._until = matured_before
        self._read: dict[tuple[Any, ...], _Evidence] = {}

    def cohort(
        self, window: EvidenceWindow, view: arms.TierView
    ) -> tuple[arms.Cohort, tuple[FailureCounts, FailureCounts]]:
        """Both arms by stratum in *window*, and the most frequent signatures of their failures."""
        baseline, candidate, comparison = self._arms(window)
        # The same part of all clusters in both arms, so that those which both serve meet.
        part = min(1.0, _CLUSTERED_READ / max(baseline.requests_of_version, candidate.requests_of_version, 1))
        old, new = baseline.clusters(view, part), candidate.clusters(view, part)
        cohort = arms.Cohort(
            baseline=arms.Arm(self._rollout.baseline, baseline.strata(view), [*old.sums()]),
            candidate=arms.Arm(self._rollout.candidate, candidate.strata(view), [*new.sums()]),
            calibration_id=self._rollout.calibration_id,
            tiers_by=view.tiers_by,
            comparison=comparison,
            shared_clusters=[*old.shared_with(new)],
            unresolved=self._unresolved(),
        )
        return cohort, (baseline.failure_classes(view), candidate.failure_classes(view))

    def classes(self, *, since: float, until: float) -> Mapping[tuple[str, str], tuple[int, int]]:
        """
        Labelled requests and failures of the baseline from *since* until *until* (Unix seconds), by class.

        A class is a capability, or a set of tools where the capability is `unclassified`.
        """
        counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for cell in self._evidence(self._rollout.baseline, since, until, any_calibration=True).cells:
            counts[cell.capability, cell.tool_set][0] += int(cell.labelled)
            counts[cell.capability, cell.tool_set][1] += int(cell.failures)
        return {key: (labelled, failures) for key, (labelled, failures) in counts.items()}

    def baseline_begins(self, *, since: float, until: float) -> float:
        """Start of the first hour in which the baseline served between these times; *until* where it did not."""
        cells = self._evidence(self._rollout.baseline, since, until, any_calibration=True).cells
        return min((cell.hour * HOUR_SECONDS for cell in cells), default=until)

    def declares_tiers(self) -> bool:
        """Whether any request of either arm has a declared tier."""
        ids = arm_ids(self._connection, self._rollout)
        declared = sa.select(stratum.c.hour).where(stratum.c.model_version_id.in_(ids), stratum.c.declared_tier != "")
        return self._connection.scalar(declared.limit(1)) is not None

    def served(self, window: EvidenceWindow, *, seed: int, most: int = 20_000) -> Sequence[ServedRequest]:
        """Requests of both arms; of an arm with more than *most* every n-th, from one that *seed* chooses."""
        starts = dict.fromkeys(arms.ArmName, window.candidate_since)
        if self._arms(window)[2] is arms.Comparison.BEFORE_AFTER:
            starts[arms.ArmName.BASELINE] = window.baseline_since
        where = {"until": self._until, "seed": seed, "most": most}
        return [
            ServedRequest._make((arm, *row))
            for arm, since in starts.items()
            for version_id in [_version_id(self._connection, self._rollout, getattr(self._rollout, arm))]
            for row in self._connection.execute(_SERVED, {**where, "version_id": version_id, "since": max(since, 0.0)})
        ]

    def _unresolved(self) -> arms.Unresolved:
        """Requests of the service since the rollout began whose version nothing told, and failures among them."""
        cells = self._evidence(UNRESOLVED, self._rollout.started_at, self._until, any_calibration=True).cells
        return arms.Unresolved(sum(int(cell.requests) for cell in cells), sum(int(cell.failures) for cell in cells))

    def _arms(self, window: EvidenceWindow) -> tuple[_Evidence, _Evidence, arms.Comparison]:
        candidate = self._evidence(self._rollout.candidate, window.candidate_since, self._until)
        if self._rollout.environment == PROBES_ENVIRONMENT:  # a panel is the same whenever it is asked
            baseline = self._evidence(self._rollout.baseline, window.baseline_since, self._until)
            return baseline, candidate, arms.Comparison.CONCURRENT
        baseline = self._evidence(self._rollout.baseline, window.candidate_since, self._until)
        for hours in (1, arms.SPAN_HOURS):
            old, new = baseline.by_hour(hours), candidate.by_hour(hours)
            beside = sum(min(requests, old[hour]) for hour, requests in new.items())
            if 2 * beside >= new.total() or beside >= _ENOUGH_BESIDE:
                return baseline, candidate, arms.Comparison.CONCURRENT
        baseline = self._evidence(self._rollout.baseline, window.baseline_since, self._until)
        return baseline, candidate, arms.Comparison.BEFORE_AFTER

    def _evidence(self, version: str, since: float, until: float, *, any_calibration: bool = False) -> _Evidence:
        key = (version, since, until, any_calibration)
        if key not in self._read:
            version_id = _version_id(self._connection, self._rollout, version)
            calibration_id = "" if any_calibration else self._rollout.calibration_id
            evidence = _Evidence(self._connection, version_id, max(since, 0.0), until, calibration_id)
            where = {"version_id": version_id, "calibration_id": calibration_id, "any_calibration": any_calibration}
            is_panel = self._rollout.environment == PROBES_ENVIRONMENT
            self._read[key] = evidence if version_id is None else evidence.read(where, is_panel=is_panel)
        return self._read[key]


def arm_ids(connection: sa.Connection, rollout: Rollout) -> Sequence[int]:
    """Ids of the versions of *rollout* that the ledger knows, the baseline's first."""
    ids = (_version_id(connection, rollout, version) for version in (rollout.baseline, rollout.candidate))
    return [version_id for version_id in ids if version_id is not None]


def whole_from(connection: sa.Connection, version_id: int) -> float:
    """Start of the first hour from which on all rows of a version are there, Unix seconds; 0 where none went."""
    until = connection.scalar(sa.select(model_version.c.pruned_before).where(model_version.c.id == version_id))
    # A bad value that an accident stored stops no start.
    if not isinstance(until, float) or not math.isfinite(until):
        return 0.0
    return (until // HOUR_SECONDS + 1) * HOUR_SECONDS


def _version_id(connection: sa.Connection, rollout: Rollout, version: str) -> int | None:
    columns = model_version.c
    return connection.scalar(
        sa.select(columns.id)
        .where(columns.service == rollout.service, columns.environment == rollout.environment)
        .where(columns.model_version == version)
    )


_TIERS = {str(tier): tier for tier in Tier}  # several times faster than `Tier`
_WHOLE = {"hour", "bin", *SUMS}


def _stratum(key: tuple[Any, ...], of_said: Sequence[tuple[tuple[Any, ...], Sequence[float]]]) -> arms.Stratum:
    hour, tier, capability, number, is_known = key
    n, labelled, failures, logits, variances, *_ = map(sum, zip(*(sums for _, sums in of_said), strict=True))
    said = [SaidCount(key[-1], *sums[:3], *sums[7:]) for key, sums in of_said]  # between them: clustered ones
    counted = int(n), int(labelled), int(failures)
    return arms.Stratum(tier, capability, number, is_known, *counted, logits, variances, hour, said)


@dataclass(frozen=True, eq=False)
class _Evidence:
    """
    Requests of one version that started from *since* until *until* (Unix seconds), read once.

    Attributes:
        cells: Sums of requests that are alike; two may have the same key.
        whole_from: From when on there are rows for all of them, Unix seconds.
    """

    connection: sa.Connection
    version_id: int | None
    since: float
    until: float
    calibration_id: str
    cells: Sequence[sa.Row[Any]] = ()
    whole_from: float = 0.0
    samples: dict[float, Sequence[sa.Row[Any]]] = field(default_factory=dict)

    def read(self, where: Mapping[str, Any], *, is_panel: bool) -> _Evidence:
        """With its cells, of requests *where*; of a panel the first run of each item."""
        connection, (since, until) = self.connection, (self.since, self.until)
        if is_panel:
            parts = [connection.execute(_FIRST_RUNS, {**where, "since": since, "until": until, "hour": 0}).all()]
        else:
            first, last = math.ceil(since / HOUR_SECONDS), int(until // HOUR_SECONDS)
            parts = [connection.execute(_CELLS, {**where, "first": first, "last": last}).all()]
            for start, end in _cut_hours(since, until):
                hour = int(start // HOUR_SECONDS)
                requests = connection.scalar(_REQUESTS_OF_HOUR, {"version_id": self.version_id, "hour": hour}) or 0
                if 0 < requests <= _MOST_CUT:
                    piece = {**where, "since": start, "until": end, "hour": hour}
                    parts.append(connection.execute(_PIECE, piece).all())
        cells = [cell for part in parts for cell in (part if _are_sound(part) else readable("stratum", part, _checked))]
        return replace(self, cells=cells, whole_from=whole_from(connection, where["version_id"]))

    def by_hour(self, hours: int) -> Counter[int]:
        """Requests by time, so many *hours* in a row as one."""
        requests: Counter[int] = Counter()
        for cell in self.cells:
            requests[cell.hour // hours] += int(cell.requests)
        return requests

    def strata(self, view: arms.TierView) -> Sequence[arms.Stratum]:
        merged: dict[tuple[Any, ...], Sequence[float]] = {}
        for tier, cell in self._tiered(view):
            hour, _, _, _, capability, _, number, is_known, _, said, *sums = tuple(cell)
            key = (hour, tier, capability, number, bool(is_known), said)
            counted, have = [*map(float, sums)], merged.get(key)
            merged[key] = counted if have is None else [*map(add, have, counted)]
        alike = groupby(sorted(merged.items()), key=lambda item: item[0][:-1])
        return [_stratum(key, [*of_said]) for key, of_said in alike]

    def failure_classes(self, view: arms.TierView) -> FailureCounts:
        counts: Counter[Signature] = Counter()
        for tier, cell in self._tiered(view):
            if cell.failures:
                counts[Signature(tier, cell.capability, cell.failure_class)] += int(cell.failures)
        return dict(counts.most_common(_MOST_SIGNATURES))

    def clusters(self, view: arms.TierView, part: float) -> _Clusters:
        """Whole clusters, *part* of them, and as many of the requests without one; none where no request has one."""
        of_tier: dict[Tier, list[int]] = defaultdict(lambda: [0, 0])
        for tier, cell in self._tiered(view):
            if cell.hour >= self.whole_from / HOUR_SECONDS:
                of_tier[tier][0] += int(cell.labelled - cell.clustered)
                of_tier[tier][1] += int(cell.failures - cell.clustered_failures)
        alone: dict[arms.TierGroup, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for tier, (labelled, failures) in of_tier.items():
            for group in _groups(tier):
                alone[group][0] += part * labelled
                alone[group][1] += part * failures
        sizes: dict[arms.TierGroup, dict[int, list[int]]] = defaultdict(dict)
        sampled = self._sampled(part)
        for tier, cell in zip(_tiers(view, sampled), sampled, strict=True):
            for group in _groups(tier):
                size = sizes[group].setdefault(cell.cluster, [0, 0])
                size[0] += int(cell.labelled)
                size[1] += int(cell.failures)
        return _Clusters(sizes, alone)

    def _tiered(self, view: arms.TierView) -> Iterator[tuple[Tier, sa.Row[Any]]]:
        return zip(_tiers(view, self.cells), self.cells, strict=True)

    @cached_property
    def requests_of_version(self) -> int:
        where = {"version_id": self.version_id, "hour": self.whole_from / HOUR_SECONDS}
        return int(self.connection.scalar(_REQUESTS_FROM_HOUR, where) or 0)

    def _sampled(self, part: float) -> Sequence[sa.Row[Any]]:
        """Labelled requests and failures of whole clusters, by cluster and what gives a tier."""
        if part not in self.samples:
            among = min(int(part * _CLUSTERS), _CLUSTERS - 1)
            where: dict[str, Any] = {"version_id": self.version_id, "calibration_id": self.calibration_id, "hour": 0}
            where |= {"since": max(self.since, self.whole_from), "until": self.until, "among": among}
            has_any = any(cell.clustered for cell in self.cells)
            self.samples[part] = self.connection.execute(_SAMPLED, where).all() if has_any else ()
        return self.samples[part]


def _cut_hours(since: float, until: float) -> Iterator[tuple[float, float]]:
    """What of the time from *since* until *until* is no whole hour."""
    first, last = math.ceil(since / HOUR_SECONDS) * HOUR_SECONDS, until // HOUR_SECONDS * HOUR_SECONDS
    for start, end in ((since, min(first, until)), (max(last, first), until)):
        if start < end:
            yield start, end


def _of_version(table: sa.Table, select: sa.Select[Any]) -> sa.Select[Any]:
    """*select* within the parameters `version_id` and `calibration_id`, or `any_calibration`."""
    return select.where(table.c.model_version_id == sa.bindparam("version_id")).where(
        sa.or_(
            sa.bindparam("any_calibration", type_=sa.Boolean),
            table.c.calibration_id == sa.bindparam("calibration_id", type_=sa.Text),
        )
    )


def _started_between(
    select: sa.Select[Any], started_at: sa.ColumnElement[float] = request.c.started_at
) -> sa.Select[Any]:
    return select.where(started_at >= sa.bindparam("since", type_=sa.Double)).where(
        started_at < sa.bindparam("until", type_=sa.Double)
    )


def _summed(rows: sa.Subquery, by: Sequence[str], sums: Sequence[str]) -> sa.Select[Any]:
    keys = [rows.c[name] for name in by]
    return sa.select(*keys, *(sa.func.sum(rows.c[name]).label(name) for name in sums)).group_by(*keys)


# Made once: each costs more to make than to run.
_HOUR = sa.bindparam("hour", type_=sa.Integer)
_ROW = tuple(one_request(_HOUR))
_CELLS = _of_version(stratum, sa.select(*(stratum.c[name] for name in (*KEY, *SUMS)))).where(
    stratum.c.hour >= sa.bindparam("first"), stratum.c.hour < sa.bindparam("last")
)
_PIECE = _summed(_started_between(_of_version(request, sa.select(*_ROW))).subquery(), KEY, SUMS)
_RUN = sa.func.row_number().over(
    partition_by=sa.func.coalesce(request.c.item, request.c.trace_id),
    order_by=(request.c.success.is_(None), request.c.started_at, request.c.trace_id),
)
_RUNS = _started_between(_of_version(request, sa.select(*_ROW, _RUN.label("run")))).subquery()
_FIRST_RUNS = _summed(
    sa.select(*(_RUNS.c[name] for name in (*KEY, *SUMS))).where(_RUNS.c.run == 1).subquery(), KEY, SUMS
)
_SAMPLED = _summed(
    # Of an expression of the start SQLite has no index, so it takes that of clusters, and not the whole version.
    _started_between(sa.select(request.c.cluster, *_ROW), request.c.started_at + sa.literal_column("0.0"))
    .where(request.c.model_version_id == sa.bindparam("version_id"))
    .where(request.c.calibration_id == sa.bindparam("calibration_id", type_=sa.Text))
    .where(request.c.cluster.is_not(None), request.c.cluster <= sa.bindparam("among", type_=sa.BigInteger))
    .where(request.c.success.is_not(None))
    .subquery(),
    ("cluster", "tier", "declared_tier", "capability", "tool_set"),
    ("labelled", "failures"),
)
_REQUESTS = sa.select(sa.func.sum(traffic.c.requests)).where(traffic.c.model_version_id == sa.bindparam("version_id"))
_REQUESTS_FROM_HOUR, _REQUESTS_OF_HOUR = (
    _REQUESTS.where(traffic.c.hour >= sa.bindparam("hour", type_=sa.Double)),
    _REQUESTS.where(traffic.c.hour == _HOUR),
)

_RANKED = (
    sa.select(
        *request.c["trace_id", "started_at"],
        sa.func.coalesce(sa.func.nullif(request.c.declared_tier, ""), request.c.tier),
        request.c.capability,
        sa.func.coalesce(request.c.said, ""),
        *request.c["success", "bin"],
        sa.func.row_number().over(order_by=(request.c.started_at, request.c.trace_id)).label("place"),
        sa.func.count().over().label("total"),
    )
    .where(request.c.model_version_id == sa.bindparam("version_id"))
    .where(request.c.started_at >= sa.bindparam("since"), request.c.started_at < sa.bindparam("until"))
    .subquery()
)
_STEP = (_RANKED.c.total - 1) // sa.bindparam("most", type_=sa.BigInteger) + 1
_IS_READ = (_RANKED.c.place + sa.bindparam("seed", type_=sa.BigInteger)) % _STEP == 0
_SERVED = sa.select(*[*_RANKED.c][:-2], sa.cast(1.0 / _STEP, sa.Double)).where(_IS_READ)


def _tiers(view: arms.TierView, rows: Sequence[sa.Row[Any]]) -> Sequence[Tier]:
    """Of each of *rows*."""
    match view.tiers_by:
        case arms.TiersBy.LEARNT:
            return [_TIERS.get(row.tier, Tier.UNTIERED) for row in rows]
        case arms.TiersBy.DECLARED:
            return [_TIERS.get(row.declared_tier, Tier.UNTIERED) for row in rows]
        case arms.TiersBy.CLASS:
            return [view.class_tiers.get((row.capability, row.tool_set), Tier.UNTIERED) for row in rows]
        case arms.TiersBy.NONE:
            return [Tier.UNTIERED] * len(rows)


def _are_sound(cells: Sequence[sa.Row[Any]]) -> bool:
    """Whether all *cells* say what cells say; a review reads so many that they are not asked one by one."""
    columns = zip(*cells, strict=True)
    return all(_is_sound(name, column) for name, column in zip((*KEY, *SUMS), columns, strict=False))


def _is_sound(name: str, column: Sequence[Any]) -> bool:
    kinds = set(map(type, column))
    if name in {"tier", "declared_tier"}:
        return set(column) <= {*_TIERS, ""}
    if name.endswith("_sum"):
        return kinds <= {int, float} and math.isfinite(sum(column))
    return name not in _WHOLE or (kinds == {int} and min(column) >= 0)


def _checked(cell: sa.Row[Any]) -> sa.Row[Any]:
    """*cell*, if it says what cells say."""
    Tier(cell.tier), Tier(cell.declared_tier or Tier.UNTIERED)
    for number in (cell.hour, cell.bin, *(int(getattr(cell, name)) for name in SUMS if not name.endswith("_sum"))):
        whole(number)
    for name in SUMS:
        if name.endswith("_sum"):
            real(getattr(cell, name))
    return cell


def _groups(tier: Tier) -> Sequence[arms.TierGroup]:
    group = arms.TierGroup.HARD if tier in HARD_TIER else arms.TierGroup.EASIER if tier in EASIER_TIERS else None
    return (arms.TierGroup.ALL,) if group is None else (arms.TierGroup.ALL, group)


@dataclass(frozen=True, slots=True)
class _Clusters:
    """
    Labelled requests and failures of one arm.

    Attributes:
        sizes: Of each cluster in each group.
        alone: Of the requests without a cluster, each one of its own, in each group.
    """

    sizes: Mapping[arms.TierGroup, Mapping[int, Sequence[int]]]
    alone: Mapping[arms.TierGroup, Sequence[float]]

    def sums(self) -> Iterator[arms.ClusterSums]:
        for group, of_cluster in self.sizes.items():
            sizes = of_cluster.values()
            alone, failed = map(round, self.alone.get(group, (0.0, 0.0)))
            yield arms.ClusterSums(
                group,
                clusters=len(sizes) + alone,
                requests=sum(n for n, _ in sizes) + alone,
                failures=sum(f for _, f in sizes) + failed,
                requests_squared=sum(n * n for n, _ in sizes) + alone,
                requests_failures=sum(n * f for n, f in sizes) + failed,
                failures_squared=sum(f * f for _, f in sizes) + failed,
            )

    def shared_with(self, other: _Clusters) -> Iterator[arms.SharedClusterSums]:
        """Products over the clusters that both arms served."""
        for group, sizes in self.sizes.items():
            others = other.sizes.get(group, {})
            pairs = [(size, others[cluster]) for cluster, size in sizes.items() if cluster in others]
            if pairs:  # the candidate's requests with both of the baseline's, then its failures
                products = [sum(own[i] * its[j] for own, its in pairs) for j in (0, 1) for i in (0, 1)]
                yield arms.SharedClusterSums(group, *products)
