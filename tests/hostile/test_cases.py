"""Inputs that once stopped or blinded the monitor, and what is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from monitor.cli.app import run_command
from monitor.demo.events import demo_events
from monitor.ledger.sql import SqlLedger
from tests.hostile.odd_events import odd_events
from tests.hostile.reading import lines_of

CASES = Path(__file__).parent / "cases"
EVEN = tuple("02468")
ROLLOUT = {"service": "booking-agent", "candidate": "gpt-4-0125-preview", "verdict": "cliff"}


@pytest.fixture(scope="module")
def demo() -> Sequence[dict[str, Any]]:
    """Every other request of one rollout, with some of the history that its tiers are learnt from: a cliff already."""
    chosen = ("booking-agent", "history")
    events = [event for event in demo_events() if event["service"] in chosen and event["request_id"].endswith(EVEN)]
    versions = [*dict.fromkeys(event["model_version"] for event in events if event["service"] == "history")][:4]
    return [event for event in events if event["service"] != "history" or event["model_version"] in versions]


def restamped(lines: Sequence[bytes], demo: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """*lines* as if they came right before the first request of the candidate, within the demo."""
    place = next(at for at, event in enumerate(demo) if event["model_version"] == ROLLOUT["candidate"])
    between = [{**json.loads(line), "started_at": demo[place]["started_at"]} for line in lines]
    return [*demo[:place], *between, *demo[place:]]


def replayed(events: Sequence[dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    file = folder / "events.jsonl"
    file.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    capsys.readouterr()
    assert 0 == run_command(["replay", str(file), "--ledger", f"sqlite:///{folder}/ledger.db", "--output", "json"])
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


def found(shown: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {name: rollout[name] for name in ROLLOUT}
        for rollout in shown["rollouts"]
        if rollout["service"] == "booking-agent"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("cases", [("starve.jsonl.gz",), ("future.jsonl", "overflow.jsonl.gz", "attr_two.jsonl")])
def test_the_verdict_on_others_is_what_it_is_without(
    demo: Sequence[dict[str, Any]], cases: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, clocks and numbers of one tenant change no verdict of another, and no gate."""
    lines = [line for case in cases for line in lines_of(CASES / case)]
    hostile = [json.loads(line) for line in lines]
    events = restamped(lines, demo) if "starve.jsonl.gz" in cases else list(chain(demo[:100], hostile, demo[100:]))

    shown = replayed(events, tmp_path, capsys)

    assert [ROLLOUT] == found(shown)
    assert len(events) == shown["records"]["read"]
    ledger = SqlLedger(f"sqlite:///{tmp_path}/ledger.db")
    assert [] == [check for check in ledger.checks() if check.problems]
    ledger.close()
    assert 1 == run_command(
        ["verdict", "booking-agent", "--gate", "strict", "--ledger", f"sqlite:///{tmp_path}/ledger.db"]
    )


@pytest.mark.slow
def test_a_thousand_odd_events_change_nothing_for_others(
    demo: Sequence[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every odd number, time, name and shape in every field: the verdict stays, and so does a start after it."""
    odd = odd_events(demo[0]["started_at"])
    lines = [json.dumps(event).encode() for event in demo]
    file, url = tmp_path / "events.jsonl", f"sqlite:///{tmp_path}/ledger.db"
    file.write_bytes(b"\n".join([*lines[:100], *odd, *lines[100:]]))

    for read, records in (
        (file, len(lines) + len(odd)),
        (CASES / "good.jsonl", len(lines) + len(odd) + 1),
    ):  # then a start after it
        capsys.readouterr()
        assert 0 == run_command(["replay", str(read), "--ledger", url, "--output", "json"])
        shown = json.loads(capsys.readouterr().out)
        assert records == shown["records"]["read"]  # by this ledger, in all
        assert [ROLLOUT] == found(shown)

    assert 0 == run_command(["ledger", "check", "--ledger", url])
    assert 0 == run_command(["rollouts", "list", "--ledger", url])
    printed = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in printed.splitlines())
    assert not any(line.lstrip().startswith(("::", "##[")) for line in printed.splitlines())
    assert "nan" not in printed.lower().split()


def test_a_gate_on_a_rollout_that_is_not_there_is_closed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether it was mistyped, pruned or never admitted: nothing was shown."""
    file, url = tmp_path / "one.jsonl", f"sqlite:///{tmp_path}/ledger.db"
    file.write_bytes((CASES / "good.jsonl").read_bytes())
    assert 0 == run_command(["replay", str(file), "--ledger", url])

    assert 1 == run_command(["verdict", "good", "--gate", "--ledger", url])
    assert 1 == run_command(["verdict", "--candidate", "m-2", "--gate", "--ledger", url])
    assert 0 == run_command(["verdict", "--gate", "--ledger", url])
    assert "there is no rollout of good" in capsys.readouterr().err


def test_a_bomb_of_aliases_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, at once."""
    assert 1 == run_command(["check-config", str(CASES / "yamlbomb.yaml")])
    assert "counting each YAML alias as what it stands for" in " ".join(capsys.readouterr().err.split())


def test_an_expression_without_end_is_read_in_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    """RE2 takes it, and tests/trace/test_expressions.py tries it."""
    assert 0 == run_command(["check-config", str(CASES / "redos.yaml")])
    assert "no problem found" in capsys.readouterr().out


def test_an_archive_with_broken_parts_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback, and the exit code of what cannot be carried out."""
    assert 2 == run_command(["report", str(CASES / "zlib.eval"), str(CASES / "zlib.eval")])
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["table", "markdown"])
def test_a_report_prints_no_more_than_text(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and answers cannot steer the terminal, nor the runner of a pipeline."""
    run_command(["report", str(CASES / "hb.jsonl"), str(CASES / "hc.jsonl"), "--output", output])
    printed = capsys.readouterr()

    for line in (printed.out + printed.err).splitlines():
        assert line.replace("\t", " ").isprintable()
        assert not line.lstrip().startswith("::")
