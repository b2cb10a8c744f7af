from __future__ import annotations

import pytest

from monitor.difficulty.features import RequestFeatures
from monitor.ledger.sql import SqlLedger
from tests.builders import (
    NOON,
)
from tests.ledgers import (
    a_calibration,
)


def test_a_calibration_is_read_back_whole(ledger: SqlLedger) -> None:
    """The one that was promoted last is in force, and tags as it did before it was stored."""
    first, second = a_calibration(NOON), a_calibration(NOON + 1)
    ledger.promote(first, at=NOON, history_labels=180)
    ledger.promote(second, at=NOON + 1, history_labels=200)

    ledger.promote(first, at=NOON + 2, history_labels=180)

    assert [second.calibration_id, first.calibration_id] == [record.calibration_id for record in ledger.calibrations()]
    read = ledger.calibration(first.calibration_id)
    features = RequestFeatures("search", item="i3")
    assert read is not None
    assert first.tag(features) == read.tag(features)
    assert ledger.calibration("never frozen") is None


def test_a_calibration_may_be_kept_without_being_in_force(ledger: SqlLedger) -> None:
    """One that is only kept comes before those that were ever promoted, and can be promoted later."""
    in_force, kept = a_calibration(NOON), a_calibration(NOON + 1)
    ledger.promote(in_force, at=NOON, history_labels=180)

    ledger.keep(kept, history_labels=200)

    assert [(kept.calibration_id, None), (in_force.calibration_id, NOON)] == [
        (record.calibration_id, record.promoted_at) for record in ledger.calibrations()
    ]
    assert kept == ledger.calibration(kept.calibration_id)
    ledger.promote(kept, at=NOON + 2, history_labels=210)
    ledger.keep(kept, history_labels=1)
    assert (kept.calibration_id, NOON + 2, 210) == (
        ledger.calibrations()[-1].calibration_id,
        ledger.calibrations()[-1].promoted_at,
        ledger.calibrations()[-1].history_labels,
    )


def test_what_is_promoted_last_is_in_force_though_clocks_differ(ledger: SqlLedger) -> None:
    """A promotion by a clock that is behind comes into force right after the last one."""
    early, late = a_calibration(NOON), a_calibration(NOON + 1)
    ledger.promote(early, at=NOON, history_labels=180)

    ledger.promote(late, at=NOON - 1000, history_labels=200)

    first, second = ledger.calibrations()
    assert late.calibration_id == second.calibration_id
    assert NOON == first.promoted_at
    assert second.promoted_at == pytest.approx(NOON)
