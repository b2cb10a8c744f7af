"""Reads both arms of a rollout for the statistics: from hourly cells, and from rows where a window splits an hour."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain
from typing import Any

import sqlalchemy as sa

from monitor.difficulty.tiers import Tier
from monitor.ledger.cell_memory import CELL, CellMemory, Cells, Columns, columns_of, of_version, tiers_of
from monitor.ledger.cells import KEY, SUMS, one_request, summed
from monitor.ledger.counting import HOUR_SECONDS
from monitor.ledger.ledger import FailureCounts
from monitor.ledger.schema import model_version, request, stratum, traffic
from monitor.rollout import cohort as arms
from monitor.rollout.cluster_sample import ClusterRow, Clusters, Sample
from monitor.rollout.label_plan import ServedRequest
from monitor.rollout.oncall import Signature
from monitor.rollout.tracker import EvidenceWindow, Rollout
from monitor.trace.grouping import added_up
from monitor.trace.model import PROBES_ENVIRONMENT, UNRESOLVED

_MOST_SIGNATURES = 1_000
_MOST_IN_PARTIAL_HOUR = 20_000  # a partial hour with more requests is left out until the window covers all of it
_CLUSTERED_READ = 15_000  # requests to read, about, in whole clusters, to estimate the design effect
_ALONE_READ = 5_000  # requests to read, about, that are clusters of their own: more hardly improve the estimate
_CLUSTERS = 2**63
_MOST_LARGEST = 20  # largest clusters that are always read
_MOST_PROBED, _LEAST_STEP = 1_000, 100  # to find them: requests to probe at most, and fewest requests between two
_MOST_OF_LARGEST = 100_000  # requests in all of them; a single cluster may have more
_ENOUGH_CONCURRENT = 200  # requests of each arm in shared hours that suffice for a concurrent comparison


@dataclass
class ArmReader:
    """
    Reads both arms of a rollout in one transaction; caches what it read for several views.

    Attributes:
        connection: Connection of the transaction.
        memory: Caches cells between transactions.
        rollout: The rollout to read.
        matured_before: Reads only requests that started before this, Unix seconds.
    """

    connection: sa.Connection
    memory: CellMemory
    rollout: Rollout
    matured_before: float
    _read: dict[tuple[Any, ...], _Evidence] = field(default_factory=dict)

    def cohort(
        self, window: EvidenceWindow, view: arms.TierView
    ) -> tuple[arms.Cohort, tuple[FailureCounts, FailureCounts]]:
        """Both arms by stratum in *window*, and the most frequent signatures of their failures."""
        baseline, candidate, comparison = self._arms(window)
        # Sample by the same cluster hashes in both arms, so that a cluster which both serve is read in both.
        most = max(baseline.requests_of_version, candidate.requests_of_version, 1)
        part = min(1.0, _CLUSTERED_READ / most)
        tiers, new_tiers = tiers_of(view, baseline.columns), tiers_of(view, candidate.columns)
        largest = frozenset[int]() if part == 1.0 else baseline.largest | candidate.largest
        sample = Sample(part, min(1.0, _ALONE_READ / most), largest)
        old, new = baseline.clusters(view, tiers, sample), candidate.clusters(view, new_tiers, sample)
        cohort = arms.Cohort(
            baseline=arms.Arm(self.rollout.baseline, baseline.strata(view), [*old.sums()]),
            candidate=arms.Arm(self.rollout.candidate, candidate.strata(view), [*new.sums()]),
            calibration_id=self.rollout.calibration_id,
            tiers_by=view.tiers_by,
            comparison=comparison,
            shared_clusters=[*old.shared_with(new)],
            unresolved=self._unresolved(),
        )
        return cohort, (baseline.failure_classes(tiers), candidate.failure_classes(new_tiers))

    def classes(self, *, since: float, until: float) -> Mapping[tuple[str, str], tuple[int, int]]:
        """
        Labelled requests and failures of the baseline from *since* until *until* (Unix seconds), by class.

        A class is a capability, or a set of tools if the capability is `unclassified`.
        """
        counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        evidence = self._evidence(self.rollout.baseline, since, until, any_calibration=True)
        for *name, labelled, failures in evidence.cells("capability", "tool_set", "labelled", "failures"):
            counts[*name][0] += labelled
            counts[*name][1] += failures
        return {key: (labelled, failures) for key, (labelled, failures) in counts.items()}

    def baseline_begins(self, *, since: float, until: float) -> float:
        """Start of the first hour in which the baseline served between these times; *until* if it did not."""
        evidence = self._evidence(self.rollout.baseline, since, until, any_calibration=True)
        return min((hour * HOUR_SECONDS for hour in evidence.columns["hour"]), default=until)

    def declares_tiers(self) -> bool:
        """Whether any request of either arm has a declared tier."""
        ids = [version_id for name, (version_id, _) in self._versions.items() if name != UNRESOLVED]
        declared = sa.select(stratum.c.hour).where(stratum.c.model_version_id.in_(ids), stratum.c.declared_tier != "")
        return self.connection.scalar(declared.limit(1)) is not None

    def served(self, window: EvidenceWindow, *, seed: int, most: int = 20_000) -> Sequence[ServedRequest]:
        """Requests of both arms; every n-th of an arm with more than *most*, beginning with one that *seed* chooses."""
        starts = dict.fromkeys(arms.ArmName, window.candidate_since)
        if self._arms(window)[2] is arms.Comparison.BEFORE_AFTER:
            starts[arms.ArmName.BASELINE] = window.baseline_since
        where = {"until": self.matured_before, "seed": seed, "most": most}
        return [
            ServedRequest._make((arm, *row))
            for arm, since in starts.items()
            for version_id, _ in [self._versions.get(getattr(self.rollout, arm), (None, 0.0))]
            for row in self.connection.execute(_SERVED, {**where, "version_id": version_id, "since": max(since, 0.0)})
        ]

    def _unresolved(self) -> arms.Runs:
        """The service's requests since the rollout began whose version is unknown, and failures among them."""
        columns = self._evidence(UNRESOLVED, self.rollout.started_at, self.matured_before, any_calibration=True).columns
        return arms.Runs(sum(columns["requests"]), sum(columns["failures"]))

    def _arms(self, window: EvidenceWindow) -> tuple[_Evidence, _Evidence, arms.Comparison]:
        candidate = self._evidence(self.rollout.candidate, window.candidate_since, self.matured_before)
        if self.rollout.environment == PROBES_ENVIRONMENT:  # a panel has the same items at any time
            baseline = self._evidence(self.rollout.baseline, window.baseline_since, self.matured_before)
            return baseline, candidate, arms.Comparison.CONCURRENT
        baseline = self._evidence(self.rollout.baseline, window.candidate_since, self.matured_before)
        by_hour = (each.by_hour(1).items() for each in (baseline, candidate))
        is_over = not window.is_decided and arms.hours_alone(*by_hour) > 0
        for hours in () if is_over else (1, arms.SPAN_HOURS):
            old, new = baseline.by_hour(hours), candidate.by_hour(hours)
            concurrent = sum(min(requests, old[hour]) for hour, requests in new.items())
            if 2 * concurrent >= sum(new.values()) or concurrent >= _ENOUGH_CONCURRENT:
                return baseline, candidate, arms.Comparison.CONCURRENT
        baseline = self._evidence(self.rollout.baseline, window.baseline_since, self.matured_before)
        return baseline, candidate, arms.Comparison.BEFORE_AFTER

    def _evidence(self, version: str, since: float, until: float, *, any_calibration: bool = False) -> _Evidence:
        key = (version, since, until, any_calibration)
        if key not in self._read:
            version_id, whole_from = self._versions.get(version, (None, 0.0))
            calibration_id = "" if any_calibration else self.rollout.calibration_id
            window = {"version_id": version_id, "since": max(since, 0.0), "until": until}
            where = {**window, "calibration_id": calibration_id, "any_calibration": any_calibration}
            evidence = _Evidence(self.connection, where, whole_from=whole_from)
            is_panel = self.rollout.environment == PROBES_ENVIRONMENT
            self._read[key] = evidence if version_id is None else evidence.read(self.memory, is_panel=is_panel)
        return self._read[key]

    @cached_property
    def _versions(self) -> Mapping[str, tuple[int, float]]:
        return versions_of(self.connection, self.rollout, UNRESOLVED)


