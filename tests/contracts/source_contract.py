"""What every source of records has to do, whatever it reads from; each source inherits the suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Protocol

import pytest

from monitor.errors import LedgerUnavailable
from monitor.ingest.source import Record, Source, TopicPartition

_MOST_POLLS = 300


class LedgerStub:
    """Next offsets in memory; `outages` is how often it will not answer before it does."""

    def __init__(self) -> None:
        self.offsets: dict[TopicPartition, int] = {}
        self.outages = 0
        self._transaction = Lock()

    def __call__(self, partitions: Collection[TopicPartition], /) -> Mapping[TopicPartition, int]:
        if self.outages:
            self.outages -= 1
            raise LedgerUnavailable("The ledger is away.")
        return {partition: self.offsets[partition] for partition in partitions if partition in self.offsets}

    def commit(self, source: Source, next_offsets: Mapping[TopicPartition, int]) -> bool:
        """Move the offsets as the ledger does, by compare-and-set; False where another owner was faster."""
        owned = source.assignment()
        with self._transaction:
            if any(p not in owned or owned[p] != self.offsets.get(p) for p in next_offsets):
                return False
            self.offsets.update(next_offsets)
        source.committed(next_offsets)
        return True


class World(Protocol):
    """Something to read from, and the ledger beside it."""

    ledger: LedgerStub

    def append(self, values: Collection[bytes], partition: int = 0) -> None:
        """Write records; before the first `open` where the source is a file."""
        ...

    def open(self) -> Source:
        """A new source over what was written."""
        ...


def read(source: Source, count: int) -> list[Record]:
    """At least *count* records without committing any."""
    records: list[Record] = []
    for _ in range(_MOST_POLLS):
        records += source.poll(0.2).records
        if len(records) >= count:
            return records
    raise AssertionError(f"only {len(records)} of {count} records came")


def read_and_commit(source: Source, ledger: LedgerStub, count: int) -> list[Record]:
    """At least *count* records, each batch committed; a fenced batch is forgotten as the service does."""
    records: list[Record] = []
    for _ in range(_MOST_POLLS):
        polled = source.poll(0.2)
        if ledger.commit(source, polled.next_offsets):
            records += polled.records
        else:
            source.rewind()
        if len(records) >= count:
            return records
    raise AssertionError(f"only {len(records)} of {count} records came")


def values(records: Collection[Record]) -> list[bytes | None]:
    """Payloads in order."""
    return [record.value for record in records]


class SourceContract:
    """One partition, one reader."""

    def test_reads_records_in_order_with_their_positions(self, world: World) -> None:
        """Records come in the order they were written, each with its offset."""
        world.append([b"a", b"b", b"c"])
        source = world.open()

        records = read(source, 3)

        assert [(b"a", 0), (b"b", 1), (b"c", 2)] == [(r.value, r.position.offset) for r in records]
        source.close()

    def test_next_offset_follows_the_last_record(self, world: World) -> None:
        """A poll says for each partition which offset to read next."""
        world.append([b"a", b"b"])
        source = world.open()

        records = read_and_commit(source, world.ledger, 2)

        assert {records[0].position.topic_partition: 2} == world.ledger.offsets
        source.close()

    def test_an_unseen_partition_has_no_ledger_offset(self, world: World) -> None:
        """A partition that the ledger has never seen is owned with None for its offset."""
        world.append([b"a"])
        source = world.open()

        (record,) = read(source, 1)

        assert {record.position.topic_partition: None} == source.assignment()
        source.close()

    def test_committed_offset_is_the_one_to_compare_with(self, world: World) -> None:
        """After a commit the assignment shows the offset that the ledger holds now."""
        world.append([b"a", b"b"])
        source = world.open()

        read_and_commit(source, world.ledger, 2)

        assert world.ledger.offsets == source.assignment()
        source.close()

    def test_uncommitted_records_come_again_after_a_crash(self, world: World) -> None:
        """A source that ends before the commit leaves its records to the next one."""
        world.append([b"a", b"b"])
        crashed = world.open()
        read(crashed, 2)
        crashed.close()

        source = world.open()

        assert [b"a", b"b"] == values(read(source, 2))
        source.close()

    def test_reads_on_from_the_ledgers_offset(self, world: World) -> None:
        """Records before the ledger's offset do not come again."""
        world.append([b"a", b"b", b"c"])
        first = world.open()
        (record, *_) = read(first, 3)
        first.close()
        world.ledger.offsets[record.position.topic_partition] = 2

        source = world.open()

        assert [b"c"] == values(read(source, 1))
        source.close()

    def test_rewind_reads_uncommitted_records_again(self, world: World) -> None:
        """After a rewind the batch that was not committed is read once more, in order."""
        world.append([b"a", b"b"])
        source = world.open()
        read(source, 2)

        source.rewind()

        assert [b"a", b"b"] == values(read(source, 2))
        source.close()

    def test_rewind_leaves_out_what_the_ledger_has(self, world: World) -> None:
        """After a rewind reading goes on at the offset that the ledger holds by then."""
        world.append([b"a", b"b"])
        source = world.open()
        (record, *_) = read(source, 2)
        world.ledger.offsets[record.position.topic_partition] = 1

        source.rewind()

        assert [b"b"] == values(read(source, 1))
        source.close()

    def test_a_ledger_outage_loses_nothing(self, world: World) -> None:
        """While the ledger is away nothing is returned; afterwards everything is, once."""
        world.append([b"a", b"b"])
        world.ledger.outages = 2
        source = world.open()

        outages = 0
        while world.ledger.outages:
            try:
                assert () == source.poll(0.2).records
            except LedgerUnavailable:
                outages += 1
        records = read(source, 2)

        assert 2 == outages
        assert [b"a", b"b"] == values(records)
        source.close()

    def test_a_ledger_outage_at_a_rewind_loses_nothing(self, world: World) -> None:
        """A rewind that meets a ledger outage takes effect as soon as the ledger answers."""
        world.append([b"a", b"b"])
        source = world.open()
        read(source, 2)

        world.ledger.outages = 1
        source.rewind()
        with pytest.raises(LedgerUnavailable):
            read(source, 1)

        assert [b"a", b"b"] == values(read(source, 2))
        source.close()

    def test_close_may_be_called_twice(self, world: World) -> None:
        """Closing a closed source does nothing."""
        world.append([b"a"])
        source = world.open()
        read(source, 1)

        source.close()
        source.close()

        assert {} == dict(source.lag())


