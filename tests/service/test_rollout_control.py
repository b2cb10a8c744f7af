from __future__ import annotations

from collections.abc import Iterator

import pytest

from monitor.errors import RolloutUnknown, UsageError
from monitor.ledger.sql import SqlLedger
from monitor.output.cases import TraceLinks
from monitor.rollout.policy import Policy
from monitor.rollout.rollout_request import RolloutRequest
from monitor.service.rollout_control import RolloutControl
from tests.builders import NOON, a_batch, a_trace, tagged

CANARY = RolloutRequest(service="shop", candidate="model-2")


@pytest.fixture
def ledger() -> Iterator[SqlLedger]:
    ledger = SqlLedger("sqlite://")
    ledger.record(a_batch(tagged(a_trace(model_version="model-1"))))
    yield ledger
    ledger.close()


@pytest.fixture
def control(ledger: SqlLedger) -> RolloutControl:
    return RolloutControl(ledger, policy=Policy, now=lambda: NOON + 60, links=TraceLinks(""))


def test_a_rollout_that_is_asked_for_twice_is_one(ledger: SqlLedger, control: RolloutControl) -> None:
    """A deploy hook may be retried."""
    first, second = control.start(CANARY), control.start(CANARY)

    assert first.rollout == second.rollout
    assert ("model-1", "model-2", True) == (
        first.rollout.baseline,
        first.rollout.candidate,
        first.rollout.is_under_way,
    )
    assert 1 == len(ledger.rollouts())


def test_a_rollout_ends_once(control: RolloutControl) -> None:
    """With its reason; the second time that is said, and an id that is not there is named."""
    rollout_id = control.start(CANARY).rollout.rollout_id

    ended = control.end(rollout_id, reason="rolled_back").rollout

    assert (NOON + 60, "rolled_back") == (ended.ended_at, ended.end_reason)
    with pytest.raises(UsageError, match="has ended already: rolled_back"):
        control.end(rollout_id, reason="again")
    with pytest.raises(RolloutUnknown, match="no rollout nobody"):
        control.end("nobody", reason="gone")


def test_another_content_ends_the_rollout_and_starts_one(ledger: SqlLedger, control: RolloutControl) -> None:
    """The name stands for something else: the first attempt is over, and is not taken for the established version."""
    control.start(RolloutRequest(service="shop", baseline="model-1", candidate="blue", stands_for="a"))

    second = control.start(RolloutRequest(service="shop", baseline="model-1", candidate="blue", stands_for="b"))

    first, again = ledger.rollouts()
    assert "replaced" in {first.rollout.end_reason, again.rollout.end_reason}
    assert second.rollout.is_under_way
    assert 1 == sum(record.rollout.is_under_way for record in ledger.rollouts())
