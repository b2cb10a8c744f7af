from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.trace.decode import decode
from monitor.trace.settings import Limits
from tests.builders import NOON
from tests.event_histories import history_events, version_events, write_events


@pytest.fixture
def url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A ledger with a trusted calibration of eight versions."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert 0 == run_command(["calibrate", write_events(tmp_path / "h.jsonl", history_events()), "--ledger", url])
    capsys.readouterr()
    return url


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert 0 == run_command(["probes", *arguments, "--output", "json"])
    return json.loads(capsys.readouterr().out)


def test_a_panel_is_chosen_from_a_file_of_requests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bare requests are enough; the panel says what to ask, in the form of the event contract."""
    file = write_events(
        tmp_path / "requests.jsonl",
        [
            {"request_id": f"i{n}", "capability": "search", "text": f"Where is the office in city {'abcdef'[n]}?"}
            for n in range(6)
        ],
    )

    panel = ask(capsys, "select", file, "--count", "4")

    assert (6, 4, None) == (panel["candidates"], len(panel["probes"]), panel["calibration"])
    assert "probes" == panel["probes"][0]["environment"]
    assert panel["probes"][0]["request"]["text"].startswith("Where is the office")
    assert {"tiers": 3, "hard_tier_rate": 6} == panel["versions_needed"]
    assert 4 / 6 == pytest.approx(panel["known_share"])


def test_a_written_panel_can_be_run_as_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of the panel, completed by who answered and when, is an event of the probe environment."""
    tool = {"name": "find", "description": "Finds.", "parameters": {"type": "object"}}
    line = {"request_id": "i1", "capability": "search", "text": "Find it now.", "tools": [tool]}
    written = tmp_path / "panel.jsonl"

    ask(capsys, "select", write_events(tmp_path / "r.jsonl", [line]), "--write", str(written))

    probe = json.loads(written.read_text())
    answered = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": "t1",
        "service": "shop",
        "model_version": "m",
        "started_at": "2026-09-01T00:00:00Z",
    }
    (trace,) = decode(json.dumps(probe | answered).encode(), Limits()).traces
    assert ("probes", "i1", "Find it now.") == (trace.environment, trace.request.request_id, trace.request.text)
    assert ["find"] == [tool.name for tool in trace.request.tools]


def test_a_panel_can_be_chosen_again_from_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A written panel is a file of requests too."""
    written = tmp_path / "panel.jsonl"
    file = write_events(tmp_path / "e.jsonl", version_events("m", items=20))
    first = ask(capsys, "select", file, "--count", "9", "--write", str(written))

    again = ask(capsys, "select", str(written), "--count", "9")

    assert {probe["request_id"] for probe in first["probes"]} == {probe["request_id"] for probe in again["probes"]}


def test_requests_without_a_name_are_named_by_what_they_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same text gets the same name; a line that asks nothing, and one that is no JSON, are skipped and counted."""
    file = tmp_path / "requests.jsonl"
    lines = [{"text": "Where are you?"}, {"text": "Where are you?"}, {"text": "Who are you?"}, {"capability": "search"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")

    panel = ask(capsys, "select", str(file))

    assert 2 == panel["candidates"] == len({probe["request_id"] for probe in panel["probes"]})
    assert {"unnamed": 1, "not_json": 1} == panel["skipped"]


def test_the_ledger_tells_how_hard_requests_are(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file the requests are those of the ledger, by their names, with tiers and failure probabilities."""
    panel = ask(capsys, "select", "--ledger", url, "--count", "50")

    assert 150 == panel["candidates"]
    assert panel["calibration"] is not None
    assert ({"tiers": 0, "hard_tier_rate": 0}, 1.0) == (panel["versions_needed"], panel["known_share"])
    assert {"medium", "hard"} <= set(panel["tiers"])
    probabilities = {probe["request_id"]: probe["failure_probability"] for probe in panel["probes"]}
    assert max(probabilities.values()) > 0.5 > min(probabilities.values())
    assert "request" not in panel["probes"][0]


def test_a_panel_is_chosen_by_the_rate_at_which_the_hard_tier_begins(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the cut stands for another failure rate, other requests tell most."""
    config = tmp_path / "monitor.yaml"
    config.write_text("difficulty: {hard_failure_rate: 0.4}\n")
    select = ("select", "--ledger", url, "--count", "50")

    plain, other = ask(capsys, *select), ask(capsys, *select, "--config.file", str(config))

    assert [probe["request_id"] for probe in plain["probes"]] != [probe["request_id"] for probe in other["probes"]]


def test_probes_are_listed_with_their_history(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What every version made of each probe, earliest version first; production is not among it."""
    live = [
        *version_events("new", environment="probes", started_at=NOON, items=3),
        *version_events("new", environment="production", started_at=NOON, items=3),
    ]
    assert 0 == run_command(["replay", write_events(tmp_path / "live.jsonl", live), "--ledger", url])
    capsys.readouterr()

    listed = {probe["request_id"]: probe for probe in ask(capsys, "list", "--ledger", url)}

    assert 150 == len(listed)
    assert [f"past-{number}" for number in range(8)] + ["new"] == [
        result["model_version"] for result in listed["item-0"]["results"]
    ]
    assert {1} == {result["runs"] for result in listed["item-0"]["results"]}
    assert 8 == len(listed["item-3"]["results"])


def test_tables_show_panel_and_history(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A person sees how the panel is spread, and marks by version."""
    assert 0 == run_command(["probes", "select", "--ledger", url, "--count", "30"])
    assert 0 == run_command(["probes", "list", "--ledger", url])

    text = capsys.readouterr().out
    for words in (
        "30 probes of 150 requests",
        "probes by capability",
        "Replay it on new versions alone",
        "is known",
        "past-7",
        "failed by",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        pytest.param(["select", "missing.jsonl"], 3, "check the name", id="a file that is not there"),
        pytest.param(["select", "--count", "0"], 2, "Invalid value", id="a panel of nothing"),
    ],
)
def test_an_error_says_what_to_do(
    arguments: list[str], code: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong, standard error says what to do next."""
    assert code == run_command(["probes", *arguments])

    assert advice in " ".join(capsys.readouterr().err.split())


def test_an_empty_ledger_has_nothing_to_choose_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and what to give instead; the list says how probes come about."""
    url = f"sqlite:///{tmp_path}/empty.db"

    assert 2 == run_command(["probes", "select", "--ledger", url])
    assert 0 == run_command(["probes", "list", "--ledger", url])

    shown = capsys.readouterr()
    assert "No request to choose from" in shown.err
    assert "cliffwatch probes run" in shown.out


def test_a_list_makes_no_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever mistypes its name hears so, and finds no new file."""
    monkeypatch.chdir(tmp_path)

    assert 3 == run_command(["probes", "list"])

    assert "There is no ledger at" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