class GroupWorld(World, Protocol):
    """A topic of four partitions that a group of sources shares."""

    def append_tombstone(self) -> None:
        """Write a record without a value to partition 0."""
        ...


class GroupContract:
    """Several partitions, several readers of one group."""

    def test_a_tombstone_has_no_value(self, group: GroupWorld) -> None:
        """A record without a value comes as None, with a position of its own."""
        group.append_tombstone()
        source = group.open()

        (record,) = read(source, 1)

        assert record.value is None
        assert 0 == record.position.offset
        source.close()

    def test_lag_is_what_the_ledger_has_not_got(self, group: GroupWorld) -> None:
        """Lag counts the records after the ledger's offset, partition by partition."""
        group.append([b"a", b"b", b"c"], partition=1)
        source = group.open()

        before = (read(source, 3), dict(source.lag()))[1]
        source.rewind()
        read_and_commit(source, group.ledger, 3)

        assert [0, 0, 0, 3] == sorted(before.values())
        assert [0, 0, 0, 0] == list(source.lag().values())
        source.close()

    def test_two_members_share_the_partitions(self, group: GroupWorld) -> None:
        """After a second member joined, each partition belongs to exactly one of them."""
        for partition in range(4):
            group.append([b"a"], partition)
        first = group.open()
        read_and_commit(first, group.ledger, 4)

        second = group.open()
        settle(first, second, group.ledger)

        assert set() == set(first.assignment()) & set(second.assignment())
        assert 4 == len(first.assignment()) + len(second.assignment())
        first.close()
        second.close()

    def test_nothing_is_lost_or_doubled_when_members_come_and_go(self, group: GroupWorld) -> None:
        """Records written before, during and after a join and a leave are each committed once."""
        expected = sorted(b"%d" % number for number in range(120))
        append_round(group, expected[:40])
        first = group.open()
        counted = values(read_and_commit(first, group.ledger, 40))
        append_round(group, expected[40:80])
        second = group.open()
        counted += values(settle(first, second, group.ledger))
        first.close()
        append_round(group, expected[80:])
        counted += values(read_and_commit(second, group.ledger, len(expected) - len(counted)))

        assert expected == sorted(value for value in counted if value is not None)
        second.close()

    def test_a_lost_partition_cannot_be_committed(self, group: GroupWorld) -> None:
        """A batch of a partition that went to another member is refused, and read by that member instead."""
        for partition in range(4):
            group.append([b"%d" % partition], partition)
        first = group.open()
        held = {record.position.topic_partition: 1 for record in read(first, 4)}

        second = group.open()
        taken = settle(first, second, group.ledger)
        late = group.ledger.commit(first, held)

        assert not late
        assert [b"0", b"1", b"2", b"3"] == sorted(values(taken))
        first.close()
        second.close()


def append_round(group: GroupWorld, payloads: Collection[bytes]) -> None:
    """Spread *payloads* over the four partitions."""
    for partition in range(4):
        group.append(list(payloads)[partition::4], partition)


def settle(first: Source, second: Source, ledger: LedgerStub) -> list[Record]:
    """Let both poll at the same time, and commit, until each owns two partitions and neither has anything to read."""
    records: list[Record] = []
    members = (first, second)
    with ThreadPoolExecutor(len(members)) as pool:
        for _ in range(_MOST_POLLS):
            came = list(pool.map(lambda member: read_once(member, ledger), members))
            records += [record for batch in came for record in batch]
            lag = sum(sum(member.lag().values()) for member in members)
            if [2, 2] == [len(member.assignment()) for member in members] and lag == 0 and came == [[], []]:
                return records
    raise AssertionError(f"never settled: {first.assignment()} {second.assignment()}")


def read_once(source: Source, ledger: LedgerStub) -> list[Record]:
    """One poll with its commit."""
    polled = source.poll(0.2)
    if ledger.commit(source, polled.next_offsets):
        return list(polled.records)
    source.rewind()
    return []
