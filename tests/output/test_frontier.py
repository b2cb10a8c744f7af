from __future__ import annotations

import json
from collections import Counter
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
            p, weight = row[column], 1.6449**2 / n[column]
            lower, upper = sorted(np.roots([1 + weight, -(2 * p + weight), p * p]).real)
            bounds = rate["pass_rate"]
            assert (p, lower, upper) == pytest.approx((bounds["estimate"], bounds["lower"], bounds["upper"]), abs=1e-9)


@pytest.mark.slow
def test_a_person_reads_the_best_of_each_class(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its bounds, and what may be as good; a service that is not there is said."""
    capsys.readouterr()

    assert 2 == run_command(["frontier", "bookings", "--ledger", ledger])
    assert "No request of bookings came from production; known: booking-agent." in capsys.readouterr().err
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