def versions_of(connection: sa.Connection, rollout: Rollout, *others: str) -> Mapping[str, tuple[int, float]]:
    """
    ID of each version of *rollout*, and of *others* of its service, by name; without those not in the ledger.

    Beside it, the start of the first hour whose rows are all there, Unix seconds; 0 if none was pruned.
    """
    names = {"names": [rollout.baseline, rollout.candidate, *others]}
    where = {"service": rollout.service, "environment": rollout.environment, **names}
    return {name: (version_id, _after(until)) for name, version_id, until in connection.execute(_VERSIONS, where)}


def _after(until: float | None) -> float:
    # A corrupt value in the database must not stop the service.
    return (until // HOUR_SECONDS + 1) * HOUR_SECONDS if isinstance(until, float) and math.isfinite(until) else 0.0


_GROUPS = {tier: dict.fromkeys((arms.TierGroup.ALL, arms.group_of(tier))) for tier in Tier}
_SAMPLED_KEY = ("cluster", "tier", "declared_tier", "capability", "tool_set", "prompt_family", "tools")
_SAMPLED_SUMS = ("labelled", "failures")


@dataclass(frozen=True, eq=False)
class _Evidence:
    """
    Requests of one version that started in one period.

    Attributes:
        where: Bind parameters that select these requests in the statements below.
        hours: Their cells, by hour.
        whole_from: Requests that started after this (Unix seconds) all have their rows still.
    """

    connection: sa.Connection
    where: Mapping[str, Any]
    hours: Sequence[Cells] = ()
    whole_from: float = 0.0
    samples: dict[Sample, Columns] = field(default_factory=dict)

    def read(self, memory: CellMemory, *, is_panel: bool) -> _Evidence:
        """A copy with its cells loaded; in a probe panel, only the first run of each item counts."""
        connection, where, since, until = self.connection, self.where, self.where["since"], self.where["until"]
        if is_panel:
            hours = [Cells.of(connection.execute(_FIRST_RUNS, {**where, "hour": 0}).all())]
        else:
            first, last = math.ceil(since / HOUR_SECONDS), int(until // HOUR_SECONDS)
            before = self._partial_hour(since, min(first * HOUR_SECONDS, until))
            after = self._partial_hour(max(last, first) * HOUR_SECONDS, until)
            hours = [*before, *memory.read(connection, where, first, last), *after]
        return replace(self, hours=hours)

    def _partial_hour(self, start: float, end: float) -> Iterator[Cells]:
        """Cells of a part of an hour (Unix seconds), from its rows."""
        where = {**self.where, "since": start, "until": end, "hour": int(start // HOUR_SECONDS)}
        if start < end and 0 < (self.connection.scalar(_REQUESTS_OF_HOUR, where) or 0) <= _MOST_IN_PARTIAL_HOUR:
            yield Cells.of(self.connection.execute(_PARTIAL_HOUR, where).all())

    @cached_property
    def columns(self) -> Columns:
        """The columns of the cells of all hours."""
        return {name: [*chain.from_iterable(cells.columns[name] for cells in self.hours)] for name in CELL}

    def cells(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """The values of the columns *names* of each cell."""
        return zip(*(self.columns[name] for name in names), strict=True)

    def by_hour(self, hours: int) -> Mapping[int, int]:
        """Requests by period; each period lasts *hours* hours."""
        return added_up((hour // hours, number) for hour, number in self.cells("hour", "requests"))

    def strata(self, view: arms.TierView) -> Sequence[arms.Stratum]:
        return [*chain.from_iterable(cells.by_stratum(view) for cells in self.hours)]

    def failure_classes(self, tiers: Sequence[Tier]) -> FailureCounts:
        cells = zip(tiers, self.cells("failures", "capability", "failure_class"), strict=True)
        counts = Counter(added_up(((tier, *name), failures) for tier, (failures, *name) in cells if failures))
        return {Signature(*name): failures for name, failures in counts.most_common(_MOST_SIGNATURES)}

    def clusters(self, view: arms.TierView, tiers: Sequence[Tier], sample: Sample) -> Clusters:
        """The clusters in *sample*, and all requests that belong to no cluster."""
        alone: dict[arms.TierGroup, list[int]] = defaultdict(lambda: [0, 0])
        names = ("hour", "labelled", "clustered", "failures", "clustered_failures")
        for tier, (hour, labelled, clustered, failures, failed) in zip(tiers, self.cells(*names), strict=True):
            if labelled > clustered and hour >= self.whole_from / HOUR_SECONDS:
                for group in _GROUPS[tier]:
                    alone[group][0] += labelled - clustered
                    alone[group][1] += failures - failed
        sampled = self._sampled(sample)
        kinds: dict[arms.TierGroup, list[ClusterRow]] = defaultdict(list)
        columns = (sampled[name] for name in ("cluster", "prompt_family", "capability", "tools", *_SAMPLED_SUMS))
        rows = zip(tiers_of(view, sampled), *columns, strict=True)
        for tier, cluster, family, capability, tools, *sums in rows:
            alike_by = (cluster if cluster >= 0 else None), family, (capability, tools) if tools else None
            for group in _GROUPS[tier]:
                kinds[group].append((alike_by, sample.weight(cluster), *sums))
        return Clusters(sample, alone, kinds)

    @cached_property
    def requests_of_version(self) -> int:
        return int(self.connection.scalar(_REQUESTS_FROM, {**self.where, "hour": self.whole_from / HOUR_SECONDS}) or 0)

    @cached_property
    def largest(self) -> frozenset[int]:
        """The largest clusters of the version, which a random sample of clusters would rarely contain."""
        step = max(self.requests_of_version // _MOST_PROBED, _LEAST_STEP)
        where = {**self.where, "step": step, "hour": math.ceil(self.whole_from / HOUR_SECONDS)}
        hits = Counter(self.connection.scalars(_PROBED_CLUSTERS, where) if any(self.columns["clustered"]) else ())
        sizes = sorted(((n * step, c) for c, n in hits.items() if c is not None and c >= 0 and n > 1), reverse=True)
        totals = accumulate(requests for requests, _ in sizes[:_MOST_LARGEST])
        return frozenset(c for (n, c), total in zip(sizes, totals, strict=False) if total <= max(n, _MOST_OF_LARGEST))

    def _sampled(self, sample: Sample) -> Columns:
        """Labelled requests and failures of whole clusters, by cluster and by the columns that decide the tier."""
        if sample not in self.samples:
            among = min(int(sample.part * _CLUSTERS), _CLUSTERS - 1)
            where = {**self.where, "since": max(self.where["since"], self.whole_from), "among": among}
            where["alone"] = -min(int(sample.alone * _CLUSTERS), _CLUSTERS - 1)
            where["beyond"] = [cluster for cluster in sample.largest if cluster > among]
            # Early in a rollout, the window holds fewer requests of the baseline than the sampled clusters do.
            is_window_smaller = sum(self.columns["requests"]) < sample.part * self.requests_of_version
            selects = _SAMPLED_BY_START if is_window_smaller else _SAMPLED_BY_CLUSTER
            rows = [row for select in selects for row in self.connection.execute(select, where)]
            self.samples[sample] = columns_of((*_SAMPLED_KEY, *_SAMPLED_SUMS), rows)
        return self.samples[sample]


def _started_between(
    select: sa.Select[Any], started_at: sa.ColumnElement[float] = request.c.started_at
) -> sa.Select[Any]:
    since, until = (sa.bindparam(name, type_=sa.Double) for name in ("since", "until"))
    return select.where(started_at >= since, started_at < until)


# Statements are built once, since building one takes longer than running it.
_VERSIONS = sa.select(*model_version.c["model_version", "id", "pruned_before"]).where(
    *(model_version.c[name] == sa.bindparam(name) for name in ("service", "environment")),
    model_version.c.model_version.in_(sa.bindparam("names", expanding=True)),
)
_HOUR = sa.bindparam("hour", type_=sa.Integer)
_ROW = tuple(one_request(_HOUR))
_PARTIAL_HOUR = summed(_started_between(of_version(request, sa.select(*_ROW))).subquery(), KEY, SUMS)
_RUN = sa.func.row_number().over(
    partition_by=sa.func.coalesce(request.c.item, request.c.trace_id),
    order_by=(request.c.success.is_(None), request.c.started_at, request.c.trace_id),
)
_RUNS = _started_between(of_version(request, sa.select(*_ROW, _RUN.label("run")))).subquery()
_FIRST_RUNS = summed(sa.select(*(_RUNS.c[name] for name in CELL)).where(_RUNS.c.run == 1).subquery(), KEY, SUMS)


def _sampled_of(is_read: sa.ColumnElement[bool], started_at: sa.ColumnElement[float]) -> sa.Select[Any]:
    of_row = (column for column in _ROW if column.name in {*_SAMPLED_KEY, *_SAMPLED_SUMS})
    cluster = sa.case((request.c.cluster < 0, -1), else_=request.c.cluster).label("cluster")
    columns = sa.select(cluster, request.c.prompt_family, request.c.tool_set.label("tools"), *of_row)
    rows = (
        _started_between(columns, started_at)
        .where(request.c.model_version_id == sa.bindparam("version_id"))
        .where(request.c.calibration_id == sa.bindparam("calibration_id", type_=sa.Text))
        .where(request.c.success.is_not(None), is_read)
    )
    return summed(rows.subquery(), _SAMPLED_KEY, _SAMPLED_SUMS)


_AMONG, _ALONE = (sa.bindparam(name, type_=sa.BigInteger) for name in ("among", "alone"))
_IS_BEYOND = request.c.cluster.in_(sa.bindparam("beyond", expanding=True))
# SQLite uses no index on an expression: adding 0 to a column makes it choose the index on the other one. It uses no
# index for an OR of two columns either, hence two statements by cluster.
_SAMPLED_BY_START = (_sampled_of((request.c.cluster + 0).between(_ALONE, _AMONG) | _IS_BEYOND, request.c.started_at),)
_SAMPLED_BY_CLUSTER = tuple(
    _sampled_of(is_read, request.c.started_at + sa.literal_column("0.0"))
    for is_read in (request.c.cluster.between(_ALONE, _AMONG), _IS_BEYOND)
)
_REQUESTS = sa.select(sa.func.sum(traffic.c.requests)).where(traffic.c.model_version_id == sa.bindparam("version_id"))
_REQUESTS_FROM, _REQUESTS_OF_HOUR = (
    _REQUESTS.where(traffic.c.hour >= sa.bindparam("hour", type_=sa.Double)),
    _REQUESTS.where(traffic.c.hour == _HOUR),
)

# Probes the request at every evenly spaced place of each hour: a large cluster is hit often, and few rows are read.
_PROBED_CLUSTERS = sa.text("""
    WITH RECURSIVE places (hour, places, place) AS (
        SELECT hour, requests / :step + 1, requests / :step + 1 FROM traffic
        WHERE model_version_id = :version_id AND hour >= :hour
        UNION ALL SELECT hour, places, place - 1 FROM places WHERE place > 1
    )
    SELECT (SELECT cluster FROM request WHERE model_version_id = :version_id
            AND started_at >= 3600.0 * (hour + (place - 0.5) / places) ORDER BY started_at LIMIT 1) FROM places
""")

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
