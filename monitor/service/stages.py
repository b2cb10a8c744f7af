"""The parts that the service puts in order."""

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
    """Where records come from, where they go, who judges, and what is shown."""

    source: Source
    dead_letters: DeadLetterWriter
    ledger: SqlLedger
    reviewer: Reviewer
    clock: Clock
    snapshots: SnapshotHolder
