from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.ledger.sql import SqlLedger
from tests.builders import NOON
from tests.event_histories import DAY, history_events, version_events, write_events


@pytest.fixture
def url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A ledger with a calibration of four versions, and after it one of eight, in force."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    events = list(history_events(8))
    first = write_events(tmp_path / "first.jsonl", events[:600])
    second = write_events(tmp_path / "second.jsonl", events[600:])
    for file in (first, second):
        assert 0 == run_command(["calibrate", file, "--ledger", url])
    capsys.readouterr()
    return url


def ask(capsys: pytest.CaptureFixture[str], url: str, *arguments: str) -> Any:
    assert 0 == run_command(["calibrations", *arguments, "--ledger", url, "--output", "json"])
    return json.loads(capsys.readouterr().out)


def go_live(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Let a rollout be under way, read under the calibration in force."""
    live = [
        *version_events("live-1", environment="production", started_at=NOON),
        *version_events("live-2", environment="production", started_at=NOON + DAY),
    ]
    assert 0 == run_command(["replay", write_events(tmp_path / "live.jsonl", live), "--ledger", url])
    capsys.readouterr()


@pytest.mark.slow
def test_the_list_ends_with_the_one_in_force(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both calibrations are listed, in the order in which they came into force."""
    listed = ask(capsys, url, "list")

    assert [(4, False), (8, True)] == [(entry["versions"], entry["in_force"]) for entry in listed]


@pytest.mark.slow
def test_show_tells_the_one_in_force_unless_another_is_named(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an id it is the one in force; the beginning of an id is enough."""
    first, second = ask(capsys, url, "list")

    assert second == ask(capsys, url, "show")
    assert first == ask(capsys, url, "show", first["calibration"][:6])


@pytest.mark.slow
def test_compare_counts_the_requests_that_change_their_tier(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Moves add up to all requests of the ledger that name themselves; one compared with itself moves none."""
    first, second = ask(capsys, url, "list")

    different = ask(capsys, url, "compare", first["calibration"], second["calibration"])
    same = ask(capsys, url, "compare", second["calibration"])

    assert 1200 == different["requests"] == sum(move["requests"] for move in different["moves"])
    assert 0 < different["same_tier_share"] < 1
    assert 1.0 == same["same_tier_share"]


@pytest.mark.slow
def test_rollback_puts_the_one_before_in_force(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The calibration before comes back into force; rolling back again undoes it."""
    first, second = ask(capsys, url, "list")

    back = ask(capsys, url, "rollback")
    again = ask(capsys, url, "rollback")

    assert (first["calibration"], True) == (back["calibration"], back["in_force"])
    assert second["calibration"] == again["calibration"]


@pytest.mark.slow
def test_promote_names_the_one_to_be_in_force(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An earlier calibration can be put in force by its id."""
    first, _ = ask(capsys, url, "list")

    assert 0 == run_command(["calibrations", "promote", first["calibration"][:8], "--ledger", url])

    assert f"{first['calibration']} is in force" in capsys.readouterr().out
    assert first["calibration"] == ask(capsys, url, "show")["calibration"]


@pytest.mark.slow
def test_a_rollout_under_way_refuses_another_calibration(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 names the rollout; with --force both of its arms are read under the other one."""
    first, second = ask(capsys, url, "list")
    go_live(tmp_path, url, capsys)

    assert 1 == run_command(["calibrations", "rollback", "--ledger", url])
    assert "shop: live-1 → live-2" in capsys.readouterr().err
    assert second["calibration"] == ask(capsys, url, "show")["calibration"]

    assert first["calibration"] == ask(capsys, url, "rollback", "--force")["calibration"]
    ledger = SqlLedger(url)
    assert [first["calibration"]] == [record.rollout.calibration_id for record in ledger.rollouts()]
    ledger.close()


@pytest.mark.slow
def test_tables_show_what_json_says(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A person sees the list and one calibration in words."""
    first, second = ask(capsys, url, "list")

    for arguments, words in (
        (["list"], ("in force", "earlier", first["calibration"], second["calibration"])),
        (["show"], (second["calibration"], "tiers: trusted", "predicted |")),
        (["compare", first["calibration"]], ("earlier", "in force", "keep their tier")),
    ):
        assert 0 == run_command(["calibrations", *arguments, "--ledger", url])
        text = capsys.readouterr().out
        for word in words:
            assert word in text


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        pytest.param(["show"], "cliffwatch calibrate FILE", id="none is in force"),
        pytest.param(["show", "beef"], "No calibration begins with beef", id="an id that nothing begins with"),
        pytest.param(["rollback"], "No calibration was in force before", id="nothing to go back to"),
    ],
)
def test_a_ledger_without_calibrations_says_so(
    tmp_path: Path, arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be found is exit code 2 and a sentence that says where to look."""
    url = f"sqlite:///{tmp_path}/empty.db"
    SqlLedger(url).close()

    assert 2 == run_command(["calibrations", *arguments, "--ledger", url])

    assert advice in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["calibrations", "list"],
        ["calibrations", "show"],
        ["calibrations", "compare", "1f"],
        ["calibrations", "promote", "1f"],
        ["calibrations", "rollback"],
        ["calibrate"],
    ],
)
def test_a_ledger_that_is_not_there_is_not_made(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """From another folder, an empty one would stand there, and a gate over it would be open."""
    assert 3 == run_command([*arguments, "--ledger", f"sqlite:///{tmp_path}/elsewhere.db"])

    assert "There is no ledger at" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
