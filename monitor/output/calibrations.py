"""A calibration as JSON: the one shape that `calibrate` and `calibrations` print."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tier_table import ALL_TIERS, Tally, TierTable
from monitor.ledger.ledger import CalibrationRecord
from monitor.output.plain import Json, fields_of, iso_time, plain
from monitor.output.rollouts import RecordCounts


@dataclass(frozen=True, slots=True)
class KeptCalibration:
    """A calibration, what the ledger says of it, and whether requests are tagged under it now."""

    calibration: Calibration
    record: CalibrationRecord
    in_force: bool


@dataclass(frozen=True, slots=True)
class CalibrateResult:
    """What `calibrate` did; *promotion* says in words what became of the calibration."""

    records: RecordCounts
    difficulty: KeptCalibration
    promotion: str
    history: TierTable


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
