from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monitor.ingest.assignment import Assignment, OffsetRange, starting_offset
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
    assert expected == starting_offset(ledger_offset, OffsetRange(10, 50), start)


def test_latest_stays_where_it_first_was() -> None:
    """A partition without a ledger row that began at the end begins there again, although the end has moved on."""
    assignment = Assignment()
    assignment.assign([PARTITION])
    assignment.begin(PARTITION, None, log=OffsetRange(0, 5), start=StartAt.LATEST)

    assignment.rewind()
    again = assignment.begin(PARTITION, None, log=OffsetRange(0, 9), start=StartAt.LATEST)

    assert 5 == again.next_offset


def test_a_partition_assigned_again_is_read_again() -> None:
    """A partition that went and came back is not owned before its offset was read once more."""
    assignment = Assignment()
    assignment.assign([PARTITION])
    assignment.begin(PARTITION, 3, log=OffsetRange(0, 9), start=StartAt.EARLIEST)

    assignment.revoke([PARTITION])
    assignment.assign([PARTITION])

    assert {} == assignment.owned
    assert {PARTITION} == assignment.unread


def test_a_commit_of_a_lost_partition_is_not_ours() -> None:
    """Offsets of partitions that are no longer owned are left out of what is passed on."""
    assignment = Assignment()

    assert {} == assignment.commit({PARTITION: 7})


class AssignmentLaws(RuleBasedStateMachine):
    """Whatever the group does, a partition is unread, owned or not ours: never two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.assignment = Assignment()
        self.assigned: set[TopicPartition] = set()

    partitions = st.sets(st.builds(TopicPartition, st.just("t"), st.integers(0, 3)))

    @rule(partitions=partitions)
    def assign(self, partitions: set[TopicPartition]) -> None:
        self.assignment.assign(partitions)
        self.assigned |= partitions

    @rule(partitions=partitions)
    def revoke(self, partitions: set[TopicPartition]) -> None:
        self.assignment.revoke(partitions)
        self.assigned -= partitions

    @precondition(lambda self: self.assignment.unread)
    @rule(offset=st.none() | st.integers(0, 9))
    def begin(self, offset: int | None) -> None:
        partition = min(self.assignment.unread)
        self.assignment.begin(partition, offset, log=OffsetRange(0, 9), start=StartAt.EARLIEST)

    @rule(partitions=partitions, offset=st.integers(0, 9))
    def commit(self, partitions: set[TopicPartition], offset: int) -> None:
        self.assignment.commit(dict.fromkeys(partitions, offset))

    @rule()
    def rewind(self) -> None:
        self.assignment.rewind()
        assert not self.assignment.owned

    @invariant()
    def every_assigned_partition_is_in_one_state(self) -> None:
        assert set() == self.assignment.unread & set(self.assignment.owned)
        assert self.assigned == self.assignment.unread | set(self.assignment.owned)


TestAssignmentLaws = AssignmentLaws.TestCase
TestAssignmentLaws.settings = settings(max_examples=40, stateful_step_count=15)
