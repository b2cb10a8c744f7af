from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.cli import run_command
from monitor.demo.events import demo_events

CLIFFWATCH = str(Path(sys.executable).with_name("cliffwatch"))


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([CLIFFWATCH, *arguments], input=stdin, capture_output=True, timeout=500, check=False)


@pytest.mark.slow
def test_the_demo_calls_the_cliff_and_nothing_else(demo: dict[str, dict[str, object]]) -> None:
    """The cliff and the regression are called; the gain and the version against itself are not."""
    expected = {
        "booking-agent": "cliff",
        "search-agent": "ok",
        "billing-agent": "waiting",
        "support-agent": "regression",
    }

    assert expected == {service: rollout["verdict"] for service, rollout in demo.items()}
    assert "class" == demo["support-agent"]["tiers_by"]


@pytest.mark.slow
def test_the_demo_measures_the_cliff(demo: dict[str, dict[str, object]]) -> None:
    """
    The share rises by what the tiers of all 37 versions imply, and by more than a uniform gain explains.

    Against tiers implied by every other version of the source the rise is 39 points and a uniform gain gives 14; twelve
    versions of history must find both within ten points, and the excess with its bound above zero.
    """
    share = demo["booking-agent"]["share"]

    assert isinstance(share, dict)
    assert share["change"] == pytest.approx(0.39, abs=0.10)
    assert share["excess"] == pytest.approx(0.25, abs=0.10)
    assert 0 < share["lower"] < share["change"] < share["upper"]
    assert 0 < share["excess_lower"] < share["excess"] < share["excess_upper"]


@pytest.mark.slow
def test_parts_of_the_change_add_up(demo: dict[str, dict[str, object]]) -> None:
    """The change of the share is the part that a uniform gain would give plus the excess."""
    for rollout in demo.values():
        share = rollout["share"]
        assert isinstance(share, dict)
        assert share["expected_change"] + share["excess"] == pytest.approx(share["change"])


@pytest.mark.slow
def test_a_replay_reads_standard_input() -> None:
    """`-` is standard input, bad lines are counted, and the log says which they are and why."""
    lines = b"\n".join(json.dumps(event).encode() for _, event in zip(range(50), demo_events(), strict=False))

    done = run("replay", "-", "--output", "json", "--log.level", "warning", stdin=lines + b"\n{broken\n")

    records = json.loads(done.stdout)["records"]
    assert {"read": 51, "counted": 50, "duplicate": 0, "dead_lettered": 1, "unlabelled": 0} == records
    assert "topic=- partition=0 offset=50 reason=not_json" in done.stderr.decode()


def test_a_replay_tells_people_of_lines_that_it_could_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many there are, and how to see which; nothing where there is none."""
    whole, damaged = tmp_path / "whole.jsonl", tmp_path / "damaged.jsonl"
    whole.write_text(json.dumps(next(iter(demo_events()))) + "\n")
    damaged.write_text(whole.read_text() + "{broken\n")

    assert 0 == run_command(["replay", str(damaged)])
    assert "1 record could not be read; --log.level warning names each." in capsys.readouterr().out
    assert 0 == run_command(["replay", str(whole)])
    assert "could not be read" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("starts", "expected"),
    [("1795410120000", "1 span without ids or with an impossible time: left out."), ("1795410120000000000", "")],
)
def test_a_replay_without_a_request_says_so(
    starts: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Milliseconds where nanoseconds belong, or spans of no agent: "every service kept its version" is not all."""
    span = {"traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7", "startTimeUnixNano": starts}
    file = tmp_path / "spans.jsonl"
    file.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))

    assert 0 == run_command(["replay", str(file)])
    said = capsys.readouterr().out
    assert "Not one request of an agent was found" in said
    assert expected in said

    file.write_text("\n")
    assert 0 == run_command(["replay", str(file)])
    assert "Not one request of an agent was found" in capsys.readouterr().out


