"""`cliffwatch init` and `check-config`: write a first config from the topics on the broker, and check a config."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
import typer
from rich.markup import escape
from sqlalchemy.exc import ArgumentError

from monitor.cli import options
from monitor.cli.app import app, writing
from monitor.cli.terminal.console import Console, print_line, say, waiting
from monitor.config.model import PASSWORD_IN_URL, Config, load_config
from monitor.doctor.first_config import first_config, format_words, services_words, unreadable_words, warnings
from monitor.doctor.topic_sample import Sample, sample
from monitor.errors import ConfigInvalid, DependencyUnreachable, UsageError
from monitor.ingest.kafka_reader import KafkaReader, no_such_topic
from monitor.ingest.settings import KafkaSettings, SecurityProtocol
from monitor.service.pipeline import DecodeRules
from monitor.web.web_config import WebConfig, load_web_config, tls_context

_PEEKED_RECORDS = 10
_MOST_TOPICS = 200
_DEAD_LETTERS = ".dlq"
_PASSWORD_VARIABLE = "CLIFFWATCH_KAFKA__SASL_PASSWORD"  # noqa: S105  (a variable's name, not a password)
_NOTHING_THERE = "No topic has records that Cliffwatch reads; name one with --topic, or write to agent-traces."
_LEDGER_VARIABLE = "CLIFFWATCH_LEDGER__URL"


@dataclass(frozen=True)
class Security:
    """
    How to connect to the brokers, by the keys of the section `kafka`.

    Attributes:
        security_protocol: How to connect to the brokers.
        ssl_ca_file (FILE): Certificate of the authority that signed the brokers' certificates.
        sasl_mechanism (NAME): SASL mechanism, for example PLAIN.
        sasl_username (USER): User for SASL.
        sasl_password_file (FILE): File that holds the password.
    """

    security_protocol: SecurityProtocol | None = None
    ssl_ca_file: str = ""
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password_file: str = ""


@app.command()
def init(
    *,
    bootstrap_servers: str = "",
    topic: list[str] | None = None,
    ledger: str = "",
    security: Security,
    output_file: Path = Path("cliffwatch.yaml"),
    force: bool = False,
    yes: bool = False,
    log_level: options.LogLevel = None,
) -> None:
    """
    Look at your Kafka topics and write a first config, with comments.

    It reads the last ten records of each topic without joining a group, says what they are, and writes the settings
    that differ from the defaults. Passwords stay in the environment or in their own files.

    Example: [bold]cliffwatch init --bootstrap-servers 127.0.0.1:9092 --output-file monitor.yaml[/]

    Args:
        bootstrap_servers (--bootstrap-servers -b HOST:PORT): Brokers, separated by commas.
        topic (--topic -t TOPIC): Read this topic. Repeatable.
        ledger (URL): URL of the ledger, without a password.
        output_file (--output-file -f FILE): Where to write the config.
        force: Overwrite the file.
        yes (--yes -y): Do not ask; use what is found.
    """
    if output_file.exists() and not force:
        raise UsageError(f"{output_file} already exists; choose another --output-file, or overwrite it with --force.")
    config = options.Common(log_level=log_level).config()
    is_asking = not yes and sys.stdin.isatty()
    ask: Callable[[str, str], str] = _ask if is_asking else lambda _, default: default
    servers = bootstrap_servers or ask("Kafka brokers (HOST:PORT)", config.kafka.bootstrap_servers)
    if "@" in servers or "/" in servers:
        raise UsageError("Brokers are HOST:PORT, without a scheme, user or password; use the --sasl-* options.")
    path = _password_file(config, security.sasl_mechanism, security.sasl_password_file, is_asking=is_asking)
    kafka = {name: value for name, value in vars(replace(security, sasl_password_file=path)).items() if value}
    settings = config.kafka.model_copy(update={"bootstrap_servers": servers, **kafka})
    chosen = _chosen(_sampled(settings, topic or [], config), topic or [], config)
    if is_asking and not topic:
        chosen = _confirmed(chosen, lambda topics: _sampled(settings, topics, config))
    url = ledger or ask("Ledger (SQLite file, or PostgreSQL URL without password)", config.ledger.url)
    content = first_config(servers, chosen, _without_secrets(url), kafka)
    with writing(output_file, instead="another --output-file"):
        output_file.write_text(content, encoding="utf-8")
    _print_summary(Console(), chosen, output_file)


def _ask(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, err=True))


def _password_file(config: Config, mechanism: str, path: str, *, is_asking: bool) -> str:
    """The file of the SASL password; asks only for the file, never for the password itself."""
    if path or not mechanism or mechanism == "GSSAPI" or config.kafka.sasl_password or config.kafka.sasl_password_file:
        return path
    if is_asking:
        return str(typer.prompt("File that holds the password for SASL", err=True))
    advice = "Name the file of the password with --sasl-password-file"
    raise UsageError(f"{advice}, or set {_PASSWORD_VARIABLE}; do not put it into a config.")


def _sampled(settings: KafkaSettings, requested: Sequence[str], config: Config) -> Sequence[Sample]:
    """A sample of each requested topic, by default of all topics."""
    rules = DecodeRules(config.limits, config.traces)
    with waiting(f"Looking at Kafka on {settings.bootstrap_servers}"), closing(KafkaReader(settings)) as reader:
        existing = reader.topics()
        for topic in requested:
            if topic not in existing:
                raise DependencyUnreachable(no_such_topic(settings, topic, existing))
        usual = [topic for topic in config.kafka.topics if topic in existing]
        others = [topic for topic in existing if topic not in usual and not topic.endswith(_DEAD_LETTERS)]
        topics = requested or [*usual, *others][:_MOST_TOPICS]
        if not topics:
            raise DependencyUnreachable(no_such_topic(settings, config.kafka.topics[0], existing))
        return [sample(topic, reader.last(topic, _PEEKED_RECORDS), rules) for topic in topics]


def _chosen(samples: Sequence[Sample], requested: Sequence[str], config: Config) -> Sequence[Sample]:
    """The topics to read: the requested ones, else the readable ones, else empty ones with a default name."""
    empty = [each for each in samples if not each.records and each.topic in config.kafka.topics]
    chosen = samples if requested else [each for each in samples if each.is_readable] or empty
    unreadable = [each for each in chosen or samples if each.records and not each.is_readable]
    if unreadable or not chosen:
        raise ConfigInvalid("\n".join(map(unreadable_words, unreadable)) or _NOTHING_THERE)
    return chosen


def _confirmed(chosen: Sequence[Sample], take_samples: Callable[[Sequence[str]], Sequence[Sample]]) -> Sequence[Sample]:
    """*chosen*, or the topics that the user types instead."""
    by_name = {each.topic: each for each in chosen}
    typed = _ask("Topics, separated by commas", ",".join(by_name)).split(",")
    names = [name.strip() for name in typed if name.strip()]
    if others := [name for name in names if name not in by_name]:
        by_name |= {each.topic: each for each in take_samples(others)}
    return [by_name[name] for name in names] or chosen


def _without_secrets(url: str) -> str:
    """*url*, or an empty string if it holds a password and the environment sets it; refuses any other password."""
    try:
        has_password = sa.make_url(url).password is not None or PASSWORD_IN_URL.search(url)
    except (ArgumentError, ValueError):
        advice = "write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE."
        # The library's error may contain part of the URL, and so of its password.
        raise UsageError(f"The ledger URL cannot be understood; {advice}") from None
    if not has_password:
        return url
    if os.environ.get(_LEDGER_VARIABLE) == url:
        return ""
    raise UsageError(f"The ledger URL holds a password: leave it out, and set {_LEDGER_VARIABLE} to the whole URL.")


def _print_summary(console: Console, samples: Sequence[Sample], path: Path) -> None:
    for each in samples:
        text = f"{each.records} records looked at: {format_words(each)}; {each.traces} traces, {each.outcomes} outcomes"
        print_line(console, f"{each.topic}: {text if each.records else 'empty'}")
    for line in services_words(samples):
        print_line(console, f"Seen: {line}.")
    for sentence in warnings(samples):
        console.print(f"[yellow]warning:[/] {escape(sentence)}", soft_wrap=True, highlight=False)
    print_line(console, f"{path} is written. Next:")
    for command in ("doctor", "run"):
        print_line(console, f"  cliffwatch {command} --config.file {path}")


@app.command("check-config")
def check_config(file: Path) -> None:
    """
    Check a config and print every problem with its line; exit 1 if there is one.

    It also reads the file that `web.config_file` names, and the certificate and key that this one names.

    Example: [bold]cliffwatch check-config cliffwatch.yaml[/]

    Args:
        file (FILE): The YAML config to check.
    """
    web_file = load_config(file).web.config_file
    web = load_web_config(Path(web_file)) if web_file else WebConfig()
    if web.tls_server_config is not None:
        tls_context(web.tls_server_config)
    say(f"{file}: no problem found")
