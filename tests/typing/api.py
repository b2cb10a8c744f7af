"""Type-checked and never run: the parts fit the protocols that their callers ask for."""

from __future__ import annotations

from monitor.clock import Clock, EventClock, WallClock
from monitor.ingest.dead_letter import DeadLetterWriter, KafkaDeadLetters, NoDeadLetters
from monitor.ingest.file import FileSource
from monitor.ingest.kafka import KafkaSource
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import LedgerOffsets, Source


def clocks() -> list[Clock]:
    return [WallClock(), EventClock()]


def sources(ledger_offsets: LedgerOffsets) -> list[Source]:
    return [FileSource(["traces.jsonl"], ledger_offsets), KafkaSource(KafkaSettings(), ledger_offsets)]


def dead_letter_writers() -> list[DeadLetterWriter]:
    return [NoDeadLetters(), KafkaDeadLetters(KafkaSettings())]
