"""The parts that make up a service."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.clock import Clock
from monitor.ingest.dead_letter import DeadLetterWriter
from monitor.ingest.source import Source
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import SnapshotHolder
from monitor.service.review import Reviewer


@dataclass(frozen=True, slots=True)
class Stages:
    """The source, the sinks, the reviewer, the clock and the published snapshot of one service."""

    source: Source
    dead_letters: DeadLetterWriter
    ledger: SqlLedger
    reviewer: Reviewer
    clock: Clock
    snapshots: SnapshotHolder
