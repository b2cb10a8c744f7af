"""Describes brokers, topics and a consumer group, to diagnose problems."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka.admin import ConfigFilterType, ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError, GroupIdNotFoundError, KafkaError

from monitor.ingest.kafka_client import client_options, translated_errors
from monitor.ingest.settings import KafkaSettings, SecurityProtocol

_CONNECT_SECONDS = 5.0
_MILLISECONDS = 1_000.0
_KAFKA_PORT = 9_092
_WITH_TLS = (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL)


@dataclass(frozen=True, slots=True)
class Reach:
    """
    Whether one bootstrap server can be reached.

    Attributes:
        addresses: IP addresses of its name.
        failed: The step that fails: `name` (resolving it), `connection` or `tls`; empty if none does.
        problem: Why it fails.
    """

    server: str
    addresses: Sequence[str] = ()
    failed: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """
    One topic, as described by the brokers.

    Attributes:
        partitions: Number of partitions; 0 if the topic does not exist.
        leaderless: Partitions without a leader.
        retention_seconds: Retention of records; None if unlimited or unknown.
    """

    name: str
    partitions: int = 0
    leaderless: Sequence[int] = ()
    retention_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """
    A consumer group, as described by the brokers.

    Attributes:
        state: Such as `Stable`; empty if no consumer ever joined the group.
        members: Number of its members.
    """

    name: str
    state: str = ""
    members: int = 0


def reach(settings: KafkaSettings) -> Iterator[Reach]:
    """Try each bootstrap server: resolve its name, connect, and do a TLS handshake if configured."""
    for server in settings.bootstrap_servers.split(","):
        yield _reach(server.strip(), settings)


def _reach(server: str, settings: KafkaSettings) -> Reach:
    host, separator, port = server.rpartition(":")
    host, port = (host, port) if separator else (server, str(_KAFKA_PORT))
    step, addresses = "name", list[str]()
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        step, addresses = "connection", sorted({str(address[0]) for *_, address in found})
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as plain:
            step = "tls"
            if settings.security_protocol in _WITH_TLS:
                context = ssl.create_default_context(cafile=settings.ssl_ca_file or None)
                context.check_hostname = settings.ssl_check_hostname
                context.wrap_socket(plain, server_hostname=host).close()
    except (OSError, ValueError) as error:
        return Reach(server, addresses, step, getattr(error, "strerror", None) or str(error))
    return Reach(server, addresses)


class Cluster:
    """
    Asks brokers, and changes nothing.

    Raises:
        DependencyUnreachable: no broker answers, or refuses our credentials.
        ConfigInvalid: the client refuses its options.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        with translated_errors(settings):
            self._admin: Any = KafkaAdminClient(**client_options(settings))

    def close(self) -> None:
        """Release connections."""
        with suppress(KafkaError, OSError):
            self._admin.close()

    def brokers(self) -> int:
        """How many there are."""
        with translated_errors(self._settings):
            return len(self._admin.describe_cluster()["brokers"])

    def topics(self, names: Sequence[str]) -> Sequence[TopicFacts]:
        """Describe each of *names*, whether it exists or not."""
        with translated_errors(self._settings):
            existing = set(self._admin.list_topics()).intersection(names)
            described = {topic["name"]: topic for topic in self._admin.describe_topics([*existing])} if existing else {}
        return [self._topic(name, described.get(name)) for name in names]

    def group(self, name: str) -> GroupFacts:
        """Describe the group *name*, whether anybody ever joined it or not."""
        with translated_errors(self._settings):
            try:
                described = self._admin.describe_groups([name])[name]
            except (CoordinatorNotAvailableError, GroupIdNotFoundError):
                return GroupFacts(name)
        state = str(described.get("group_state", described.get("state", "")))
        return GroupFacts(name, state="" if state == "Dead" else state, members=len(described.get("members", ())))

    def _topic(self, name: str, described: Mapping[str, Any] | None) -> TopicFacts:
        if described is None:
            return TopicFacts(name)
        partitions = described["partitions"]
        return TopicFacts(
            name,
            partitions=len(partitions),
            leaderless=sorted(part["partition_index"] for part in partitions if part["leader_id"] < 0),
            retention_seconds=self._retention_seconds(name),
        )

    def _retention_seconds(self, topic: str) -> float | None:
        """None if unlimited, or if we may not describe configs, which is rarely allowed."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        try:
            reported = self._admin.describe_configs([resource], config_filter=ConfigFilterType.ALL)["topic"][topic]
            milliseconds = int(reported["retention.ms"]["value"])
        except (KafkaError, KeyError, TypeError, ValueError):
            return None
        return milliseconds / _MILLISECONDS if milliseconds >= 0 else None
