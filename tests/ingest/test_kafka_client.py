from __future__ import annotations

from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaError, KafkaTimeoutError, SaslAuthenticationFailedError

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
