from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from monitor.cli import run_command
from monitor.ledger.sql import SqlLedger
from monitor.output.plain import Json
from monitor.trace.model import REFERENCE_ENVIRONMENT
from tests.builders import NOON
from tests.event_histories import DAY, ITEMS, history_events, version_events, write_events


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def history(tmp_path: Path) -> str:
    return write_events(tmp_path / "history.jsonl", history_events())


def calibrate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Json]:
    code = run_command(["calibrate", *arguments, "--output", "json"])
    result: Any = json.loads(capsys.readouterr().out)
    return code, result


def test_a_good_history_gives_a_trusted_calibration_in_force(
    history: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight past models make a calibration that is trusted, kept and in force; the exit code says so."""
    code, result = calibrate(capsys, history, "--ledger", url)

    assert 0 == code
    assert {"read": 1200, "counted": 1200, "duplicate": 0, "dead_lettered": 0, "unlabelled": 0} == result["records"]
    assert result["difficulty"]["trusted"]
    assert result["difficulty"]["in_force"]
    assert (8, 1200) == (result["difficulty"]["versions"], result["difficulty"]["history_labels"])
    ledger = SqlLedger(url)
    assert [result["difficulty"]["calibration"]] == [record.calibration_id for record in ledger.calibrations()]
    ledger.close()


def test_a_pipe_is_read_once(history: str, tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a look at a pipe takes out of it could not be read again, and opening it in vain ends who writes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(Path(history).read_bytes(),), daemon=True)
    writer.start()

    code, result = calibrate(capsys, str(pipe), "--ledger", url)

    writer.join(timeout=10)
    assert (0, 1200, 0) == (code, result["records"]["counted"], result["records"]["dead_lettered"])


def test_a_name_that_is_too_long_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The file is to blame, and not the output."""
    assert 3 == run_command(["calibrate", "x" * 5_000, "--dry-run"])

    assert capsys.readouterr().err.endswith("x cannot be read: File name too long; check the name.\n")


def test_too_few_versions_give_exit_code_1_and_say_what_is_missing(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two past models are not enough, and the result says how many more are needed."""
    file = write_events(tmp_path / "history.jsonl", history_events(2))

    code, result = calibrate(capsys, file, "--ledger", url)

    assert 1 == code
    assert not result["difficulty"]["trusted"]
    assert "1 more reference version needed." in result["difficulty"]["reasons"]


def test_every_trace_is_read_as_reference_history(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Traces of production teach too, and start no rollout."""
    live = [
        event
        for number in range(4)
        for event in version_events(f"v{number}", environment="production", started_at=NOON + number * DAY)
    ]

    _, result = calibrate(capsys, write_events(tmp_path / "live.jsonl", live), "--ledger", url)

    assert 4 == result["difficulty"]["versions"]
    ledger = SqlLedger(url)
    assert {REFERENCE_ENVIRONMENT} == {version.environment for version in ledger.activity()}
    assert [] == ledger.rollouts()
    ledger.close()


@pytest.mark.slow
def test_a_file_teaches_once(history: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading a file again reads nothing, and learns the same."""
    _, first = calibrate(capsys, history, "--ledger", url)

    _, second = calibrate(capsys, history, "--ledger", url)

    assert 0 == second["records"]["read"]
    assert first["history"] == second["history"]


@pytest.mark.slow
def test_the_ledger_alone_may_teach(history: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file, what the ledger holds is learnt anew."""
    _, first = calibrate(capsys, history, "--ledger", url)

    code, second = calibrate(capsys, "--ledger", url)

    assert 0 == code
    assert first["difficulty"]["auc"] == second["difficulty"]["auc"]


def test_a_version_about_to_be_tried_teaches_nothing(
    history: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is excluded is loaded and not learnt from."""
    _, result = calibrate(capsys, history, "--ledger", url, "--exclude", "past-3", "--exclude", "past-4")

    assert 1200 == result["records"]["counted"]
    assert 6 == result["difficulty"]["versions"]
    assert not {"past-3", "past-4"} & set(result["history"]["versions"])


def test_a_dry_run_writes_nothing(history: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run judges the files alone and leaves the ledger as it was."""
    code, result = calibrate(capsys, history, "--ledger", url, "--dry-run")

    assert 0 == code
    assert not result["difficulty"]["in_force"]
    ledger = SqlLedger(url)
    assert [] == ledger.calibrations()
    assert {} == ledger.counters()
    ledger.close()


@pytest.mark.slow
def test_a_rollout_under_way_keeps_its_calibration(
    tmp_path: Path, history: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A calibration made during a rollout with trusted tiers is kept and not put in force."""
    _, first = calibrate(capsys, history, "--ledger", url)
    live = [
        *version_events("live-1", environment="production", started_at=NOON),
        *version_events("live-2", environment="production", started_at=NOON + DAY),
    ]
    assert 0 == run_command(["replay", write_events(tmp_path / "live.jsonl", live), "--ledger", url])
    capsys.readouterr()

    code, second = calibrate(capsys, "--ledger", url)

    assert 0 == code
    assert not second["difficulty"]["in_force"]
    assert "shop: live-1 → live-2" in second["promotion"]
    ledger = SqlLedger(url)
    kept, in_force = ledger.calibrations()
    ledger.close()
    assert (second["difficulty"]["calibration"], None) == (kept.calibration_id, kept.promoted_at)
    assert first["difficulty"]["calibration"] == in_force.calibration_id


def test_rates_rise_from_tier_to_tier(history: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares of traffic add up to all of it, and harder tiers fail more often."""
    _, result = calibrate(capsys, history, "--dry-run")

    tiers = result["history"]["tiers"]
    assert sum(tier["traffic_share"] for tier in tiers.values()) == pytest.approx(1.0)
    assert 8 * ITEMS == sum(tier["requests"] for tier in tiers.values())
    easy, medium, hard = (tiers[name]["rate"] for name in ("easy", "medium", "hard"))
    assert easy is not None
    assert medium is not None
    assert hard is not None
    assert easy < medium < hard


def test_the_table_shows_trust_tiers_and_reliability(history: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A person sees whether to trust it, the share of traffic and the rates by version, and told against seen."""
    assert 0 == run_command(["calibrate", history, "--dry-run"])

    text = capsys.readouterr().out
    for words in ("tiers: trusted", "AUC", "share of traffic", "past-7", "predicted |", "●", "Dry run"):
        assert words in text


def test_without_trust_the_table_shows_rates_by_version_and_capability(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below the gate there are no tiers to show, but what failed can still be told."""
    assert 1 == run_command(["calibrate", write_events(tmp_path / "h.jsonl", history_events(2)), "--dry-run"])

    text = capsys.readouterr().out
    for words in ("tiers: not trusted", "1 more reference version needed", "by version", "by capability", "refund"):
        assert words in text
    assert "share of traffic" not in text


def test_a_picture_is_drawn(tmp_path: Path, history: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The SVG has a dot for each group of the reliability curve, and the rows of the terminal's table."""
    picture = tmp_path / "tiers.svg"

    _, result = calibrate(capsys, history, "--dry-run", "--svg", str(picture))

    root = ET.parse(picture).getroot()
    dots = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(result["difficulty"]["reliability"]) == len(dots) > 1
    shown = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"share of traffic", "failure rate", "frontier", *(f"past-{number}" for number in range(8))} <= set(shown)
    rate = result["history"]["versions"]["past-0"]["rate"]
    row = shown[shown.index("past-0") :]
    assert f"{100 * rate:.1f} %" == row[5]


def test_a_picture_without_trust_shows_who_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rates by tier say nothing there; without a curve the picture says that it is not known."""
    file = write_events(tmp_path / "history.jsonl", history_events(2))
    picture = tmp_path / "tiers.svg"

    code, result = calibrate(capsys, file, "--dry-run", "--svg", str(picture))

    shown = [element.text for element in ET.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text")]
    assert 1 == code
    assert {"failure rate by version", "failure rate by capability", "past-0", "past-1"} <= set(shown)
    assert bool(result["difficulty"]["reliability"]) == ("not known yet" not in shown)
    assert "share of traffic" not in shown


def test_a_picture_that_cannot_be_written_is_said_so(
    tmp_path: Path, history: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence with the name of the file, after the result of what was done all the same; exit code 2."""
    missing = tmp_path / "nowhere" / "tiers.svg"

    code = run_command(["calibrate", history, "--dry-run", "--svg", str(missing)])

    said = capsys.readouterr()
    assert 2 == code
    assert f"{missing} cannot be written" in said.err
    assert "Dry run: nothing was kept." in said.out


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        pytest.param(["missing.jsonl", "--dry-run"], 3, "check the name", id="a file that is not there"),
        pytest.param(["--dry-run"], 1, "traces have outcomes", id="nothing to learn from"),
    ],
)
def test_an_error_says_what_to_do(
    arguments: list[str], code: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong, standard error says what to do next."""
    assert code == run_command(["calibrate", *arguments])

    assert advice in " ".join(capsys.readouterr().err.split())
