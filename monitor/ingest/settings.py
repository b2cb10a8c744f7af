"""Which Kafka, as whom, and where to begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, MinLen
from typing_extensions import Doc


class StartAt(StrEnum):
    """Where a partition begins that the ledger has never seen."""

    EARLIEST = "earliest"
    LATEST = "latest"


class SecurityProtocol(StrEnum):
    """How brokers are spoken to."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """The topics that are read, the group that reads them, and what becomes of records that say nothing."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    bootstrap_servers: Annotated[str, MinLen(1), Doc("HOST:PORT of one or more brokers, separated by commas.")] = (
        "127.0.0.1:9092"
    )
    topics: Annotated[tuple[str, ...], MinLen(1), Doc("Topics to read; each must exist.")] = (
        "agent-traces",
        "agent-outcomes",
    )
    group_id: Annotated[str, MinLen(1), Doc("Consumer group; replicas of one monitor share it.")] = "cliffwatch"
    group_instance_id: Annotated[
        str, Doc("Name of this replica for static membership, different in each; empty for none.")
    ] = ""
    client_id: Annotated[str, MinLen(1), Doc("Name under which brokers log and limit this client.")] = "cliffwatch"
    start: Annotated[StartAt, Doc("Where a partition begins that the ledger has never seen.")] = StartAt.EARLIEST
    max_poll_records: Annotated[int, Ge(1), Doc("Most records in one batch, and so in one transaction.")] = 4_000
    session_timeout_seconds: Annotated[
        float, Gt(0), Doc("Silence after which the group gives a replica's partitions to others, in seconds.")
    ] = 45.0
    max_poll_interval_seconds: Annotated[
        float, Gt(0), Doc("Longest time that one batch may take before the replica loses its partitions, in seconds.")
    ] = 300.0
    request_timeout_seconds: Annotated[
        float, Ge(1), Doc("How long to wait for a broker before it counts as out of reach, in seconds.")
    ] = 10.0
    metadata_max_age_seconds: Annotated[
        float, Gt(0), Doc("How soon new topics and partitions are noticed, in seconds.")
    ] = 30.0
    security_protocol: Annotated[SecurityProtocol, Doc("How brokers are spoken to.")] = SecurityProtocol.PLAINTEXT
    ssl_ca_file: Annotated[str, Doc("PEM file of the authority that signed the brokers; empty for the system's.")] = ""
    ssl_certificate_file: Annotated[str, Doc("PEM file of the client's certificate; empty for none.")] = ""
    ssl_key_file: Annotated[str, Doc("PEM file of the client's key; empty for none.")] = ""
    ssl_key_password: Annotated[
        str, Doc("Password of the key, from the environment alone; else ssl_key_password_file.")
    ] = field(default="", repr=False)
    ssl_key_password_file: Annotated[str, Doc("File that holds the password of the key; empty for none.")] = ""
    ssl_check_hostname: Annotated[bool, Doc("Whether a broker's certificate must bear its host name.")] = True
    sasl_mechanism: Annotated[
        str, Doc("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or GSSAPI; empty where the protocol is without SASL.")
    ] = ""
    sasl_username: Annotated[str, Doc("User for SASL; empty for none.")] = ""
    sasl_password: Annotated[str, Doc("Password for SASL, from the environment alone; else sasl_password_file.")] = (
        field(default="", repr=False)
    )
    sasl_password_file: Annotated[str, Doc("File that holds the password for SASL; empty for none.")] = ""
    unreadable_tries: Annotated[
        int,
        Ge(0),
        Doc(
            "Tries, over about a minute, before a batch that cannot be read (broken checksum, corrupt compression) is "
            "passed over as a dead letter; 0 to let its partition wait for a person."
        ),
    ] = 8
    dead_letter_topic: Annotated[
        str, Doc("Topic for records that say nothing; empty for TOPIC.GROUP.dlq beside each topic.")
    ] = ""
    dead_letter_payload: Annotated[
        bool, Doc("Whether the payload itself goes to the dead-letter topic, or only its hash and length.")
    ] = False
    dead_letter_max_payload_bytes: Annotated[
        int, Ge(0), Doc("Payloads above this size stay out of the dead-letter topic, in bytes.")
    ] = 512 * 1024
