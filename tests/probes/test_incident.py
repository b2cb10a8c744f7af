"""From an incident to a family of the panel to the report of the next version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.cli.probes import read_panel
from monitor.config.model import Config
from monitor.ledger.sql import SqlLedger
from monitor.probes.panel import incident_family
from tests.histories import a_review, roll_out
from tests.probes.agents import python_agent


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert 0 == run_command(list(arguments))
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_an_incident_becomes_a_family_that_the_next_version_is_held_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What live-2 failed and live-1 passed is asked of live-2 and of live-3, and the report says that live-3 won it."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = SqlLedger(url)
    roll_out(ledger, a_review(ledger), fails_from=100)
    ledger.close()

    # 1. The incident: cases of the rollout. Their texts are in your own logs, by request or trace id.
    cases = printed(capsys, "cases", "--ledger", url, "--output", "json")
    names = [case["name"] for group in cases["signatures"] for case in group["cases"]][:3]
    logged = [
        {"request_id": names[0], "text": "Refund order 4711 to Ada Lovelace by 2026-11-05.", "expected": "refunded"},
        {"request_id": names[1], "text": "Cancel 2 seats for Bob."},
        {"request_id": "another", "text": "Hello."},
    ]
    Path("logged.jsonl").write_text("".join(json.dumps(line) + "\n" for line in logged), encoding="utf-8")

    # 2. A family of the panel, named after the incident.
    export = ["cases", "export", "--ledger", url, "--texts", "logged.jsonl", "--incident", "INC-7"]
    assert 0 == run_command([*export, "--write", "family.jsonl"])
    family = [json.loads(line) for line in Path("family.jsonl").read_text(encoding="utf-8").splitlines()]
    by_name = {probe["request_id"]: probe for probe in family}
    assert {f"INC-7/{names[0]}", f"INC-7/{names[1]}"} == set(by_name)
    refund = by_name[f"INC-7/{names[0]}"]
    assert "Refund order {number1} to {name1} by {date1}." == refund["template"]
    assert {"number1": "4711", "name1": "Ada Lovelace", "date1": "2026-11-05"} == refund["slots"]
    assert ("refunded", logged[0]["text"]) == (refund["expected"], refund["request"]["text"])
    assert b"Lovelace" not in Path("ledger.db").read_bytes()

    # 3. Each version is asked the family.
    agent = python_agent(tmp_path, "print(json.dumps({'success': q['model'] == 'live-3'}))")
    for model in ("live-2", "live-3"):
        assert 0 == run_command(["probes", "run", "family.jsonl", "--model", model, "--exec", agent])

    # 4. The next version's report: it won what the incident was about.
    report = printed(capsys, "report", "probes-live-2.jsonl", "probes-live-3.jsonl", "--output", "json")
    assert ({"baseline": 0, "candidate": 2}, 2) == (report["aggregate"]["passed"], report["aggregate"]["newly_passing"])

    # 5. And the panel remembers which versions solve the family.
    assert 0 == run_command(["replay", "probes-live-2.jsonl", "probes-live-3.jsonl", "--ledger", url])
    capsys.readouterr()
    assert 0 == run_command(["probes", "list", "--ledger", url])
    assert "family INC-7: 2 probes, solved by live-3\n" in capsys.readouterr().out


def test_a_text_is_joined_by_its_trace(tmp_path: Path) -> None:
    """However the id is written."""
    trace_id = "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736"
    case = {"trace_id": trace_id.replace("-", "").lower(), "capability": "refunds"}
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps({"trace_id": trace_id, "text": "Where is it?"}) + "\n", encoding="utf-8")

    (probe,) = incident_family("INC-8", [case], read_panel(str(path), Config()))

    assert (f"INC-8/{case['trace_id']}", "Where is it?") == (probe["request_id"], probe["template"])


def test_texts_that_are_alike_are_joined_by_the_trace_of_each(tmp_path: Path) -> None:
    """Two users asked the same; both of their failed runs become probes."""
    path = tmp_path / "texts.jsonl"
    lines = [{"trace_id": trace_id, "text": "Where is it?"} for trace_id in ("run-1", "run-2")]
    lines.append({"trace_id": None, "request_id": "r3", "text": "Where is it?"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    cases = [{"trace_id": trace_id, "capability": "refunds"} for trace_id in ("run-2", "run-1", "run-9")]
    cases.append({"trace_id": "run-3", "request_id": "r3", "capability": "refunds"})

    family = incident_family("INC-9", cases, read_panel(str(path), Config()))

    assert ["INC-9/run-2", "INC-9/run-1", "INC-9/r3"] == [probe["request_id"] for probe in family]
