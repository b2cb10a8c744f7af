from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.cli import run_command
from monitor.demo.events import demo_events
from monitor.ledger.ledger import CounterKey, CounterName
from monitor.ledger.sql import SqlLedger
from monitor.output.frontier import Use, class_frontiers, live_uses
from tests.event_histories import write_events


def test_the_best_is_named_with_those_that_chance_may_have_put_below_it() -> None:
    """By pass rate; a version below the least requests is in no comparison, and a class of such has no best."""
    counts = {
        ("refunds", "small"): Counter(success=29),
        ("refunds", "poor"): Counter(success=10, failure=90),
        ("refunds", "good"): Counter(success=80, failure=20),
        ("refunds", "fair"): Counter(success=75, failure=25),
        ("search", "small"): Counter(success=1, failure=1),
    }

    refunds, search = class_frontiers(counts, {"fair": Use(0.5, 2.0)}, min_requests=30)

    assert ("good", ["fair"]) == (refunds.best, refunds.alike)
    assert ["good", "fair", "poor"] == [each.model_version for each in refunds.versions]
    assert [Use(), Use(0.5, 2.0), Use()] == [each.use for each in refunds.versions]
    assert (None, ()) == (search.best, search.versions)


def test_cost_and_latency_are_those_of_hard_requests() -> None:
    """Half of forty requests end within a second and half within 2.5: 95 % of them end at 2.35 seconds."""

    def key(name: CounterName, detail: str = "", tier: str = "hard") -> CounterKey:
        return CounterKey(name, "shop", "production", "m", tier, "", detail)

    counters = {
        key(CounterName.REQUESTS): 30,
        key(CounterName.REQUESTS, tier="frontier"): 10,
        key(CounterName.REQUESTS, tier="easy"): 1_000,
        key(CounterName.COST_NANODOLLARS): 500_000_000,
        key(CounterName.COST_NANODOLLARS, "whole", "frontier"): 3,
        key(CounterName.COST_NANODOLLARS, "whole", "easy"): 77,
        key(CounterName.DURATION_BUCKET, "1.0"): 20,
        key(CounterName.DURATION_BUCKET, "2.5", "frontier"): 20,
        key(CounterName.DURATION_BUCKET, "0.1", "easy"): 900,
    }

    assert {"m": Use(3.5 / 40, pytest.approx(1.0 + 1.5 * 0.9))} == live_uses(counters, "shop", "production")
    assert {} == live_uses(counters, "shop", "probes")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve versions of the Berkeley leaderboard as history, and a rollout that was tagged by what they taught."""
    folder = tmp_path_factory.mktemp("frontier")
    events = [event for event in demo_events() if event["service"] in {"history", "booking-agent"}]
    history = write_events(folder / "h.jsonl", (each for each in events if each["environment"] == "reference"))
    live = write_events(folder / "l.jsonl", (each for each in events if each["environment"] == "production"))
    url = f"sqlite:///{folder}/ledger.db"
    assert 0 == run_command(["calibrate", history, "--ledger", url])
    assert 0 == run_command(["replay", live, "--ledger", url])
    return url


@pytest.mark.slow
@pytest.mark.parametrize("service", [pytest.param("", id="the panel"), pytest.param("booking-agent", id="live")])
def test_the_frontier_of_real_versions_is_what_numpy_finds(
    service: str, ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rates are counted anew from the events, and bounds are the roots of the score test's equation."""
    capsys.readouterr()

    def ask(*arguments: str) -> Any:
        assert 0 == run_command([*arguments, "--ledger", ledger, "--output", "json"])
        return json.loads(capsys.readouterr().out)

    shown = ask("frontier", *([service] if service else []))
    probes = ask("probes", "select", "--count", "2000")["probes"]

    hard = {(probe["capability"], probe["request_id"]) for probe in probes if probe["tier"] in {"hard", "frontier"}}
    events = [event for event in demo_events() if event["service"] == (service or "history")]
    told = [event for event in events if (event["capability"], event["request_id"]) in hard]
    versions, classes = (sorted({event[name] for event in told}) for name in ("model_version", "capability"))
    passed, asked = np.zeros((len(classes), len(versions))), np.zeros((len(classes), len(versions)))
    where = [(classes.index(event["capability"]), versions.index(event["model_version"])) for event in told]
    np.add.at(asked, tuple(np.array(where).T), 1)
    np.add.at(passed, tuple(np.array(where).T), [event["outcome"]["success"] for event in told])
    rates = np.where(asked >= 30, passed / np.maximum(asked, 1), -1.0)
    assert classes == [each["capability"] for each in shown]
    assert sum(each["best"] is not None for each in shown) >= 3
    for each, row, n in zip(shown, rates, asked, strict=True):
        found = {rate["model_version"]: rate for rate in each["versions"]}
        assert {version for version, rate in zip(versions, row, strict=True) if rate >= 0} == set(found)
        if not found:
            continue
        assert row.max() == pytest.approx(found[each["best"]]["pass_rate"]["estimate"])
        for version, rate in found.items():
            column = versions.index(version)
            bounds = (row[column], *bounds_of(row[column], n[column]))
            assert bounds == pytest.approx(tuple(rate["pass_rate"].values()), abs=1e-9)


