"""Product and pure functions say the same of the same data, and neither arm of a rollout teaches what reads it."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.demo.events import HISTORY, ROLLOUTS, demo_events
from monitor.difficulty.calibrating import calibrate
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.correction import ShareShift, compare_shares, measure_arm
from monitor.difficulty.features import LabelledRequest, RequestFeatures
from monitor.difficulty.settings import DifficultySettings
from tests.event_histories import write_events
from tests.recount import asked, bins_at_the_same_hours

pytestmark = pytest.mark.slow

Event = dict[str, Any]

_KEPT = ("0", "3", "6", "9")
LEARNT = [rollout for rollout in ROLLOUTS if not rollout.is_canary]
"""Last digits of the requests that are used."""


@dataclass(frozen=True, slots=True)
class Run:
    """
    What the commands printed and left behind.

    Attributes:
        stored: The calibration's body in the database, before and after both arms were read.
    """

    history: Sequence[Event]
    live: Sequence[Event]
    calibrated: Mapping[str, Any]
    replayed: Mapping[str, Any]
    stored: tuple[Mapping[str, str], Mapping[str, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`calibrate` on twelve reference versions of the demo's facts, then `replay` of the rollouts with references."""
    folder = tmp_path_factory.mktemp("product")
    ledger = folder / "ledger.db"
    events = [
        event for event in demo_events() if event.get("request_id", "").endswith(_KEPT)
    ]  # a part says enough, sooner
    history = [event for event in events if event["environment"] == "reference"]
    live = [event for event in events if event["environment"] != "reference"]
    calibrated = _printed("calibrate", write_events(folder / "history.jsonl", history), ledger)
    before = _stored(ledger)
    replayed = _printed("replay", write_events(folder / "live.jsonl", live), ledger)
    return Run(history, live, calibrated, replayed, (before, _stored(ledger)))


def _printed(command: str, file: str, ledger: Path) -> Mapping[str, Any]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert 0 == run_command([command, file, "--ledger", f"sqlite:///{ledger}", "--output", "json"])
    result: Mapping[str, Any] = json.loads(printed.getvalue())
    return result


def _stored(ledger: Path) -> Mapping[str, str]:
    connection = sqlite3.connect(ledger)
    try:
        return dict(connection.execute("SELECT id, body FROM calibration").fetchall())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def learnt(run: Run) -> Calibration:
    """What the pure function learns from the same outcomes."""
    frozen_at = _body(run)["content"]["frozen_at"]
    calibration = calibrate(
        [_labelled(event) for event in run.history], frozen_at=frozen_at, settings=DifficultySettings()
    )
    assert calibration is not None
    return calibration


def _body(run: Run) -> Mapping[str, Any]:
    body: Mapping[str, Any] = json.loads(run.stored[0][run.calibrated["difficulty"]["calibration"]])
    return body


def _labelled(event: Event) -> LabelledRequest:
    return LabelledRequest(
        RequestFeatures(event["capability"], item=event["request_id"]),
        event["model_version"],
        failed=not event["outcome"]["success"],
        started_at=datetime.fromisoformat(event["started_at"]).timestamp(),
    )


def test_calibrate_learns_what_the_pure_function_learns(run: Run, learnt: Calibration) -> None:
    """Twelve versions give the same calibration to the last bit, and the same trust."""
    difficulty = run.calibrated["difficulty"]

    assert len(HISTORY) == difficulty["versions"]
    assert learnt.calibration_id == difficulty["calibration"]
    assert learnt.trust.auc == difficulty["auc"]
    assert learnt.trust.calibration_error == difficulty["calibration_error"]
    assert learnt.trust.is_trusted
    assert difficulty["trusted"]


def test_a_later_replay_reads_under_that_calibration(run: Run, learnt: Calibration) -> None:
    """`difficulty` of the replay's JSON is what calibrate froze."""
    assert {
        "calibration": learnt.calibration_id,
        "trusted": True,
        "auc": learnt.trust.auc,
        "calibration_error": learnt.trust.calibration_error,
    } == run.replayed["difficulty"]


@pytest.mark.parametrize("rollout", LEARNT, ids=lambda rollout: rollout.service)
def test_the_share_is_what_the_pure_functions_measure(run: Run, learnt: Calibration, rollout: Any) -> None:
    """Change, expected change and excess of the hard tier's share agree with `measure_arm` and `compare_shares`."""
    shift = _measured(run.live, learnt, rollout.service, rollout.baseline, rollout.candidate_name)

    (printed,) = [entry["share"] for entry in run.replayed["rollouts"] if entry["service"] == rollout.service]
    assert shift.change == pytest.approx(printed["change"], abs=1e-9)
    assert shift.expected_change == pytest.approx(printed["expected_change"], abs=1e-9)
    assert shift.excess == pytest.approx(printed["excess"], abs=1e-9)
    assert shift.baseline == pytest.approx(printed["baseline"], abs=1e-9)
    assert shift.candidate == pytest.approx(printed["candidate"], abs=1e-9)


def _measured(live: Sequence[Event], learnt: Calibration, service: str, *versions: str) -> ShareShift:
    arms = [
        asked(
            (event for event in live if (event["service"], event["model_version"]) == (service, version)),
            lambda event: learnt.tag(_labelled(event).features),
        )
        for version in versions
    ]
    assert all(arms)
    before, after = (measure_arm(bins, learnt.cuts) for bins in bins_at_the_same_hours(arms))
    assert before is not None
    assert after is not None
    shift = compare_shares(before, after)
    assert shift is not None
    return shift


def test_both_arms_leave_the_calibration_byte_for_byte_as_it_was(run: Run) -> None:
    """Neither the baseline's nor the candidate's outcomes change what is stored, nor add another calibration."""
    before, after = run.stored
    judged = {version for entry in run.replayed["rollouts"] for version in (entry["baseline"], entry["candidate"])}

    assert {rollout.candidate_name for rollout in LEARNT} <= judged
    assert [run.calibrated["difficulty"]["calibration"]] == list(before)
    assert before == after
