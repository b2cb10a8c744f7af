"""The service as `cliffwatch run` creates it, over any source, run turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from bench.stopwatch import Stopwatch
from monitor.cli.app import collect_rarely
from monitor.clock import Clock, WallClock
from monitor.config.model import Config
from monitor.ingest.dead_letter import NoDeadLetters
from monitor.ingest.kafka import KafkaSource
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import LedgerOffsets, Source
from monitor.ledger.sql import SqlLedger
from monitor.log import LogLevel, LogSettings, configure
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.review import Reviewer
from monitor.service.stages import Stages

BATCH_RECORDS = KafkaSettings().max_poll_records


@contextmanager
def running_service(
    ledger_url: str,
    new_source: Callable[[LedgerOffsets], Source],
    watch: Stopwatch,
    *,
    config: Config | None = None,
    clock: Clock | None = None,
) -> Iterator[tuple[Service, SnapshotHolder, SqlLedger]]:
    """A service with default settings and the machine's clock, whose stages *watch* measures, including reviews."""
    config = config or Config()
    clock = clock or WallClock()
    configure(LogSettings(level=LogLevel.ERROR))
    with (
        closing(SqlLedger(ledger_url)) as ledger,
        closing(new_source(ledger.offsets)) as source,
        watch.on_service(source),
    ):
        reviewer = Reviewer(ledger, settings=config.service, difficulty=config.difficulty, policy=config.rollout)
        snapshots = SnapshotHolder(Snapshot(now=clock.time(), policy=config.rollout))
        service = Service(
            Stages(source, NoDeadLetters(), ledger, reviewer, clock, snapshots),
            rules=DecodeRules(config.limits, config.traces),
            settings=config.service,
        )
        collect_rarely()
        yield service, snapshots, ledger


def kafka_source(bootstrap_servers: str, topic: str, group_id: str) -> Callable[[LedgerOffsets], Source]:
    """A source that reads *topic* as a member of the group."""
    settings: Any = KafkaSettings(
        bootstrap_servers=bootstrap_servers, topics=(topic,), group_id=group_id, max_poll_records=BATCH_RECORDS
    )
    return lambda offsets: KafkaSource(settings, offsets)
