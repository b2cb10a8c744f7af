from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, SaslAuthenticationFailedError
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.frame import KafkaBytes

from monitor.errors import ConfigInvalid, DependencyUnreachable
from monitor.ingest.kafka_client import client_options, translated_errors
from monitor.ingest.settings import KafkaSettings, SecurityProtocol


def test_security_settings_reach_the_client(tmp_path: Path) -> None:
    """TLS and SASL settings become options of the client; passwords may come from files."""
    (tmp_path / "password").write_text("pass word\n")

    options = client_options(
        KafkaSettings(
            bootstrap_servers="a:1, b:2",
            security_protocol=SecurityProtocol.SASL_SSL,
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="user",
            sasl_password_file=str(tmp_path / "password"),
            ssl_ca_file="ca.pem",
            ssl_certificate_file="client.pem",
            ssl_key_file="client.key",
            ssl_key_password="key password",
            ssl_check_hostname=False,
        )
    )

    assert ["a:1", "b:2"] == options["bootstrap_servers"]
    assert {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "user",
        "sasl_plain_password": "pass word",
        "ssl_cafile": "ca.pem",
        "ssl_certfile": "client.pem",
        "ssl_keyfile": "client.key",
        "ssl_password": "key password",
        "ssl_check_hostname": False,
    }.items() <= options.items()


def test_options_that_are_not_set_are_left_to_the_client() -> None:
    """Without TLS and SASL the client's own defaults hold, and it knows every option that we pass."""
    options = client_options(KafkaSettings())

    assert set() == {name for name in options if name.startswith(("sasl", "ssl"))} - {"ssl_check_hostname"}
    assert set(options) <= set(KafkaConsumer.DEFAULT_CONFIG)


def test_passwords_are_not_shown() -> None:
    """The text form of the settings, as a log line might hold it, has no password."""
    assert "hunter2" not in repr(KafkaSettings(sasl_password="hunter2", ssl_key_password="hunter2"))


def test_a_password_file_that_is_missing_is_named() -> None:
    """A password file that cannot be read is a problem of the config."""
    with pytest.raises(ConfigInvalid, match="/nowhere cannot be read"):
        client_options(KafkaSettings(sasl_password_file="/nowhere"))


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        pytest.param("No Kafka broker answers at k:9", KafkaTimeoutError(), id="a broker that is away is named"),
        pytest.param("No Kafka broker answers at k:9", ConnectionRefusedError(), id="so is one that refuses"),
        pytest.param("refuses our credentials", SaslAuthenticationFailedError(), id="credentials are asked for"),
        pytest.param("Kafka at k:9 ", KafkaError(), id="anything else is passed on in words"),
    ],
)
def test_errors_become_one_sentence(expected: str, error: Exception) -> None:
    """Whatever the client raises becomes an outage with one sentence."""
    with (
        pytest.raises(DependencyUnreachable, match=expected),
        translated_errors(KafkaSettings(bootstrap_servers="k:9")),
    ):
        raise error


def received(stream: Any) -> tuple[bytes, KafkaConnectionError | None]:
    """What a plain connection of kafka-python reads from *stream*."""
    content, error = KafkaTCPTransport._sock_recv(SimpleNamespace(_sock=stream))
    return content, error


def test_all_that_has_come_is_received_and_why_no_more_can() -> None:
    """Also what came before the other side closed; an open connection without content is no error."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        assert (b"", None) == received(ours)
        sent = bytes(range(256)) * 700
        theirs.sendall(sent[:90_000])
        theirs.sendall(sent[90_000:])
        assert (sent, None) == received(ours)
        theirs.sendall(b"the end")
        theirs.close()
        content, error = received(ours)

    assert b"the end" == content
    assert isinstance(error, KafkaConnectionError)


def test_a_connection_that_is_gone_is_an_error_of_its_own() -> None:
    """Its socket is closed, or None once kafka-python has given it up: the loop over all connections goes on."""
    closed = socket.socket()
    closed.close()

    for stream in (closed, None):
        content, error = received(stream)
        assert b"" == content
        assert isinstance(error, KafkaConnectionError)


def test_tls_is_received_as_before() -> None:
    """Its socket says otherwise that it has no more."""
    assert KafkaSSLTransport._sock_recv is not KafkaTCPTransport._sock_recv


@pytest.mark.parametrize("size", [0, 3, 8, 20, None])
def test_frames_are_read_as_kafka_python_reads_them(size: int | None) -> None:
    """The part of kafka-python that is replaced gives the same bytes from the same place, and stops at the same one."""

    def its_own(frame: KafkaBytes) -> bytes:
        begin, frame._idx = frame._idx, len(frame) if size is None else min(frame._idx + size, len(frame))
        return bytes(frame[begin : frame._idx])

    ours, theirs = KafkaBytes(10), KafkaBytes(10)
    for frame in (ours, theirs):
        frame.write(memoryview(b"0123456789"))
        frame.seek(2)

    for _ in range(2):
        read = ours.read() if size is None else ours.read(size)
        assert (read, ours.tell()) == (its_own(theirs), theirs.tell())
        assert isinstance(read, bytes)
