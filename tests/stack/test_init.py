"""`cliffwatch init` on a real Kafka: what it finds, what it writes, and every error on the way."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from monitor.cli import run_command
from monitor.config.model import load_config
from tests.doctor.test_topic_sample import SPANS
from tests.histories import roll_out_events
from tests.stack.monitor_process import CLIFFWATCH
from tests.stack.servers import KafkaServer, free_port, wait_until
from tests.trace.otlp import as_protobuf

pytestmark = pytest.mark.stack


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "first.yaml"


def filled(kafka: KafkaServer, values: Sequence[bytes], *, suffix: str = "") -> str:
    """A topic that holds *values*, in turns in two partitions."""
    topic = f"init-{uuid4()}{suffix}"
    kafka.create_topic(topic, partitions=2)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for number, value in enumerate(values):
        producer.send(topic, value, partition=number % 2)
    producer.flush()
    producer.close()
    return topic


def init(kafka: KafkaServer, output: Path, *arguments: str) -> int:
    return run_command(["init", "--yes", "-b", kafka.bootstrap_servers, "-f", str(output), *arguments])


def test_what_is_there_is_found_written_and_left_as_it_was(
    kafka: KafkaServer, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Formats and services are named, the file loads, the next commands are told, and no group was joined."""
    native = filled(kafka, [json.dumps(event).encode() for event, _ in zip(roll_out_events(), range(30), strict=False)])
    spans = filled(kafka, [as_protobuf(SPANS)])

    assert 0 == init(kafka, output, "--topic", native, "--topic", spans, "--ledger", "sqlite:///mine.db")

    told = capsys.readouterr().out
    config = load_config(output)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    groups = [group for group in admin.list_groups() if "init" in str(group)]
    admin.close()
    assert f"{native}: 10 records looked at: native events; 10 traces, 10 outcomes" in told
    assert f"{spans}: 1 records looked at: OTLP protobuf (OpenTelemetry GenAI); 1 traces, 0 outcomes" in told
    assert "Seen: shop with old-0." in told
    assert f"cliffwatch run --config.file {output}" in told
    assert ((native, spans), kafka.bootstrap_servers) == (config.kafka.topics, config.kafka.bootstrap_servers)
    assert [] == groups


def test_a_person_is_asked_on_a_terminal(kafka: KafkaServer, output: Path) -> None:
    """Brokers, topics and ledger, each with what was found; what is typed counts, a topic that was passed over too."""
    filled(kafka, [as_protobuf(SPANS)])
    topic = filled(kafka, [as_protobuf(SPANS)], suffix=".dlq")
    ours, theirs = pty.openpty()
    environment = os.environ | {"CLIFFWATCH_KAFKA__BOOTSTRAP_SERVERS": "nobody:1", "TERM": "dumb"}
    with subprocess.Popen(
        [CLIFFWATCH, "init", "-f", str(output)], env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = ""
        for question, answer in (
            ("Kafka brokers (HOST:PORT) [nobody:1]", kafka.bootstrap_servers),
            ("Topics, separated by commas", topic),
            ("Ledger (SQLite file, or PostgreSQL URL without password)", "sqlite:///asked.db"),
        ):
            while question not in said:
                said += _read_some(ours, said)
            os.write(ours, f"{answer}\n".encode())
            said = ""
        wait_until(output.exists, what="the config is written")
        _drain(ours)

    config = load_config(output)
    assert 0 == process.returncode
    assert ((topic,), "sqlite:///asked.db") == (config.kafka.topics, config.ledger.url)


def _read_some(terminal: int, said: str) -> str:
    """What the command says next; it must not have ended."""
    try:
        return os.read(terminal, 4_096).decode(errors="replace")
    except OSError:  # how Linux says that the other end is closed
        pytest.fail(f"ended instead of asking: {said}")


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 4_096):
            pass
    except OSError:  # how Linux says that the other end is closed
        os.close(terminal)


def test_a_wrong_port_is_one_sentence(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens there; nothing is written."""
    address = f"127.0.0.1:{free_port()}"

    assert 3 == run_command(["init", "--yes", "-b", address, "-f", str(output)])

    assert f"error: No Kafka broker answers at {address}; check" in capsys.readouterr().err
    assert not output.exists()


def test_a_missing_topic_is_one_sentence_with_those_that_are_there(
    kafka: KafkaServer, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typo shows at once."""
    topic = kafka.new_topic(prefix="init")

    assert 3 == init(kafka, output, "--topic", "agent-tracse")

    error = capsys.readouterr().err
    assert "has no topic agent-tracse" in error
    assert topic in error
    assert not output.exists()


def test_an_empty_topic_is_a_warning_that_says_what_to_do(
    kafka: KafkaServer, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config is written all the same: traffic may come later."""
    topic = kafka.new_topic(prefix="init")

    assert 0 == init(kafka, output, "--topic", topic)

    assert f"warning: {topic} is empty: send something" in capsys.readouterr().out
    assert (topic,) == load_config(output).kafka.topics


def test_an_unreadable_format_is_one_sentence_that_says_what_it_looks_like(
    kafka: KafkaServer, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written that could not work."""
    topic = filled(kafka, [b'{"level": "info", "msg": "hi"}'] * 3)

    assert 1 == init(kafka, output, "--topic", topic)

    assert f"{topic} holds nothing that Cliffwatch reads (3 of 3 records: JSON of another" in capsys.readouterr().err
    assert not output.exists()


def test_traces_without_labels_are_a_warning(
    kafka: KafkaServer, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdicts to come would rest on nothing but errors."""
    topic = filled(kafka, [as_protobuf(SPANS)])

    assert 0 == init(kafka, output, "--topic", topic)

    assert "warning: No labels were seen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        pytest.param(["--ledger", "postgresql+psycopg://u:secret@h/d"], "set CLIFFWATCH_LEDGER__URL", id="a URL"),
        pytest.param(["--sasl-mechanism", "PLAIN"], "--sasl-password-file", id="a password that is needed"),
        pytest.param(["-f", "/nonexistent/first.yaml"], "choose another --output-file", id="a place that is not there"),
    ],
)
def test_secrets_are_not_written_and_bad_places_are_said(
    kafka: KafkaServer, output: Path, arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, what to do instead, and no file."""
    topic = kafka.new_topic(prefix="init")

    assert 2 == init(kafka, output, "--topic", topic, *arguments)

    error = capsys.readouterr().err
    assert advice in error
    assert "secret" not in error
    assert not output.exists()


def test_a_file_is_only_overwritten_when_that_is_said(
    kafka: KafkaServer, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a person has written is hers."""
    topic = kafka.new_topic(prefix="init")
    output.write_text("# mine\n")

    assert 2 == init(kafka, output, "--topic", topic)
    assert "# mine\n" == output.read_text()
    assert "overwrite it with --force" in capsys.readouterr().err
    assert 0 == init(kafka, output, "--topic", topic, "--force")
    assert topic in output.read_text()
