from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.cli import run_command
from tests.histories import roll_out_events

CLIFFWATCH = str(Path(sys.executable).with_name("cliffwatch"))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rollout as native events."""
    path = tmp_path_factory.mktemp("tail") / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in roll_out_events()))
    return path


@pytest.fixture(scope="module")
def ledger(events: Path) -> str:
    """A ledger that has learnt from them."""
    url = f"sqlite:///{events.parent}/ledger.db"
    assert 0 == run_command(["replay", str(events), "--ledger", url, "-o", "json"])
    return url


def tailed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert 0 == run_command(["tail", *arguments, "--output", "json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.slow
def test_requests_are_shown_with_the_tiers_of_the_ledger(
    events: Path, ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON object for each request, tagged by the calibration in force, and the ledger is left as it is."""
    path = Path(ledger.removeprefix("sqlite:///"))
    before = path.read_bytes()

    seen = tailed(capsys, str(events), "--ledger", ledger)

    assert 12 * 200 == len(seen)
    assert {"easy", "frontier"} <= {str(request["tier"]) for request in seen}
    assert 1 == len({request["calibration"] for request in seen})
    assert before == path.read_bytes()


@pytest.mark.slow
def test_filters_add_up(events: Path, ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Service, version, tier and failures: a request has to pass all of them."""
    every = tailed(capsys, str(events), "--ledger", ledger)
    wanted = [
        request
        for request in every
        if request["model_version"] == "live-2"
        and request["tier"] in {"hard", "frontier"}
        and request["outcome"]
        and not request["outcome"]["success"]  # type: ignore[index]
    ]

    filters = ["--service", "shop", "--version", "live-2", "--tier", "hard", "--tier", "frontier", "--failures"]
    seen = tailed(capsys, str(events), "--ledger", ledger, *filters)

    assert wanted
    assert wanted == seen
    assert [] == tailed(capsys, str(events), "--ledger", ledger, "--service", "nobody")


@pytest.mark.slow
def test_lines_are_aligned_and_plain_in_a_pipe(events: Path, ledger: str) -> None:
    """The outcome of every line begins under its heading, and no escape sequence is in a pipe or with NO_COLOR."""
    done = subprocess.run(
        [CLIFFWATCH, "tail", str(events), "--ledger", ledger, "--version", "live-1"],
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    head, *lines = done.stdout.splitlines()
    assert 200 == len(lines)
    assert "\x1b" not in done.stdout
    assert {True} == {line[head.index("outcome") :].startswith(("success", "failure")) for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("output", ["table", "json"])
def test_a_reader_that_has_seen_enough_is_no_error(events: Path, output: str) -> None:
    """`cliffwatch tail ... | head -1` ends quietly."""
    command = f"{CLIFFWATCH} tail {events} --output {output} | head -1"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=events.parent)

    assert 1 == len(done.stdout.splitlines())
    assert "Tiers are not shown. There is no ledger at" in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_a_ledger_that_was_named_has_to_be_there(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without tiers is a guess at what was meant only where nobody named a ledger; and none is made."""
    assert 3 == run_command(["tail", str(events), "--ledger", f"sqlite:///{tmp_path}/none.db"])

    assert "There is no ledger at" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
