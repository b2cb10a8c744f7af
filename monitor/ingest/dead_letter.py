"""Writes dead letters: records that can never be processed, with their position and the reason."""

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
    """Stores dead letters; after a crash, one may be stored twice, with the same position."""

    def write(self, letters: Sequence[DeadLetterRecord]) -> None:
        """
        Return when all *letters* are stored.

        Raises:
            DeadLetterUnavailable: some may not be stored: pause, and write all of them again.
        """

    def close(self) -> None:
        """Close sockets or files; safe to call twice."""


class NoDeadLetters:
    """Stores nothing: for replays, whose input can be read again."""

    def write(self, letters: Sequence[DeadLetterRecord]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class KafkaDeadLetters:
    """
    Writes dead letters to a topic: position and reason as headers, the payload only if the config asks for it.

    Connects with the first letter, and creates the topic if it does not exist. The key is the position of the record,
    so that a reader recognises duplicates.
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
            with suppress(KafkaError, OSError):  # `write` has waited for all acknowledgements
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
        headers = {HEADER_PREFIX + name: str(fact) for name, fact in facts.items() if fact is not None}
        return {
            "topic": dead_letter_topic(position.topic, settings),
            "key": f"{position.topic}[{position.partition}]@{position.offset}".encode(),
            # Never null, which would delete the letter in a compacted topic.
            "value": (record.value or b"") if fits else b"",
            "headers": [(name, fact.encode("utf-8", "replace")) for name, fact in headers.items()],
        }

    def _create(self, topics: set[str]) -> None:
        with closing(KafkaAdminClient(**client_options(self._settings))) as admin:
            for topic in sorted(topics):
                # -1: the broker's defaults for partitions and replicas (KIP-464).
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
