from __future__ import annotations

from collections.abc import Iterable

from monitor.ingest.source import Position, Record
from monitor.ledger.settings import LedgerSettings
from monitor.service.batch_writer import SeenVersions, first_records, split_before
from monitor.service.pipeline import DecodedRecord
from tests.builders import a_trace

NEW = ("shop", "production", "model-2")


def a_record(partition: int, offset: int, model_version: str = "model-1") -> DecodedRecord:
    trace = a_trace(f"t{partition}-{offset}", model_version=model_version)
    return DecodedRecord(Record(Position("agent-traces", partition, offset), None, b""), [trace])


def places(records: Iterable[DecodedRecord]) -> list[tuple[int, int]]:
    return [each.record.position[1:] for each in records]


def test_only_live_versions_that_were_never_seen_are_new() -> None:
    """History has no new versions, and a version is new only once."""
    versions = SeenVersions([("shop", "production", "model-1")], LedgerSettings())
    traces = [
        a_trace(model_version="model-1"),
        a_trace(model_version="model-2"),
        a_trace(model_version="model-3", environment="reference"),
    ]

    first = versions.new_in(traces)
    versions.register(first)

    assert {NEW} == first
    assert frozenset() == versions.new_in(traces)


def test_versions_over_the_caps_are_not_new() -> None:
    """However many names come, no more are new than the ledger tells apart."""
    caps = LedgerSettings(max_model_versions=3, max_services=2, max_series=10_000)
    versions = SeenVersions([("shop", "production", "model-0")], caps)
    registered = 1

    for number in range(100):
        for service in ("shop", "desk", "help"):
            new = versions.new_in([a_trace(service=service, model_version=f"model-{number}")])
            versions.register(new)
            registered += len(new)

    assert 6 == registered
    assert frozenset() == versions.new_in([a_trace(service=f"s{n}", model_version="new") for n in range(100)])


def test_of_many_that_come_together_as_many_are_registered_as_have_places() -> None:
    """A batch of names takes the places there are; the others count as `other` from then on."""
    versions = SeenVersions([], LedgerSettings(max_model_versions=3))
    batch = [a_trace(model_version=f"model-{number}") for number in range(100)]

    versions.register(versions.new_in(batch))

    assert frozenset() == versions.new_in(batch)


def test_records_are_split_within_each_partition() -> None:
    """Only what follows a version's first request in its own partition waits; a partition without one comes whole."""
    records = [a_record(0, 5), a_record(0, 6, "model-2"), a_record(0, 7), a_record(1, 3), a_record(2, 1, "model-2")]

    before, rest = split_before(records, frozenset([NEW]))

    assert [(0, 5), (1, 3)] == places(before)
    assert [(0, 6), (0, 7), (2, 1)] == places(rest)
    assert [(0, 6), (2, 1)] == places(first_records(rest))
