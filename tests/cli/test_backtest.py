"""Back-tests: what other policies would have said of the same records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.cli import run_command
from tests.histories import roll_out_events


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("backtest") / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in roll_out_events()))
    return file


@pytest.fixture(scope="module")
def floored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy with a floor that nothing holds, and nothing else."""
    file = tmp_path_factory.mktemp("policies") / "floored.yaml"
    file.write_text("rollout: {floors: [{service: shop, pass_rate: 0.9}]}\n")
    return file


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that says `ok` soon."""
    file = tmp_path_factory.mktemp("config") / "cliffwatch.yaml"
    file.write_text("rollout: {min_labelled_requests: 100, min_hard_failures: 10, maturity_seconds: 60}\n")
    return file


@pytest.mark.slow
def test_every_policy_says_what_it_would_have_said_and_when(
    events: Path, config: Path, floored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy of the config stands first; another one changes only what it names."""
    arguments = ["replay", str(events), "--config.file", str(config), "--policy", f"floored={floored}"]

    assert 0 == run_command([*arguments, "--output", "json"])

    policies = json.loads(capsys.readouterr().out)["policies"]
    assert ["config", "floored"] == [policy["name"] for policy in policies]
    (as_configured,), (as_floored,) = (policy["rollouts"] for policy in policies)
    assert ("waiting", "regression") == (as_configured["verdict"], as_floored["verdict"])
    assert "floor of 90.0 %" in as_floored["reasons"][0]
    assert as_floored["changes"][-1]["verdict"] == "regression"
    assert as_configured["share"] is not None
    assert as_configured["aggregate"]["candidate"]["requests"] == as_floored["aggregate"]["candidate"]["requests"]


@pytest.mark.slow
def test_the_table_has_a_row_per_policy(
    events: Path, config: Path, floored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One table per rollout, with the time of the last change."""
    assert 0 == run_command(["replay", str(events), "--config.file", str(config), "--policy", f"floored={floored}"])

    title, heading, *rows = capsys.readouterr().out.strip().splitlines()
    assert "shop (production)  live-1 → live-2" == title
    assert ["policy", "verdict", "said", "at", "requests", "before"] == heading.split()
    assert [["config", "waiting"], ["floored", "regression"]] == [row.split()[:2] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        pytest.param(["--policy", "careful"], 2, "not of the form NAME=VALUE", id="no file"),
        pytest.param(["--policy", "a=missing.yaml"], 1, "/missing.yaml: cannot be read", id="a file that is not there"),
        pytest.param(["--policy", "config={config}"], 2, "Two policies", id="the name of the config's own"),
        pytest.param(["--policy", "a={events}"], 1, "is not valid YAML", id="a file that is no policy"),
        pytest.param(["--policy", "a={config}", "--ledger", "sqlite:///x.db"], 2, "leave out --ledger", id="a ledger"),
        pytest.param(["--since", "2026-01-01"], 2, "of --from-kafka", id="a range of a file"),
        pytest.param(["--from-kafka", "t"], 2, "not both", id="files and a topic"),
    ],
)
def test_what_cannot_be_back_tested_is_refused(
    *, events: Path, config: Path, arguments: list[str], code: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is read, in one sentence."""
    filled = [word.format(config=config, events=events) for word in arguments]

    assert code == run_command(["replay", str(events), *filled])

    assert advice in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        pytest.param(["--since", "yesterday"], "is not a time", id="words for a time"),
        pytest.param(["--ledger", "sqlite:///x.db"], "fresh ledger", id="a ledger that is kept"),
    ],
)
def test_a_range_of_kafka_is_checked_before_kafka_is_asked(
    arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no broker in this test."""
    assert 2 == run_command(["replay", "--from-kafka", "agent-traces", *arguments])

    assert advice in capsys.readouterr().err
