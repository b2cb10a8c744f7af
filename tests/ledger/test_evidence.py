from __future__ import annotations

import pytest

from monitor.ledger.sql import SqlLedger
from monitor.rollout.evidence import MOST_EVIDENCE, evidence_of
from monitor.rollout.judging import judge
from monitor.rollout.policy import Policy
from tests.builders import (
    NOON,
)
from tests.ledgers import (
    ROLLOUT,
)


@pytest.mark.slow
def test_evidence_is_kept_and_stays_bounded(ledger: SqlLedger) -> None:
    """Of a thousand looks at uneven times a few hundred are remembered, evenly spread, the first and last too."""
    ledger.start_rollout(ROLLOUT)
    verdict = judge(
        ledger.cohort(ROLLOUT, matured_before=NOON),
        None,
        Policy(),
        previous=None,
    )
    times = [NOON + second for second in (*range(MOST_EVIDENCE // 2), *range(1_000, 1_000 + MOST_EVIDENCE, 2))]

    for at in [*times, times[-1]]:
        ledger.save_verdict("r1", verdict, at=at)

    kept = ledger.evidence("r1")
    assert evidence_of(verdict, at=NOON) == kept[0]
    assert times[-1] == kept[-1].at
    assert MOST_EVIDENCE == len(kept)
    ledger.save_verdict("r1", verdict, at=NOON + 2_000)
    kept = ledger.evidence("r1")
    assert (NOON, NOON + 2_000, MOST_EVIDENCE) == (kept[0].at, kept[-1].at, len(kept))
    assert [] == list(ledger.evidence("another"))
