"""Where records go that can never be processed: kept with their position and reason, not obeyed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any, Protocol

import structlog
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from monitor.errors import DeadLetterUnavailable, MonitorError
from monitor.ingest.kafka_client import client_options, milliseconds, producer, translated_errors
from monitor.ingest.settings import KafkaSettings
from monitor.ingest.source import DeadLetterRecord

log = structlog.get_logger(__name__)

HEADER_PREFIX = "cliffwatch."

_MAX_TOPIC_CHARACTERS = 249
_NOT_IN_TOPIC = re.compile(r"[^a-zA-Z0-9._-]")
_MAX_DETAIL_CHARACTERS = 500


class DeadLetterWriter(Protocol):
    """Keeps dead letters; the position shows which was kept twice after a crash."""

    def write(self, letters: Sequence[DeadLetterRecord]) -> None:
        """
        Return only when all *letters* are kept.

        Raises:
            DeadLetterUnavailable: some may not be kept: pause, and write all of them again.
        """

    def close(self) -> None:
        """Release sockets or files; safe to call twice."""


class NoDeadLetters:
    """Keeps nothing: for replays, where the input stays where it was."""

    def write(self, letters: Sequence[DeadLetterRecord]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to release."""


class KafkaDeadLetters:
    """
    Rejected records in a dead-letter topic: facts as headers, the payload only where the operator opted in.

    Connects with the first letter and creates the topic where it is missing. The key is the record's position, so
    that a reader can tell a repetition.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._known_topics: set[str] = set()

    def write(self, letters: Sequence[DeadLetterRecord]) -> None:
        if not letters:
            return
        topics = {dead_letter_topic(letter.record.position.topic, self._settings) for letter in letters}
        try:
            with translated_errors(self._settings):
                if missing := topics - self._known_topics:
                    self._create(missing)
                self._send(letters)
        except MonitorError as error:
            self.close()
            raise DeadLetterUnavailable(
                f"Dead letters cannot be written to {', '.join(sorted(topics))}, so reading waits: {error}"
            ) from error

    def close(self) -> None:
        opened, self._producer = self._producer, None
        if opened is not None:
            with suppress(KafkaError, OSError):  # what was promised is acknowledged already
                opened.close(timeout=milliseconds(self._settings.request_timeout_seconds) / 1_000)

    def _send(self, letters: Sequence[DeadLetterRecord]) -> None:
        if self._producer is None:
            most_bytes = self._settings.dead_letter_max_payload_bytes + 1024 * 1024
            self._producer = producer(self._settings, most_bytes=most_bytes)
        for acknowledged in [self._producer.send(**self._message(letter)) for letter in letters]:
            acknowledged.get(timeout=2 * self._settings.request_timeout_seconds)

    def _message(self, letter: DeadLetterRecord) -> dict[str, Any]:
        record, settings = letter.record, self._settings
        fits = settings.dead_letter_payload and record.size_bytes <= settings.dead_letter_max_payload_bytes
        position = record.position
        facts = {**letter.facts, "detail": letter.detail[:_MAX_DETAIL_CHARACTERS], "timestamp": record.timestamp}
        told = {name: str(fact) for name, fact in facts.items() if fact is not None}
        return {
            "topic": dead_letter_topic(position.topic, settings),
            "key": f"{position.topic}[{position.partition}]@{position.offset}".encode(),
            # Never null: in a compacted topic that would delete the letter.
            "value": (record.value or b"") if fits else b"",
            "headers": [(HEADER_PREFIX + name, fact.encode("utf-8", "replace")) for name, fact in told.items()],
        }

    def _create(self, topics: set[str]) -> None:
        with closing(KafkaAdminClient(**client_options(self._settings))) as admin:
            for topic in sorted(topics):
                # Partitions and replicas as the broker's own defaults say (KIP-464).
                with suppress(TopicAlreadyExistsError):
                    admin.create_topics([NewTopic(name=topic, num_partitions=-1, replication_factor=-1)])
                    log.info("dead_letter_topic.created", topic=topic)
        self._known_topics |= topics


def dead_letter_topic(topic: str, settings: KafkaSettings) -> str:
    """
    Name of the topic for dead letters of *topic*.

    >>> dead_letter_topic("agent-traces", KafkaSettings(group_id="team/a"))
    'agent-traces.team-a.dlq'
    """
    name = settings.dead_letter_topic or f"{topic}.{_NOT_IN_TOPIC.sub('-', settings.group_id)}.dlq"
    return name[-_MAX_TOPIC_CHARACTERS:]
