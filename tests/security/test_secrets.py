"""A canary for every secret that can be given, sought in everything that comes out."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from monitor.config.model import ENVIRONMENT_PREFIX, Config, load_config
from monitor.config.reference import settings_of
from monitor.errors import ConfigInvalid, MonitorError
from monitor.ledger.engine import open_engine
from monitor.ledger.sql import SqlLedger

CANARY = "canary7Q"
CLIFFWATCH = str(Path(sys.executable).with_name("cliffwatch"))
PASSWORD_SETTINGS = [
    (section, key)
    for section, setting in Config.model_fields.items()
    for key in settings_of(setting.annotation)
    if "password" in key and not key.endswith("_file")
]
URLS = [
    f"postgresql+psycopg://user:{CANARY}@127.0.0.1:1/db",
    f"postgresql+psycopg://user:p@{CANARY}:x@127.0.0.1/db",
    f"postgresql+psycopg://user:{CANARY}@127.0.0.1:{CANARY}/db",
    f"postgresql+psycopg://user:pa/{CANARY}@127.0.0.1/db",
    f"postgresql+nodriver://user:{CANARY}@127.0.0.1/db",
    f"mysql://user:{CANARY}@127.0.0.1/db",
    f"{CANARY}",
    f"://:{CANARY}@",
]


def run(*arguments: str, environment: Mapping[str, str], folder: Path) -> str:
    """Everything that a command says, on both of its channels."""
    done = subprocess.run(
        [CLIFFWATCH, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert 0 != done.returncode
    return done.stdout + done.stderr


def test_the_settings_that_hold_a_secret_are_known() -> None:
    """A new one is added to this test by its name alone."""
    assert [("kafka", "ssl_key_password"), ("kafka", "sasl_password")] == PASSWORD_SETTINGS


@pytest.mark.parametrize("url", URLS)
def test_no_error_repeats_the_ledger_url(url: str) -> None:
    """Not in the sentence, and not in the chain of library errors that level debug prints."""
    with pytest.raises(MonitorError) as caught:
        SqlLedger(url)

    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_no_representation_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A config or engine that lands in a log or a traceback keeps its secrets."""
    monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}LEDGER__URL", URLS[0])
    for section, key in PASSWORD_SETTINGS:
        monkeypatch.setenv(f"{ENVIRONMENT_PREFIX}{section}__{key}".upper(), CANARY)

    config = load_config()

    assert CANARY in config.ledger.url
    assert CANARY == config.kafka.sasl_password
    assert CANARY not in repr(config) + str(config)
    assert CANARY not in repr(open_engine(config.ledger.url))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [(section, key, CANARY) for section, key in PASSWORD_SETTINGS]
    + [("ledger", "url", URLS[0]), ("ledger", "url", URLS[3])]
    + [("ledger", "url", f"postgresql+psycopg://127.0.0.1/db?user=x&password={CANARY}")]
    + [("ledger", "url", f"postgresql+psycopg://user:{odd}@127.0.0.1/db") for odd in (f"a {CANARY}", f"a\n{CANARY}")],
)
def test_no_secret_may_stand_in_the_file(tmp_path: Path, section: str, key: str, value: str) -> None:
    """The file is shown, copied and kept in places where no secret belongs; the sentence says where it does."""
    file = tmp_path / "cliffwatch.yaml"
    file.write_text(yaml.safe_dump({section: {key: value}}))

    with pytest.raises(ConfigInvalid) as caught:
        load_config(file)

    told = str(caught.value)
    assert f"{section}.{key}: holds a password, which does not belong in this file" in told
    assert f"set CLIFFWATCH_{section}__{key}".upper() in told.upper()
    assert f"{key}_file" in told
    assert CANARY not in told


@pytest.mark.parametrize(
    "url", ["sqlite:///cliffwatch.db", "postgresql+psycopg://user@db.example.invalid:5432/db?sslmode=verify-full"]
)
def test_a_url_without_a_password_may_stand_in_the_file(tmp_path: Path, url: str) -> None:
    """Only the password is refused."""
    file = tmp_path / "cliffwatch.yaml"
    file.write_text(yaml.safe_dump({"ledger": {"url": url}}))

    assert url == load_config(file).ledger.url


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("check-config", "bad.yaml"),
        ("run", "--config.file", "good.yaml", "--log.level", "debug"),
        ("verdict", "--config.file", "good.yaml", "--log.level", "debug"),
        ("rollouts", "list", "--config.file", "good.yaml"),
    ],
    ids=lambda command: command[0],
)
def test_no_command_says_a_secret(tmp_path: Path, command: tuple[str, ...]) -> None:
    """With every secret set and every dependency out of reach, at level debug, nothing repeats one."""
    (tmp_path / "password").write_text(f"{CANARY}\n")
    wrong = {"kafka": {"sasl_password": [CANARY], "bootstrap_servers": 1}, "ledger": {"url": {"x": CANARY}}}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(wrong))
    (tmp_path / "good.yaml").write_text(
        yaml.safe_dump(
            {
                "web": {"listen_address": "127.0.0.1:0"},
                "kafka": {
                    "bootstrap_servers": "127.0.0.1:1",
                    "request_timeout_seconds": 1.0,
                    "security_protocol": "SASL_PLAINTEXT",
                    "sasl_mechanism": "PLAIN",
                    "sasl_username": "user",
                    "sasl_password_file": str(tmp_path / "password"),
                },
            }
        )
    )
    environment = {"CLIFFWATCH_LEDGER__URL": URLS[0], "CLIFFWATCH_KAFKA__SSL_KEY_PASSWORD": CANARY}
    sqlite = {**environment, "CLIFFWATCH_LEDGER__URL": f"sqlite:///{tmp_path}/ledger.db"}

    said = [run(*command, environment=environment, folder=tmp_path)]
    if command[0] == "run":  # past the ledger, to the broker
        said.append(run(*command, environment=sqlite, folder=tmp_path))

    assert all(said)
    assert CANARY not in "".join(itertools.chain(said))