def test_a_replay_that_can_read_nothing_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipeline, "no rollout was found" would pass for an all-clear; read before, or empty, it is no failure."""
    wrong, empty = tmp_path / "wrong.jsonl", tmp_path / "empty.jsonl"
    wrong.write_text('{"a": 1}\n{broken\n')
    empty.touch()
    into_a_ledger = ["replay", str(wrong), "--ledger", f"sqlite:///{tmp_path}/ledger.db"]

    for arguments in (["replay", str(wrong)], into_a_ledger):
        assert 1 == run_command(arguments)
        assert "Of 2 records, none could be read; --log.level warning says why" in capsys.readouterr().err
    assert 0 == run_command(into_a_ledger)
    assert 0 == run_command(["replay", str(empty)])


def test_a_ledger_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that was read into a ledger is not read again."""
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps(event) + "\n" for _, event in zip(range(20), demo_events(), strict=False)))
    arguments = ["replay", str(events), "--ledger", f"sqlite:///{tmp_path}/ledger.db", "-o", "json"]

    shown = []
    for _ in range(2):
        assert run_command(arguments) == 0
        shown.append(json.loads(capsys.readouterr().out)["records"])

    assert shown[0] == shown[1]
    assert shown[1]["counted"] == 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        pytest.param(
            ["check-config", "missing.yaml"], 1, "/missing.yaml: cannot be read", id="a config that is not there"
        ),
        pytest.param(["replay", "missing.jsonl"], 3, "check the name", id="a file that is not there"),
        pytest.param(["replay", "x", "--ledger", "mysql://h/d"], 1, "sqlite or postgresql", id="an unknown ledger"),
        pytest.param(["replay"], 2, "Name files to replay", id="nothing to replay"),
        pytest.param(["check-config"], 2, "Missing argument", id="a missing argument"),
        pytest.param(["demo", "--write", "/nonexistent/x"], 2, "choose another place", id="a place that is not there"),
        pytest.param(
            ["demo", "--write", "/nonexistent/x", "--config.file", "missing.yaml"],
            1,
            "/missing.yaml: cannot be read",
            id="a config of the demo that is not there",
        ),
        pytest.param(["fly"], 2, "No such command", id="an unknown command"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    arguments: list[str], code: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong, standard error says what to do, and there is no traceback."""
    assert code == run_command(arguments)

    error = capsys.readouterr().err
    assert advice in error
    assert "Traceback" not in error


def test_check_config_names_every_problem_by_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two mistakes give two lines, each with the line number of the file."""
    config = tmp_path / "cliffwatch.yaml"
    config.write_text("kafka:\n  group_idd: mine\nrollout:\n  share_jump: 7\n")

    assert 1 == run_command(["check-config", str(config)])

    error = capsys.readouterr().err
    assert f"{config}:2" in error
    assert f"{config}:4" in error


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("basic_auth_users:\n  alice: secret-123\n", "web.yml:2: basic_auth_users.alice: is not a bcrypt hash"),
        ("tls_server_config:\n  cert_file: no.pem\n  key_file: web.yml\n", "web.yml:2: tls_server_config.cert_file:"),
        ("tls_server_config:\n  cert_file: web.yml\n  key_file: web.yml\n", "are not a certificate and its key"),
        (None, "web.config_file cannot be read"),
    ],
    ids=["a password in plain text", "a file that is not there", "a file of another kind", "no web config"],
)
def test_check_config_reads_the_web_config_too(
    tmp_path: Path, text: str | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would stop the start is found before; a password is not repeated."""
    web = tmp_path / "web.yml"
    if text is not None:
        web.write_text(text)
    config = tmp_path / "cliffwatch.yaml"
    config.write_text(f"web: {{config_file: '{web}'}}\n")

    assert 1 == run_command(["check-config", str(config)])

    said = capsys.readouterr()
    assert problem in said.err
    assert "secret-123" not in said.err + said.out


def test_check_config_takes_a_sound_web_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that guards nothing is no problem."""
    (tmp_path / "web.yml").write_text("http_server_config:\n  headers: {X-Frame-Options: DENY}\n")
    config = tmp_path / "cliffwatch.yaml"
    config.write_text(f"web: {{config_file: '{tmp_path}/web.yml'}}\n")

    assert 0 == run_command(["check-config", str(config)])
    assert "no problem found" in capsys.readouterr().out


@pytest.mark.slow
def test_a_broker_that_cannot_be_reached_ends_the_start_with_exit_3(tmp_path: Path) -> None:
    """`run` says which broker it could not reach."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
        config = tmp_path / "cliffwatch.yaml"
        config.write_text(
            f"kafka: {{bootstrap_servers: '{nobody}', request_timeout_seconds: 2}}\n"
            f"ledger: {{url: 'sqlite:///{tmp_path}/l.db'}}\n"
        )

        done = run("run", "--config.file", str(config))

    assert 3 == done.returncode
    assert nobody in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the program and its version."""
    assert 0 == run_command(["--version"])

    assert capsys.readouterr().out.startswith("cliffwatch ")


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error() -> None:
    """`cliffwatch ... | head` ends quietly."""
    with subprocess.Popen(
        [CLIFFWATCH, "replay", "-", "-o", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018
        process.stdout.close()
        process.stdin.close()
        error = process.stderr.read().decode()

    assert "Traceback" not in error
    assert "Exception" not in error


@pytest.mark.slow
def test_a_full_disk_under_the_output_is_one_sentence() -> None:
    """No gate takes it for a found problem."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([CLIFFWATCH, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)

    assert 3 == done.returncode
    assert b"error: The output cannot be written (No space left on device): send it elsewhere.\n" == done.stderr
