from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.cli.app import run_command
from monitor.output.rollouts import replay_json
from monitor.service.replay import Replay
from tests.builders import NOON, PARTITION
from tests.service.houses import (
    House,
    an_event,
)


def test_records_are_counted_and_shown(house: House) -> None:
    """What was read is in the ledger, on the next scrape, and the offset has moved past it."""
    for number in range(7):
        house.broker.append(an_event(f"t{number}", outcome={"success": number > 0}))

    while not house.is_quiet():
        house.service.run_once()
    Replay(house.service).finish(seconds=2)

    assert {PARTITION: 7} == house.ledger.offsets([PARTITION])
    records = replay_json(house.snapshots.current)["records"]
    assert {"read": 7, "counted": 7, "duplicate": 0, "dead_lettered": 0, "unlabelled": 0} == records
    assert house.snapshots.current.is_ready


def test_a_replay_of_a_year_counts_versions_that_retired_in_its_course(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names are let go where others need their place, and not from what is printed at the end."""
    file = tmp_path / "year.jsonl"
    days = [(day, f"m-{day // 100}") for day in range(0, 360, 3)]
    file.write_text(
        "".join(
            json.dumps(
                {
                    "schema": "cliffwatch.trace/v1",
                    "trace_id": f"t{day}",
                    "service": "shop",
                    "model_version": version,
                    "started_at": datetime.fromtimestamp(NOON - (400 - day) * 86_400.0, UTC).isoformat(),
                    "outcome": {"success": True},
                }
            )
            + "\n"
            for day, version in days
        )
    )

    assert 0 == run_command(["replay", str(file), "--output", "json"])

    records = json.loads(capsys.readouterr().out)["records"]
    assert (len(days), len(days), 0) == (records["read"], records["counted"], records["unlabelled"])


@pytest.mark.slow
def test_a_replay_that_brings_nothing_new_changes_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ledger has all of the file already: the time is that of what it holds, not the beginning of all time."""
    file, ledger = tmp_path / "events.jsonl", f"sqlite:///{tmp_path / 'ledger.db'}"
    file.write_text(
        "".join(
            json.dumps(
                {
                    "schema": "cliffwatch.trace/v1",
                    "trace_id": f"t{number}",
                    "service": "shop",
                    "model_version": "m-1" if number < 2_000 else "m-2",
                    "started_at": datetime.fromtimestamp(NOON + number * 60.0, UTC).isoformat(),
                    "outcome": {"success": number % 50 != 0 if number < 2_000 else number % 2 == 0, "source": "judge"},
                }
            )
            + "\n"
            for number in range(3_000)
        )
    )

    said = []
    for _ in range(2):
        assert 0 == run_command(["replay", str(file), "--ledger", ledger])
        capsys.readouterr()
        assert 0 == run_command(["rollouts", "list", "--ledger", ledger, "--output", "json"])
        said.append(json.loads(capsys.readouterr().out))

    assert "regression" in json.dumps(said[0])
    assert said[0] == said[1]
