"""A calibration as JSON, and the outcomes of its history by tier, for `calibrate` and `calibrations`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import LabelledRequest
from monitor.difficulty.tiers import TIERS, Tier
from monitor.ledger.ledger import CalibrationRecord
from monitor.output.plain import Json, fields_of, iso_time, plain
from monitor.rollout.wording import one_line, percent

_LONGEST_NAME = 30  # with six columns of rates, this fits into a terminal of 80 columns

ALL_TIERS = (*TIERS, Tier.UNTIERED)
"""Every tier, easiest first, untiered last."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Labelled requests and failures."""

    requests: int = 0
    failures: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.requests + other.requests, self.failures + other.failures)

    @property
    def failure_rate(self) -> float | None:
        """Failures per request, ratio 0 to 1; None without a request."""
        return self.failures / self.requests if self.requests else None

    @property
    def words(self) -> str:
        """The failure rate, or `-` without a request."""
        return "-" if self.failure_rate is None else percent(self.failure_rate)


@dataclass(frozen=True, slots=True)
class TierTable:
    """
    A labelled history by tier.

    If the calibration learnt from this history, its tags depend on the outcomes counted here: rates of easy requests
    look slightly lower, and those of hard requests slightly higher, than they will be for new versions.

    Attributes:
        versions: Tally by version and tier; versions in order of first appearance.
        capabilities: Tally by capability, by name.
    """

    versions: Mapping[str, Mapping[Tier, Tally]]
    capabilities: Mapping[str, Tally]

    def traffic_share(self, tier: Tier) -> float:
        """Share of the requests with the tag *tier*, ratio 0 to 1."""
        requests = sum(self.of_tier(other).requests for other in ALL_TIERS)
        return self.of_tier(tier).requests / requests if requests else 0.0

    def of_version(self, model_version: str) -> Tally:
        """One version over all tiers."""
        return sum(self.versions[model_version].values(), Tally())

    def of_tier(self, tier: Tier) -> Tally:
        """One tier over all versions."""
        return sum((tiers[tier] for tiers in self.versions.values() if tier in tiers), Tally())


def tier_table(history: Iterable[LabelledRequest], calibration: Calibration) -> TierTable:
    """Tag *history* with *calibration*, and tally it."""
    versions: dict[str, dict[Tier, Tally]] = defaultdict(lambda: defaultdict(Tally))
    capabilities: dict[str, Tally] = defaultdict(Tally)
    for request in history:
        tally = Tally(1, int(request.failed))
        versions[request.model_version][calibration.tag(request.features).tier] += tally
        capabilities[request.features.capability] += tally
    return TierTable(
        {version: {tier: tiers[tier] for tier in ALL_TIERS if tier in tiers} for version, tiers in versions.items()},
        dict(sorted(capabilities.items())),
    )


Rows = Sequence[Sequence[str]]
"""A table of strings; the first row has the titles of the columns."""


def history_rows(history: TierTable, *, is_trusted: bool) -> Sequence[Rows]:
    """Failure rates by version and tier; without trusted tiers, by version and by capability. `-` means unknown."""
    if not is_trusted:
        by_version = {version: history.of_version(version) for version in history.versions}
        by_name = {"failure rate by version": by_version, "failure rate by capability": history.capabilities}
        tables = []
        for title, tallies in by_name.items():
            lines = [(name, f"{tally.failures:,}/{tally.requests:,}", tally.words) for name, tally in tallies.items()]
            tables.append([(title, "", ""), *lines])
        return tables
    shown = [tier for tier in ALL_TIERS if history.of_tier(tier).requests or tier != Tier.UNTIERED]
    share = [percent(history.traffic_share(tier)) for tier in shown]
    rate = [history.of_tier(tier).words for tier in shown]
    rows = [("", *shown, "all"), ("share of traffic", *share, ""), ("failure rate", *rate, "")]
    for version, tiers in history.versions.items():
        cells = [tiers.get(tier, Tally()).words for tier in shown]
        rows.append((f"  {one_line(version, _LONGEST_NAME)}", *cells, history.of_version(version).words))
    return [rows]


@dataclass(frozen=True, slots=True)
class KeptCalibration:
    """A calibration in the ledger, with its record, and whether it is in force."""

    calibration: Calibration
    record: CalibrationRecord
    in_force: bool


@dataclass(frozen=True, slots=True)
class CalibrationComparison:
    """Two calibrations, and the number of requests by (tier under *first*, tier under *second*)."""

    first: KeptCalibration
    second: KeptCalibration
    moves: Mapping[tuple[Tier, Tier], int]

    @property
    def same_tier_share(self) -> float | None:
        """Share of the requests that keep their tier, ratio 0 to 1; None without a request."""
        same = sum(requests for (before, after), requests in self.moves.items() if before is after)
        return same / sum(self.moves.values()) if self.moves else None


@plain.register
def _comparison(comparison: CalibrationComparison) -> Json:
    return {
        "first": plain(comparison.first),
        "second": plain(comparison.second),
        "requests": sum(comparison.moves.values()),
        "same_tier_share": comparison.same_tier_share,
        "moves": [
            {"before": before.value, "after": after.value, "requests": requests}
            for (before, after), requests in comparison.moves.items()
        ],
    }


@plain.register
def _calibration(kept: KeptCalibration) -> Json:
    calibration, record, trust = kept.calibration, kept.record, kept.calibration.trust
    judged = plain(trust)
    return {
        "calibration": calibration.calibration_id,
        "in_force": kept.in_force,
        "frozen_at": iso_time(calibration.frozen_at),
        "promoted_at": None if record.promoted_at is None else iso_time(record.promoted_at),
        "history_labels": record.history_labels,
        "reference_version": calibration.reference_version,
        "trusted": judged.pop("is_trusted"),
        "trusted_for_hard_rate": trust.is_trusted_for_hard_rate,
        **judged,
        "cuts": plain(calibration.cuts),
        "promises": [{**fields_of(promise), "is_kept": promise.is_kept} for promise in calibration.promises],
    }


@plain.register
def _tier_table(table: TierTable) -> Json:
    return {
        "tiers": {
            tier.value: {
                "traffic_share": table.traffic_share(tier),
                **plain(table.of_tier(tier)),
                "versions": plain({name: tiers[tier] for name, tiers in table.versions.items() if tier in tiers}),
            }
            for tier in ALL_TIERS
        },
        "versions": plain({version: table.of_version(version) for version in table.versions}),
        "capabilities": plain(table.capabilities),
    }


@plain.register
def _tally(tally: Tally) -> Json:
    return {**fields_of(tally), "rate": tally.failure_rate}
