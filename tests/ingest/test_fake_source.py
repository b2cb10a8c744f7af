from __future__ import annotations

from collections.abc import Collection

import pytest

from monitor.ingest.source import Source
from tests.contracts.source_contract import GroupContract, LedgerStub, SourceContract
from tests.fakes import FakeBroker, FakeSource


class _FakeWorld:
    def __init__(self, partitions: int) -> None:
        self.ledger = LedgerStub()
        self.broker = FakeBroker(partitions=partitions)

    def append(self, values: Collection[bytes], partition: int = 0) -> None:
        for value in values:
            self.broker.append(value, partition)

    def append_tombstone(self) -> None:
        self.broker.append(None)

    def open(self) -> Source:
        return FakeSource(self.broker, self.ledger)


class TestFakeSource(SourceContract):
    @pytest.fixture
    def world(self) -> _FakeWorld:
        return _FakeWorld(partitions=1)


class TestFakeGroup(GroupContract):
    @pytest.fixture
    def group(self) -> _FakeWorld:
        return _FakeWorld(partitions=4)
