"""A calibration as JSON: the one shape that `calibrate` and `calibrations` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tier_table import ALL_TIERS, Agreement, Tally, TierTable
from monitor.ledger.ledger import CalibrationRecord
from monitor.output.rollouts import iso_time


class CutsJson(TypedDict):
    """Lowest difficulty logit of each tier; easy begins at minus infinity."""

    medium: float
    hard: float
    frontier: float


class ReliabilityJson(TypedDict):
    """Labels that were predicted about alike: mean prediction, failures per label, how many."""

    predicted: float
    observed: float
    labels: int


class CalibrationJson(TypedDict):
    """One calibration; times are ISO 8601, *promoted_at* is null where it never was in force."""

    calibration: str
    in_force: bool
    frozen_at: str
    promoted_at: str | None
    history_labels: int
    reference_version: str
    trusted: bool
    trusted_for_hard_rate: bool
    reasons: list[str]
    hard_rate_reasons: list[str]
    auc: float | None
    auc_lower: float | None
    calibration_error: float | None
    versions: int
    known_share: float | None
    cuts: CutsJson
    reliability: list[ReliabilityJson]


class TallyJson(TypedDict):
    """Labelled requests, failures and failures per request; null without a request."""

    requests: int
    failures: int
    rate: float | None


class TierJson(TypedDict):
    """One tier: its share of the requests, its failures over all versions and by version."""

    traffic_share: float
    requests: int
    failures: int
    rate: float | None
    versions: dict[str, TallyJson]


class TierTableJson(TypedDict):
    """A history by tier, by version and by capability."""

    tiers: dict[str, TierJson]
    versions: dict[str, TallyJson]
    capabilities: dict[str, TallyJson]


class LoadedJson(TypedDict):
    """Records read, traces counted, traces that came again, records that say nothing, traces without an outcome."""

    read: int
    counted: int
    duplicate: int
    dead_lettered: int
    unlabelled: int


class CalibrateJson(TypedDict):
    """What `calibrate --output json` prints; *promotion* says in words what became of the calibration."""

    records: LoadedJson
    difficulty: CalibrationJson
    promotion: str
    history: TierTableJson


class MoveJson(TypedDict):
    """Requests that one calibration tags *before* and the other *after*."""

    before: str
    after: str
    requests: int


class ComparisonJson(TypedDict):
    """Two calibrations, and how they tag the same requests."""

    first: CalibrationJson
    second: CalibrationJson
    requests: int
    same_tier_share: float | None
    moves: list[MoveJson]


def calibration_json(calibration: Calibration, record: CalibrationRecord, *, in_force: bool) -> CalibrationJson:
    """*calibration* with full floats."""
    trust = calibration.trust
    return {
        "calibration": calibration.calibration_id,
        "in_force": in_force,
        "frozen_at": iso_time(calibration.frozen_at),
        "promoted_at": None if record.promoted_at is None else iso_time(record.promoted_at),
        "history_labels": record.history_labels,
        "reference_version": calibration.reference_version,
        "trusted": trust.is_trusted,
        "trusted_for_hard_rate": trust.is_trusted_for_hard_rate,
        "reasons": list(trust.reasons),
        "hard_rate_reasons": list(trust.hard_rate_reasons),
        "auc": trust.auc,
        "auc_lower": trust.auc_lower,
        "calibration_error": trust.calibration_error,
        "versions": trust.versions,
        "known_share": trust.known_share,
        "cuts": {
            "medium": calibration.cuts.medium,
            "hard": calibration.cuts.hard,
            "frontier": calibration.cuts.frontier,
        },
        "reliability": [
            {"predicted": point.predicted, "observed": point.observed, "labels": point.labels}
            for point in trust.reliability
        ],
    }


def tier_table_json(table: TierTable) -> TierTableJson:
    """*table* with full floats."""
    return {
        "tiers": {
            tier.value: {
                "traffic_share": table.traffic_share(tier),
                **_tally(table.of_tier(tier)),
                "versions": _tallies({name: tiers[tier] for name, tiers in table.versions.items() if tier in tiers}),
            }
            for tier in ALL_TIERS
        },
        "versions": _tallies({version: table.of_version(version) for version in table.versions}),
        "capabilities": _tallies(table.capabilities),
    }


def comparison_json(calibrations: Sequence[CalibrationJson], agreement: Agreement) -> ComparisonJson:
    """The two *calibrations* beside each other."""
    first, second = calibrations
    return {
        "first": first,
        "second": second,
        "requests": agreement.requests,
        "same_tier_share": agreement.same_tier_share,
        "moves": [
            {"before": before.value, "after": after.value, "requests": requests}
            for (before, after), requests in sorted(agreement.moves.items())
        ],
    }


def _tallies(tallies: Mapping[str, Tally]) -> dict[str, TallyJson]:
    return {name: _tally(tally) for name, tally in tallies.items()}


def _tally(tally: Tally) -> TallyJson:
    return {"requests": tally.requests, "failures": tally.failures, "rate": tally.failure_rate}
