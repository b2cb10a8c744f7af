"""`cliffwatch doctor` and `run` on real servers: all well, and one thing wrong at a time."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaProducer

from monitor.cli import run_command
from monitor.ledger.sql import SqlLedger
from tests.histories import roll_out_events
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, PostgresServer, PrometheusServer, free_port, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

RULES = Path(__file__).resolve().parents[2] / "rules" / "cliffwatch.rules.yml"


class SaslKafkaServer(KafkaServer):
    """A broker that lets nobody in but alice with her password, beside a plain listener for the tests themselves."""

    def prepare(self) -> None:
        self.sasl_port = free_port()
        login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="right";'
        controller = f"CONTROLLER://127.0.0.1:{self._controller_port}"
        self._settings |= {
            "listeners": f"PLAINTEXT://{self.address},SASL://127.0.0.1:{self.sasl_port},{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address},SASL://127.0.0.1:{self.sasl_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": login,
        }
        super().prepare()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    """Writes a config and gives its path; the ledger is a file that is not there yet."""

    def write(kafka: dict[str, Any], **sections: dict[str, Any]) -> str:
        path = tmp_path / "cliffwatch.yaml"
        ledger = {"url": f"sqlite:///{tmp_path}/ledger.db"}
        timeouts = {"request_timeout_seconds": 3}
        path.write_text(yaml.safe_dump({"kafka": timeouts | kafka, "ledger": ledger} | sections))
        return str(path)

    return write


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Exit code, and findings that are not ok by area and check."""

    def ask(path: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = run_command(["doctor", "--config.file", path, "--output", "json", *arguments])
        checks = json.loads(capsys.readouterr().out)["checks"]
        return code, {f"{c['area']} {c['check']}": c for c in checks if c["health"] != "ok"}

    return ask


def filled(kafka: KafkaServer, values: list[bytes]) -> str:
    topic = kafka.new_topic(partitions=2, prefix="doctor")
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for value in values:
        producer.send(topic, value)
    producer.flush()
    producer.close()
    return topic


def test_where_all_is_well_nothing_is_found(
    kafka: KafkaServer, doctor: Callable[..., Any], prometheus: Callable[..., PrometheusServer]
) -> None:
    """A service that has read a rollout, with Prometheus beside it: every check is ok, and the exit code 0."""
    begins = datetime.now(UTC).timestamp() - 86_400.0
    events = [
        event
        | {"started_at": datetime.fromtimestamp(begins + number, UTC).isoformat()}
        | {"model_version": event["model_version"].replace("live-", "model-2026-01-0")}
        for number, event in enumerate(roll_out_events())
    ]
    topic = filled(kafka, [json.dumps(event).encode() for event in events])
    with MonitorProcess(
        {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    ) as monitor:
        server = prometheus(targets=[monitor.address], rule_files=[RULES])
        wait_until(lambda: monitor.total("cliffwatch_requests_total") == len(events), what="all is read")
        wait_until(lambda: server.query("count(cliffwatch_requests_total)"), what="the first scrape")

        code, odd = doctor(str(monitor.directory / "cliffwatch.yaml"), "--prometheus", server.url)

    # The history is made up: 6 of the 97 requests that it tags easy fail, and doctor is right to say so.
    odd.pop("tiers promise", None)
    odd.pop("tiers history", None)  # depends on how many partitions were read before the first newcomer
    assert (0, {}) == (code, odd)


def test_a_wrong_port_is_out_of_reach(config: Callable[..., str], doctor: Callable[..., Any]) -> None:
    """Exit 3, and what hangs on it is skipped and not called wrong."""
    address = f"127.0.0.1:{free_port()}"

    code, odd = doctor(config({"bootstrap_servers": address}))

    assert 3 == code
    assert f"{address} accepts no connection" in odd["broker connection"]["finding"]
    assert "skipped" == odd["formats formats"]["health"]


def test_a_name_that_does_not_resolve_is_reported(config: Callable[..., str], doctor: Callable[..., Any]) -> None:
    """DNS is told from a port that nobody listens on."""
    code, odd = doctor(config({"bootstrap_servers": "no-such-broker.invalid:9092"}))

    assert 3 == code
    assert "does not resolve" in odd["broker name"]["finding"]


def test_a_plain_port_gives_no_tls(kafka: KafkaServer, config: Callable[..., str], doctor: Callable[..., Any]) -> None:
    """Encryption is told from connection."""
    code, odd = doctor(config({"bootstrap_servers": kafka.bootstrap_servers, "security_protocol": "SSL"}))

    assert 3 == code
    assert "does not speak TLS" in odd["broker tls"]["finding"]


@pytest.fixture(scope="module")
def sasl() -> Iterator[SaslKafkaServer]:
    with SaslKafkaServer() as server:
        yield server


def test_a_wrong_password_is_reported_and_not_shown(
    sasl: SaslKafkaServer,
    config: Callable[..., str],
    doctor: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """By `doctor` and by `run` in one sentence each, that says which keys to look at; the right one is let in."""
    sasl.create_topic("sasl", partitions=1)
    login = {
        "bootstrap_servers": f"127.0.0.1:{sasl.sasl_port}",
        "topics": ["sasl"],
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "alice",
    }

    password = tmp_path / "password"

    password.write_text("wr0ng-one")
    path = config(login | {"sasl_password_file": str(password)})
    code, odd = doctor(path)
    run_code = run_command(["run", "--config.file", path])
    (said,) = capsys.readouterr().err.splitlines()
    password.write_text("right")
    right_code, right_odd = doctor(path)

    assert (3, 3) == (code, run_code)
    assert "The brokers accept a connection and refuse the client" in odd["broker login"]["finding"]
    assert "lets us in; check kafka.security_protocol, sasl_*" in said
    assert "wr0ng-one" not in said + str(odd)
    assert 3 != right_code
    assert "broker login" not in right_odd


def test_a_missing_topic_is_a_problem(
    kafka: KafkaServer, config: Callable[..., str], doctor: Callable[..., Any]
) -> None:
    """Named, with what to do."""
    code, odd = doctor(config({"bootstrap_servers": kafka.bootstrap_servers, "topics": ["agent-tracse"]}))

    assert 1 == code
    assert "There is no topic agent-tracse." == odd["topics agent-tracse"]["finding"]


def test_an_empty_topic_and_an_unreadable_one_are_distinguished(
    kafka: KafkaServer, config: Callable[..., str], doctor: Callable[..., Any]
) -> None:
    """The first may still fill, the second never will do."""
    empty, other = kafka.new_topic(prefix="doctor"), filled(kafka, [b'{"level": "info"}'] * 5)

    code, odd = doctor(config({"bootstrap_servers": kafka.bootstrap_servers, "topics": [empty, other]}))

    assert 1 == code
    assert ("warning", "problem") == (odd[f"formats {empty}"]["health"], odd[f"formats {other}"]["health"])
    assert "JSON of another kind, with the keys level" in odd[f"formats {other}"]["finding"]


def test_short_retention_and_a_clock_from_the_future_are_reported(
    kafka: KafkaServer, config: Callable[..., str], doctor: Callable[..., Any]
) -> None:
    """What the brokers say of the topic and of its records."""
    topic = kafka.new_topic(prefix="doctor", config={"retention.ms": "600000"})
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    ahead = int((datetime.now(UTC).timestamp() + 1_800) * 1_000)
    event, *_ = roll_out_events()
    producer.send(topic, json.dumps(event).encode(), timestamp_ms=ahead)
    producer.flush()
    producer.close()

    code, odd = doctor(config({"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic]}))

    assert 1 == code
    assert "keeps records for 10 min, less than the 1 h" in odd[f"topics {topic}"]["finding"]
    assert "in the future" in odd[f"clocks {topic}"]["finding"]


def test_traces_without_labels_are_a_problem(kafka: KafkaServer, doctor: Callable[..., Any]) -> None:
    """Requests were counted, and no verdict can ever come of them."""
    events = [event for event in roll_out_events() if event["environment"] == "production"]
    unlabelled = [json.dumps({k: v for k, v in event.items() if k != "outcome"}).encode() for event in events]
    topic = filled(kafka, unlabelled)
    with MonitorProcess(
        {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": topic}
    ) as monitor:
        wait_until(lambda: monitor.total("cliffwatch_requests_total") == len(events), what="all is read")

        code, odd = doctor(str(monitor.directory / "cliffwatch.yaml"))

    assert 1 == code
    assert f"0% of {len(events)} requests have an outcome" in odd["labels coverage"]["finding"]
    assert "No tiers are learnt" in odd["tiers calibration"]["finding"]


def test_a_database_that_is_down_is_out_of_reach(
    kafka: KafkaServer, config: Callable[..., str], doctor: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """By `doctor` and by `run`: one sentence that names the key, and exit 3."""
    url = f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    path = config({"bootstrap_servers": kafka.bootstrap_servers}, ledger={"url": url})

    code, odd = doctor(path)
    run_code = run_command(["run", "--config.file", path])
    (said,) = capsys.readouterr().err.splitlines()

    assert (3, 3) == (code, run_code)
    assert "does not answer" in odd["ledger answer"]["finding"]
    assert "check ledger.url, and that the database runs" in said


def test_a_database_that_may_only_be_read_is_a_problem(
    kafka: KafkaServer, postgres: PostgresServer, config: Callable[..., str], doctor: Callable[..., Any]
) -> None:
    """The tables are there, and this user may look at them only."""
    import sqlalchemy as sa  # noqa: PLC0415

    url = postgres.new_database()
    SqlLedger(url).close()  # makes the tables
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE ROLE onlooker LOGIN"))
        connection.execute(sa.text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO onlooker"))
    engine.dispose()

    path = config(
        {"bootstrap_servers": kafka.bootstrap_servers}, ledger={"url": url.replace("cliffwatch@", "onlooker@")}
    )
    _, odd = doctor(path)

    assert "the user may not insert" in odd["ledger writing"]["finding"]


@pytest.mark.parametrize("kind", ["part of a ledger", "no database"])
def test_what_is_no_whole_ledger_is_one_problem_among_others(
    kind: str, tmp_path: Path, config: Callable[..., str], doctor: Callable[..., Any]
) -> None:
    """The brokers are looked at, too."""
    path = config({"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    if kind == "part of a ledger":
        SqlLedger(f"sqlite:///{tmp_path}/ledger.db").close()
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
            connection.execute("DROP TABLE stratum")
    else:
        (tmp_path / "ledger.db").write_text("hello\n" * 1_000)

    code, odd = doctor(path)

    assert 3 == code
    assert "refused a statement" in odd["ledger schema"]["finding"]
    assert odd["broker connection"]["unreachable"]


def test_a_ledger_in_a_folder_that_is_not_there_is_one_sentence(
    kafka: KafkaServer, config: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` names the key and the folder's part in it."""
    path = config({"bootstrap_servers": kafka.bootstrap_servers}, ledger={"url": f"sqlite:///{tmp_path}/no/where.db"})

    code = run_command(["run", "--config.file", path])
    (said,) = capsys.readouterr().err.splitlines()

    assert 3 == code
    assert "check ledger.url, and that the database runs, or that the folder of the file is there" in said


def test_a_port_that_is_taken_is_one_sentence(
    kafka: KafkaServer, config: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`run` says which address to change."""
    topic = kafka.new_topic(prefix="doctor")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = config(
            {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic]},
            web={"listen_address": address},
            log={"level": "error"},
        )

        code = run_command(["run", "--config.file", path])

    (said,) = capsys.readouterr().err.splitlines()
    assert 3 == code
    assert address in said
    assert "web.listen_address" in said


def test_prometheus_without_rules_or_target_is_a_problem(
    kafka: KafkaServer,
    config: Callable[..., str],
    doctor: Callable[..., Any],
    prometheus: Callable[..., PrometheusServer],
) -> None:
    """A target that is down, rules that are missing, and a Prometheus that is not there at all."""
    topic = kafka.new_topic(prefix="doctor")
    path = config({"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic]})
    server = prometheus(targets=[f"127.0.0.1:{free_port()}"])
    wait_until(lambda: server.query("up == 0"), what="the first scrape")

    code, odd = doctor(path, "--prometheus", server.url)
    away_code, away = doctor(path, "--prometheus", f"http://127.0.0.1:{free_port()}")

    assert (1, 3) == (code, away_code)
    assert "is down" in odd["prometheus target"]["finding"]
    assert "no rule for CapabilityCliff" in odd["prometheus rules"]["finding"]
    assert "does not answer" in away["prometheus answer"]["finding"]
