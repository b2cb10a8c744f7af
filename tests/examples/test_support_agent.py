from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.support_agent.__main__ import main
from monitor.cli import run_command

ENDS_AT = "1795000000"


def replayed(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert 0 == run_command(["replay", str(path), "--output", "json"])
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        pytest.param("cliff", "cliff", id="a gain that leaves the hard tasks behind is a cliff"),
        pytest.param("uniform", "ok", id="the same gain for every task is none"),
    ],
)
def test_the_planted_rollout_is_found_in_its_file(
    candidate: str, verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spans and evaluations that the SDK wrote are read back whole, tiers are trusted, and the verdict is the truth."""
    path = tmp_path / "traces.jsonl"

    assert 0 == main(["--file", str(path), "--candidate", candidate, "--ends-at", ENDS_AT])
    result = replayed(path, capsys)

    (rollout,) = result["rollouts"]
    records = {"counted": 7_000, "duplicate": 0, "dead_lettered": 0, "unlabelled": 0}
    assert records == {name: result["records"][name] for name in records}
    assert result["difficulty"]["trusted"]
    assert verdict == rollout["verdict"]
    assert ("support-model-2026-06-01", "support-model-2026-10-01") == (rollout["baseline"], rollout["candidate"])
    assert rollout["aggregate"]["candidate"]["rate"] < rollout["aggregate"]["baseline"]["rate"]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        pytest.param(["--file", "/nonexistent/x.jsonl"], "/nonexistent/x.jsonl cannot be written", id="a bad place"),
        pytest.param(["--kafka", "127.0.0.1:1"], "Kafka at 127.0.0.1:1 does not take the traces", id="no broker"),
    ],
)
def test_what_cannot_be_written_is_said_in_one_sentence(
    arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example ends as `cliffwatch` does: one sentence and exit code 3."""
    monkeypatch.setattr("examples.support_agent.__main__._BOOTSTRAP_SECONDS", 0.2)

    assert 3 == main(arguments)

    (sentence,) = capsys.readouterr().err.splitlines()
    assert advice in sentence


def test_where_to_write_has_to_be_said() -> None:
    """Neither a broker nor a file is a usage error, as it is for `cliffwatch`."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.support_agent"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == done.returncode
    assert "--file --kafka" in done.stderr
