from __future__ import annotations

import dataclasses

import pytest

from monitor.difficulty.features import RequestFeatures
from monitor.difficulty.tiers import Tier
from monitor.ledger.sql import SqlLedger
from monitor.rollout.cohort import Stratum
from monitor.rollout.oncall import Signature
from tests.builders import (
    NOON,
    a_batch,
    a_trace,
    failure,
    success,
    tagged,
)
from tests.ledgers import (
    EASY,
    HARD,
    ROLLOUT,
    a_calibration,
)


def test_a_cohort_holds_matured_requests_by_cell(ledger: SqlLedger) -> None:
    """Requests younger than the maturity window are not in it; unlabelled ones are, as requests."""
    ledger.record(
        a_batch(
            tagged(a_trace("t1", outcome=failure()), HARD),
            tagged(a_trace("t2", outcome=success()), HARD),
            tagged(a_trace("t3"), HARD),
            tagged(a_trace("t4", outcome=failure(), started_at=NOON + 100), HARD),
            tagged(a_trace("t5", outcome=success(), model_version="model-2"), EASY),
        )
    )

    cohort = ledger.cohort(ROLLOUT, matured_before=NOON + 50)

    assert [Stratum(Tier.HARD, "search", 9, True, 3, 2, 1, 4.5, 0.75)] == list(cohort.baseline.strata)
    assert [Stratum(Tier.EASY, "search", 1, False, 1, 1, 0, -3.0, 0.5)] == list(cohort.candidate.strata)


def test_failures_are_told_by_whole_signature(ledger: SqlLedger) -> None:
    """Of matured requests of both arms, by tier, capability and failure class."""
    ledger.record(
        a_batch(
            tagged(a_trace("t1", outcome=failure("timeout")), HARD),
            tagged(a_trace("t2", outcome=failure("timeout")), HARD),
            tagged(a_trace("t3", outcome=failure(None), capability="pay"), EASY),
            tagged(a_trace("t4", outcome=success()), HARD),
            tagged(a_trace("t5", outcome=failure(), started_at=NOON + 100), HARD),
            tagged(a_trace("t6", outcome=failure(), model_version="model-2"), HARD),
        )
    )

    baseline, candidate = ledger.failure_classes(ROLLOUT, matured_before=NOON + 50)

    assert {Signature(Tier.HARD, "search", "timeout"): 2, Signature(Tier.EASY, "pay", ""): 1} == baseline
    assert {Signature(Tier.HARD, "search", "wrong_tool"): 1} == candidate


def test_both_arms_are_tagged_anew_under_one_calibration(ledger: SqlLedger) -> None:
    """Requests that another calibration tagged get the tag of this one; counters keep the tier they counted."""
    calibration = a_calibration()
    ledger.record(
        a_batch(
            tagged(a_trace("t1", request_id="i3")),
            tagged(a_trace("t2", model_version="model-2", request_id="i4")),
            tagged(a_trace("t3", model_version="bystander", request_id="i4")),
        )
    )
    before = ledger.counters()
    rollout = dataclasses.replace(ROLLOUT, calibration_id=calibration.calibration_id)

    assert 2 == ledger.retag(rollout, calibration)
    assert 0 == ledger.retag(rollout, calibration)

    cohort = ledger.cohort(rollout, matured_before=NOON + 1)
    (stratum,) = cohort.baseline.strata
    tag = calibration.tag(RequestFeatures("search", item="i3"))
    assert (tag.tier, tag.bin, tag.is_known) == (stratum.tier, stratum.bin, stratum.is_known)
    assert tag.difficulty_logit == pytest.approx(stratum.logit_sum)
    assert 1 == cohort.candidate.requests
    assert before == ledger.counters()
