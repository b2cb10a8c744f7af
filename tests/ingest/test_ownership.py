from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monitor.ingest.ownership import LogRange, Ownership, starting_offset
from monitor.ingest.settings import StartAt
from monitor.ingest.source import TopicPartition

PARTITION = TopicPartition("agent-traces", 0)


@pytest.mark.parametrize(
    ("expected", "ledger_offset", "start"),
    [
        pytest.param(10, None, StartAt.EARLIEST, id="an unseen partition starts at its beginning"),
        pytest.param(50, None, StartAt.LATEST, id="or at its end, where asked to"),
        pytest.param(30, 30, StartAt.LATEST, id="a known one where the ledger says, whatever the start"),
        pytest.param(50, 50, StartAt.EARLIEST, id="one that was read to its end, there"),
        pytest.param(10, 4, StartAt.LATEST, id="one whose records expired, at what is left"),
        pytest.param(10, 51, StartAt.LATEST, id="one that was made anew, at its beginning"),
    ],
)
def test_starting_offset(expected: int, ledger_offset: int | None, start: StartAt) -> None:
    """Where reading begins follows the ledger as long as the log has that offset."""
    assert expected == starting_offset(ledger_offset, LogRange(10, 50), start)


def test_latest_stays_where_it_first_was() -> None:
    """A partition without a ledger row that began at the end begins there again, although the end has moved on."""
    ownership = Ownership()
    ownership.assign([PARTITION])
    ownership.begin(PARTITION, None, log=LogRange(0, 5), start=StartAt.LATEST)

    ownership.rewind()
    again = ownership.begin(PARTITION, None, log=LogRange(0, 9), start=StartAt.LATEST)

    assert 5 == again.next_offset


def test_a_partition_assigned_again_is_read_again() -> None:
    """A partition that went and came back is not owned before its offset was read once more."""
    ownership = Ownership()
    ownership.assign([PARTITION])
    ownership.begin(PARTITION, 3, log=LogRange(0, 9), start=StartAt.EARLIEST)

    ownership.revoke([PARTITION])
    ownership.assign([PARTITION])

    assert {} == ownership.owned
    assert {PARTITION} == ownership.unread


def test_a_commit_of_a_lost_partition_is_not_ours() -> None:
    """Offsets of partitions that are no longer owned are left out of what is passed on."""
    ownership = Ownership()

    assert {} == ownership.commit({PARTITION: 7})


class OwnershipLaws(RuleBasedStateMachine):
    """Whatever the group does, a partition is unread, owned or not ours: never two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.ownership = Ownership()
        self.assigned: set[TopicPartition] = set()

    partitions = st.sets(st.builds(TopicPartition, st.just("t"), st.integers(0, 3)))

    @rule(partitions=partitions)
    def assign(self, partitions: set[TopicPartition]) -> None:
        self.ownership.assign(partitions)
        self.assigned |= partitions

    @rule(partitions=partitions)
    def revoke(self, partitions: set[TopicPartition]) -> None:
        self.ownership.revoke(partitions)
        self.assigned -= partitions

    @precondition(lambda self: self.ownership.unread)
    @rule(offset=st.none() | st.integers(0, 9))
    def begin(self, offset: int | None) -> None:
        partition = min(self.ownership.unread)
        self.ownership.begin(partition, offset, log=LogRange(0, 9), start=StartAt.EARLIEST)

    @rule(partitions=partitions, offset=st.integers(0, 9))
    def commit(self, partitions: set[TopicPartition], offset: int) -> None:
        self.ownership.commit(dict.fromkeys(partitions, offset))

    @rule()
    def rewind(self) -> None:
        self.ownership.rewind()
        assert not self.ownership.owned

    @invariant()
    def every_assigned_partition_is_in_one_state(self) -> None:
        assert set() == self.ownership.unread & set(self.ownership.owned)
        assert self.assigned == self.ownership.unread | set(self.ownership.owned)


TestOwnershipLaws = OwnershipLaws.TestCase
TestOwnershipLaws.settings = settings(max_examples=40, stateful_step_count=15)
