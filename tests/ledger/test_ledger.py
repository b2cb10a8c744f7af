from __future__ import annotations

import pytest

from monitor.ledger.ledger import CalibrationRecord, record_in_force
from tests.builders import NOON

KEPT = CalibrationRecord("kept", NOON, None, 10)
FIRST = CalibrationRecord("first", NOON, NOON, 10)
LAST = CalibrationRecord("last", NOON, NOON + 1, 10)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([], None, id="a ledger without any"),
        pytest.param([KEPT], None, id="one that was never promoted"),
        pytest.param([KEPT, FIRST, LAST], LAST, id="the one that was promoted last"),
    ],
)
def test_the_calibration_in_force_is_the_last_that_was_promoted(
    records: list[CalibrationRecord], expected: CalibrationRecord | None
) -> None:
    """A calibration that is only kept is never in force."""
    assert expected == record_in_force(records)
