"""A service on fakes that reads whatever bytes a test makes, and shows what a scrape would."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from monitor.difficulty.settings import DifficultySettings
from monitor.ingest.dead_letter import NoDeadLetters
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import metadata
from monitor.ledger.sql import SqlLedger
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import encode_text
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.rollout.policy import Policy
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.replay import Replay
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from monitor.service.stages import Stages
from monitor.trace.settings import Limits, OutcomeSettings, TraceSettings
from tests.builders import NOON
from tests.fakes import FakeBroker, FakeSource
from tests.ledgers import counts, spans_left_over

DAY_SECONDS = 86_400.0


class FakeClock:
    """A clock that goes when it is told to, and no faster because of what it hears."""

    def __init__(self) -> None:
        self._now = NOON

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def observe(self, event_time: float) -> None:
        """Ignored, as by a clock on the wall."""

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self._now += seconds


class Monitor:
    """
    A service with its parts; of those with the same outcome settings, one at a time.

    Args:
        traces: How spans become traces.
        limits: What is decoded.
        partitions: Partitions of the topic.
        records_per_poll: Most records of one batch.
    """

    def __init__(
        self,
        traces: TraceSettings | None = None,
        *,
        limits: Limits | None = None,
        partitions: int = 1,
        records_per_poll: int = 500,
    ) -> None:
        self.traces = traces or TraceSettings()
        self.ledger = _empty_ledger(self.traces.outcomes)
        self.broker = FakeBroker(partitions=partitions)
        self.clock = FakeClock()
        self._rules = DecodeRules(limits or Limits(), self.traces)
        self._records_per_poll = records_per_poll
        self.restart()

    def restart(self) -> None:
        """Begin anew with nothing but the ledger and the log, as after a crash."""
        if self.broker.members:
            self.source.close()
        self.source = FakeSource(self.broker, self.ledger.offsets, self._records_per_poll)
        # What is judged and shown is looked at when a test asks for it.
        settings = ServiceSettings(review_interval_seconds=1e9, snapshot_interval_seconds=1e9)
        policy = Policy()
        self.snapshots = SnapshotHolder(Snapshot(now=NOON, policy=policy))
        reviewer = Reviewer(self.ledger, settings=settings, difficulty=DifficultySettings(), policy=policy)
        stages = Stages(self.source, NoDeadLetters(), self.ledger, reviewer, self.clock, self.snapshots)
        self.service = Service(stages, rules=self._rules, settings=settings)

    def feed(self, *values: bytes, partition: int = 0) -> None:
        """Append records to *partition*."""
        for value in values:
            self.broker.append(value, partition)

    def turn(self) -> None:
        """One turn of the service, after which every span is in exactly one place."""
        self.service.run_once()
        assert 0 == spans_left_over(self.ledger)

    def read_all(self) -> None:
        """Turn until everything is read."""
        while any(self.source.lag().values()) or not self.source.assignment():
            self.turn()

    def close_traces(self) -> None:
        """Let so much time pass that no trace waits any longer."""
        self.clock.advance(2 * DAY_SECONDS)
        self.turn()
        assert 0 == self.ledger.pending_spans()

    def count(self, name: CounterName) -> Mapping[str, int]:
        """Totals of one counter of the ledger by its detail."""
        return counts(self.ledger, name)

    def scrape(self) -> Samples:
        """What `/metrics` shows when every trace is complete."""
        Replay(self.service).finish(seconds=1)
        return self.shown()

    def shown(self) -> Samples:
        """What `/metrics` shows now."""
        self.service.publish()
        return Samples(encode_text(families_of(self.snapshots.current)).decode())

    def close(self) -> None:
        """Release what it holds."""
        self.source.close()


@cache
def _ledger(outcomes: OutcomeSettings) -> SqlLedger:
    """One for all monitors of a process: tables and statements are made once, which takes most of a test's time."""
    ledger = SqlLedger("sqlite://", outcomes=outcomes)
    atexit.register(ledger.close)
    return ledger


def _empty_ledger(outcomes: OutcomeSettings) -> SqlLedger:
    ledger = _ledger(outcomes)
    with ledger._engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
    ledger._recorder.forget()
    return ledger


@contextmanager
def a_monitor(traces: TraceSettings | None = None, **parts: int | Limits | None) -> Iterator[Monitor]:
    """A `Monitor` that is closed when the context ends."""
    monitor = Monitor(traces, **parts)  # type: ignore[arg-type]
    try:
        yield monitor
    finally:
        monitor.close()


class Samples:
    """The samples of a scrape's text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [
            (sample.name, dict(sample.labels), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of *name* that bear *labels*."""
        return sum(value for found, pairs, value in self._samples if found == name and labels.items() <= pairs.items())

    def label(self, name: str, label: str) -> set[str]:
        """Values that *label* has on *name*."""
        return {pairs[label] for found, pairs, _ in self._samples if found == name}