def bounds_of(rate: float, requests: float) -> list[float]:
    """The roots of the score test's equation at 90 %."""
    weight = 1.6449**2 / requests
    return sorted(np.roots([1 + weight, -(2 * rate + weight), rate * rate]).real)


@pytest.mark.slow
def test_success_by_horizon_of_real_runs_is_what_numpy_finds(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Durations of the demo's live requests are real; none says how many steps it took, and that is not 0."""
    capsys.readouterr()

    def ask(unit: str) -> Any:
        assert 0 == run_command(["frontier", "booking-agent", "--by", unit, "--ledger", ledger, "--output", "json"])
        return json.loads(capsys.readouterr().out)

    events = [event for event in demo_events() if event["service"] == "booking-agent"]
    by_seconds, by_steps = ask("seconds"), ask("steps")

    edges = np.array([0.0, *2.0 ** np.arange(13)])
    assert sorted({event["model_version"] for event in events}) == [each["model_version"] for each in by_seconds]
    for shown, unknown in zip(by_seconds, by_steps, strict=True):
        mine = [event for event in events if event["model_version"] == shown["model_version"]]
        ended = [event for event in mine if "ended_at" in event]
        seconds = np.array([_at(event["ended_at"]) - _at(event["started_at"]) for event in ended])
        passed = np.array([event["outcome"]["success"] for event in ended])
        length = edges[np.maximum(np.searchsorted(edges, seconds) - 1, 0)]
        found = {each["longer_than"]: each for each in shown["lengths"]}
        assert (len(mine) - len(ended) or None) == found.pop(None, {}).get("requests")
        assert set(length) == set(found)
        for longer_than, each in found.items():
            inside = length == longer_than
            assert inside.sum() == each["labelled"]
            assert (inside.sum() >= 30) == (each["pass_rate"] is not None)
            if each["pass_rate"] is not None:
                rate = passed[inside].mean()
                assert (rate, *bounds_of(rate, inside.sum())) == pytest.approx(tuple(each["pass_rate"].values()))
        assert [(None, len(mine))] == [(each["longer_than"], each["requests"]) for each in unknown["lengths"]]
        assert (None, None) == (unknown["passes_80_up_to"], unknown["passes_50_up_to"])


def _at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def test_success_falls_as_runs_get_longer_and_the_budget_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forty runs of 4 steps and forty of 64, within a budget of 100; some without a label, a few of another length."""
    ends = (
        [(4, True)] * 40
        + [(64, True)] * 24
        + [(64, False)] * 16
        + [(64, None)] * 5
        + [(None, True)] * 30
        + [(1, False)]
    )
    events = [
        {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"{number:032x}",
            "service": "shop",
            "model_version": "m",
            "started_at": "2026-09-01T00:00:00Z",
            "budget": {"steps": 100},
            **({} if steps is None else {"steps": steps}),
            **({} if passed is None else {"outcome": {"success": passed, "source": "judge"}}),
        }
        for number, (steps, passed) in enumerate(ends)
    ]
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert 0 == run_command(["replay", write_events(tmp_path / "e.jsonl", events), "--ledger", url])
    capsys.readouterr()

    assert 0 == run_command(["frontier", "shop", "--by", "steps", "--ledger", url])

    assert [
        "m, by steps",
        "       up to 1: 1 labelled, too few",
        "       up to 4: 100.0 % of 40 pass (93.7 % to 100.0 %)",
        "      up to 64: 60.0 % of 40 pass (47.0 % to 71.7 %), 5 unlabelled",
        "     up to 128: 0 labelled, too few",
        "  ───────────── budget of 116 runs, within the length above",
        "       unknown: 100.0 % of 30 pass (91.7 % to 100.0 %)",
        "  At least 80 % are shown to pass up to 4 steps.",
        "  At least 50 % are shown to pass up to 4 steps.",
    ] == capsys.readouterr().out.splitlines()
    assert 2 == run_command(["frontier", "--by", "steps", "--ledger", url])
    assert "cliffwatch frontier SERVICE --by steps" in capsys.readouterr().err
    assert 2 == run_command(["frontier", "shops", "--by", "steps", "--ledger", url])


@pytest.mark.slow
def test_a_person_reads_the_best_of_each_class(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its bounds, and what may be as good; a service that is not there is said."""
    capsys.readouterr()

    assert 2 == run_command(["frontier", "bookings", "--ledger", ledger])
    assert (
        "No request of bookings came from production; known: booking-agent in production, " in capsys.readouterr().err
    )
    assert 2 == run_command(["frontier", "booking-agent", "--environment", "prod", "--ledger", ledger])
    assert "No request of booking-agent came from prod; known: " in capsys.readouterr().err
    assert 0 == run_command(["frontier", "--ledger", ledger])

    said = capsys.readouterr().out
    assert "hard requests pass (" in said
    assert "  best  gpt-4" in said
    assert "  alike gpt-4" in said


def test_a_ledger_without_a_calibration_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody knows which probes are hard."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    SqlLedger(url).close()

    assert 2 == run_command(["frontier", "--ledger", url])
    assert "run `cliffwatch calibrate`" in capsys.readouterr().err
    assert 0 == run_command(["frontier", "shop", "--ledger", url])
    assert "No version has enough" in capsys.readouterr().out
