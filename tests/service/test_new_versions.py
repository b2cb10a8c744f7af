from __future__ import annotations

from monitor.ingest.source import Position, Record
from monitor.ledger.settings import LedgerSettings
from monitor.service.new_versions import Newcomers, Version, fronts, split_before
from tests.builders import a_trace


def a_record(partition: int, offset: int, value: bytes = b"") -> Record:
    return Record(Position("agent-traces", partition, offset), None, value)


def places(records: object) -> list[tuple[int, int]]:
    return [(record.position.partition, record.position.offset) for record in records]  # type: ignore[attr-defined]


def test_only_live_versions_that_were_never_met_are_newcomers() -> None:
    """History has no newcomers, and nobody is one twice."""
    newcomers = Newcomers([Version("shop", "production", "model-1")], LedgerSettings())
    traces = [
        a_trace(model_version="model-1"),
        a_trace(model_version="model-2"),
        a_trace(model_version="model-3", environment="reference"),
    ]

    first = newcomers.among(traces)
    newcomers.meet(first)

    assert {Version("shop", "production", "model-2")} == first
    assert frozenset() == newcomers.among(traces)


def test_versions_over_the_caps_are_no_newcomers() -> None:
    """However many names come, no more are newcomers than the ledger tells apart."""
    caps = LedgerSettings(max_model_versions=3, max_services=2, max_series=10_000)
    newcomers = Newcomers([Version("shop", "production", "model-0")], caps)

    for number in range(100):
        for service in ("shop", "desk", "help"):
            newcomers.meet(newcomers.among([a_trace(service=service, model_version=f"model-{number}")]))

    assert 6 == len(newcomers._met)
    assert frozenset() == newcomers.among([a_trace(service=f"s{n}", model_version="new") for n in range(100)])


def test_of_many_that_come_together_as_many_are_met_as_have_places() -> None:
    """A batch of names takes the places there are; the others are known from then on as what they are: others."""
    newcomers = Newcomers([], LedgerSettings(max_model_versions=3))
    batch = [a_trace(model_version=f"model-{number}") for number in range(100)]

    newcomers.meet(newcomers.among(batch))

    assert frozenset() == newcomers.among(batch)


def test_records_are_split_within_each_partition() -> None:
    """What stands before the first of its partition comes before; a partition without one, as a whole."""
    records = [a_record(0, 5), a_record(0, 6, b"new"), a_record(0, 7), a_record(1, 3), a_record(2, 1, b"new")]

    before, rest = split_before(records, lambda record: record.value == b"new")

    assert [(0, 5), (1, 3)] == places(before)
    assert [(0, 6), (0, 7), (2, 1)] == places(rest)
    assert [(0, 6), (2, 1)] == places(fronts(rest))
