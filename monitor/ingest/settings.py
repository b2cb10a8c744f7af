"""Settings of Kafka: brokers, topics, group and security."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import Field, NonNegativeInt, PositiveFloat, ValidationInfo, field_validator

from monitor.config.settings import Settings


class StartAt(StrEnum):
    """Where to begin in a partition that the ledger has never seen."""

    EARLIEST = "earliest"
    LATEST = "latest"


class SecurityProtocol(StrEnum):
    """Protocol to brokers."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


_TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="letters, digits, dots, _ and -")]


class KafkaSettings(Settings):
    """The topics to read, the consumer group, and the handling of records that cannot be read."""

    bootstrap_servers: Annotated[str, MinLen(1), Field(pattern=r"^[^@/?#${}]+$")] = "127.0.0.1:9092"
    """HOST:PORT of one or more brokers, separated by commas."""

    topics: Annotated[tuple[_TopicName, ...], MinLen(1)] = ("agent-traces", "agent-outcomes")
    """Topics to read; each must exist."""

    group_id: Annotated[str, MinLen(1)] = "cliffwatch"
    """Consumer group; replicas of one monitor share it."""

    group_instance_id: str = ""
    """Name of this replica for static membership, different in each; empty for none."""

    client_id: Annotated[str, MinLen(1)] = "cliffwatch"
    """Name under which brokers log and limit this client."""

    start: StartAt = StartAt.EARLIEST
    """Where to begin in a partition that the ledger has never seen."""

    max_poll_records: Annotated[int, Ge(1)] = 4_000
    """Most records in one batch, and so in one transaction."""

    max_batch_bytes: Annotated[int, Ge(1024 * 1024)] = 32 * 1024 * 1024
    """Largest batch of compressed records to decompress, in bytes; a larger one is a dead letter."""

    session_timeout_seconds: PositiveFloat = 45.0
    """Silence after which the group gives a replica's partitions to others, in seconds."""

    max_poll_interval_seconds: PositiveFloat = 300.0
    """Time limit for one batch before the replica loses its partitions, in seconds."""

    request_timeout_seconds: Annotated[float, Ge(1)] = 10.0
    """Time to wait for a broker before it counts as unreachable, in seconds."""

    metadata_max_age_seconds: PositiveFloat = 30.0
    """Longest time until Cliffwatch notices new topics and partitions, in seconds."""

    security_protocol: SecurityProtocol = SecurityProtocol.PLAINTEXT
    """Protocol to brokers."""

    ssl_ca_file: str = ""
    """PEM file of the authority that signed the brokers' certificates; empty for the system's authorities."""

    ssl_certificate_file: str = ""
    """PEM file of the client's certificate; empty for none."""

    ssl_key_file: str = ""
    """PEM file of the client's key; empty for none."""

    ssl_key_password: Annotated[str, Field(repr=False)] = ""
    """Password of the key. Set it in the environment only, or use ssl_key_password_file."""

    ssl_key_password_file: str = ""
    """File that holds the password of the key; empty for none."""

    ssl_check_hostname: bool = True
    """Whether a broker's certificate must match its host name."""

    sasl_mechanism: str = ""
    """PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or GSSAPI; empty if the protocol has no SASL."""

    sasl_username: str = ""
    """User for SASL; empty for none."""

    sasl_password: Annotated[str, Field(repr=False)] = ""
    """Password for SASL. Set it in the environment only, or use sasl_password_file."""

    sasl_password_file: str = ""
    """File that holds the password for SASL; empty for none."""

    unreadable_tries: NonNegativeInt = 8
    """
    Tries, over about a minute, before Cliffwatch skips a batch that cannot be read (broken checksum, corrupt
    compression) and writes a dead letter; with 0, its partition waits for you.
    """

    dead_letter_topic: str = ""
    """Topic for dead letters, not one of `topics`; empty for one beside each topic, named TOPIC.GROUP.dlq."""

    dead_letter_payload: bool = False
    """Whether to write the payload itself to the dead-letter topic, or only its hash and length."""

    dead_letter_max_payload_bytes: NonNegativeInt = 512 * 1024
    """Largest payload to write to the dead-letter topic, in bytes."""

    @field_validator("dead_letter_topic")
    @classmethod
    def _is_not_read(cls, topic: str, given: ValidationInfo) -> str:
        if topic in given.data.get("topics", ()):
            raise ValueError("is a topic that is read, so that each dead letter would make another; name another one")
        return topic
