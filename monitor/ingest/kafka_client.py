"""Options that all Kafka clients share (address, name, security), and the translation of their errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from kafka import KafkaProducer, errors
from kafka.net.transport import KafkaTCPTransport
from kafka.protocol.frame import KafkaBytes

from monitor.errors import BrokersUnreachable, ConfigInvalid, os_errors
from monitor.ingest.settings import KafkaSettings, SecurityProtocol
from monitor.ingest.unfolding import BoundedConsumer


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """
    Options that consumer, producer and admin client of kafka-python share.

    Raises:
        ConfigInvalid: a password file cannot be read.
    """
    given = {
        "ssl_cafile": settings.ssl_ca_file,
        "ssl_certfile": settings.ssl_certificate_file,
        "ssl_keyfile": settings.ssl_key_file,
        "ssl_password": _secret(settings.ssl_key_password, settings.ssl_key_password_file),
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_username,
        "sasl_plain_password": _secret(settings.sasl_password, settings.sasl_password_file),
    }
    return {
        "bootstrap_servers": [server.strip() for server in settings.bootstrap_servers.split(",")],
        "client_id": settings.client_id,
        "security_protocol": settings.security_protocol.value,
        "ssl_check_hostname": settings.ssl_check_hostname,
        "request_timeout_ms": milliseconds(settings.request_timeout_seconds),
        "bootstrap_timeout_ms": milliseconds(settings.request_timeout_seconds),
        "reconnect_backoff_max_ms": 1_000,  # reconnect to a broker within a second of its return, not after 30
    } | {name: value for name, value in given.items() if value}


def open_consumer(settings: KafkaSettings, **options: Any) -> Any:
    """
    A kafka-python consumer without automatic commits; it joins a group only if *options* name one.

    Raises:
        ConfigInvalid: the client refuses its options.
        DependencyUnreachable: no broker answers.
    """
    with translated_errors(settings):
        return BoundedConsumer(
            max_batch_bytes=settings.max_batch_bytes,
            **client_options(settings),
            **{"group_id": None, **options},
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            auto_offset_reset="earliest",  # if retention deletes records before we read them
            isolation_level="read_committed",
        )


def producer(settings: KafkaSettings, *, most_bytes: int) -> KafkaProducer:
    """
    A producer that waits for all in-sync replicas, with the timeouts of *settings*.

    Raises:
        KafkaError: no broker answers; see `translated_errors`.
    """
    timeout_ms = milliseconds(settings.request_timeout_seconds)
    return KafkaProducer(
        **client_options(settings),
        acks="all",
        max_block_ms=timeout_ms,
        delivery_timeout_ms=timeout_ms + timeout_ms // 2,
        max_request_size=most_bytes,
    )


def send_all(topic: str, values: Iterable[tuple[str, bytes]], settings: KafkaSettings, *, most_bytes: int) -> None:
    """
    Send each key and value to *topic*; returns when all are acknowledged.

    Raises:
        BrokersUnreachable: some may not have arrived: send all again, since duplicates count once.
    """
    with translated_errors(settings), closing(producer(settings, most_bytes=most_bytes)) as opened:
        for acknowledged in [opened.send(topic, key=key.encode(), value=value) for key, value in values]:
            acknowledged.get(timeout=2 * settings.request_timeout_seconds)


def milliseconds(seconds: float) -> int:
    """*seconds* as an integer number of milliseconds."""
    return round(seconds * 1_000)


@contextmanager
def translated_errors(settings: KafkaSettings) -> Iterator[None]:
    """
    Translate errors of the client into one sentence that says what to do.

    Raises:
        ConfigInvalid: the client refuses its options, or another replica uses our `group.instance.id`.
        BrokersUnreachable: any other error of the client or the network.
    """
    try:
        yield
    except errors.KafkaConfigurationError as error:
        raise ConfigInvalid(f"kafka: {error.args[0] if error.args else error}") from error
    except errors.FencedInstanceIdError as error:
        raise ConfigInvalid(
            f"kafka.group_instance_id: another replica runs as {settings.group_instance_id}; give each its own."
        ) from error
    except (errors.KafkaError, OSError) as error:
        raise BrokersUnreachable(_sentence(error, settings)) from error


def _sentence(error: Exception, settings: KafkaSettings) -> str:
    where, is_guarded = settings.bootstrap_servers, settings.security_protocol is not SecurityProtocol.PLAINTEXT
    match error:
        case errors.SaslAuthenticationFailedError():
            return f"Kafka at {where} refuses our credentials; check kafka.security_protocol, sasl_* and ssl_*."
        case errors.TopicAuthorizationFailedError() | errors.GroupAuthorizationFailedError():
            return f"Kafka at {where} forbids it ({error}); allow READ on the topics and on group {settings.group_id}."
        case errors.KafkaError(retriable=True) | OSError() if is_guarded:
            # A broker may close the connection on wrong credentials; kafka-python reports that as no answer.
            return (
                f"No Kafka broker at {where} lets us in; check kafka.security_protocol, sasl_* and ssl_*, "
                "kafka.bootstrap_servers, and that the broker runs."
            )
        case errors.KafkaError(retriable=True) | OSError():
            return f"No Kafka broker answers at {where}; check kafka.bootstrap_servers and that the broker runs."
        case _:
            return f"Kafka at {where} cannot be read: {error}."


def _secret(value: str, path: str) -> str:
    if not path:
        return value
    with os_errors(ConfigInvalid, f"{Path(path).absolute()} cannot be read", "check the kafka.*_password_file."):
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")


def _receive(transport: Any) -> tuple[bytes | memoryview, errors.KafkaConnectionError | None]:
    """Receive all available bytes, in large chunks: kafka-python reads 4 kB at a time, and has no setting for it."""
    chunks, problem = [], None
    try:
        while chunk := transport._sock.recv(_RECEIVED_BYTES):  # noqa: SLF001
            chunks.append(chunk)
        problem = errors.KafkaConnectionError("socket disconnected")
    except (BlockingIOError, InterruptedError):
        pass
    except Exception as error:  # noqa: BLE001  (any error ends only this connection, as in kafka-python)
        problem = errors.KafkaConnectionError(error)
    return memoryview(b"".join(chunks)), problem  # slices of a memoryview are not copies


def _read(frame: Any, size: int | None = None) -> bytes:
    """Read the rest of *frame*, or *size* bytes, with one copy; kafka-python makes two."""
    begin = frame._idx  # noqa: SLF001
    frame._idx = len(frame) if size is None else min(begin + size, len(frame))  # noqa: SLF001
    with memoryview(frame) as view:
        return bytes(view[begin : frame._idx])  # noqa: SLF001


_RECEIVED_BYTES = 256 * 1024
KafkaTCPTransport._sock_recv = _receive  # noqa: SLF001  # not for TLS, which reads records of 16 kB in another method
KafkaBytes.read = _read
