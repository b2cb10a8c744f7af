from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.demo.events import FACTS, HISTORY
from tests.evals.real_tools import FILES
from tests.evals.suites import write_csv

BASELINE, CANDIDATE = "gpt-3.5-turbo-0125", "gpt-4-0125-preview"


def facts() -> Mapping[str, Mapping[str, bool]]:
    """Real outcomes by model version and request: the demo's."""
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    with gzip.open(FACTS, "rt", newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            found[row["model_version"]][row["request_id"]] = row["success"] == "1"
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A CSV per version, as people keep them, written in the order of release."""
    folder = tmp_path_factory.mktemp("runs")
    written = {
        version: str(
            write_csv(
                folder / f"{version}.csv",
                [
                    {"id": name, "passed": int(passed), "category": name.rsplit("-", 1)[0], "model": version}
                    for name, passed in outcomes.items()
                ],
            )
        )
        for version, outcomes in facts().items()
    }
    for day, version in enumerate(HISTORY):
        os.utime(written[version], (1_700_000_000 + 86_400 * day,) * 2)
    return written


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert code == run_command([*arguments, "--output", "json"])
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def by_references(files: Mapping[str, str]) -> dict[str, Any]:
    """The report on both versions with the results of twelve others for its tiers."""
    reference = [argument for version in HISTORY for argument in ("--reference", files[version])]
    said = io.StringIO()
    with redirect_stdout(said):
        assert 0 == run_command(["report", files[BASELINE], files[CANDIDATE], *reference, "--output", "json"])
    document: dict[str, Any] = json.loads(said.getvalue())
    return document


@pytest.mark.slow
def test_reference_results_of_other_models_tell_the_tiers(by_references: Mapping[str, Any]) -> None:
    """
    Twelve earlier versions tell how hard 1,350 real requests are, and the gain of the next one leaves them behind.

    The counts are the demo's facts, counted here; the verdict is the one that the demo's replay reaches on them.
    """
    result = by_references
    before, after = facts()[BASELINE], facts()[CANDIDATE]

    assert "reference" == result["tiers_from"]["source"]
    assert "Tiers by the results of 12 other models." == result["tiers_from"]["explanation"]
    assert (sum(before.values()), sum(after.values())) == (
        result["aggregate"]["passed"]["baseline"],
        result["aggregate"]["passed"]["candidate"],
    )
    assert sum(before[name] and not after[name] for name in before) == result["aggregate"]["newly_failing"]
    tiers = [result["tiers"][tier] for tier in ("easy", "medium", "hard", "frontier")]
    rates = [tier["pass_rate"]["baseline"]["estimate"] for tier in tiers]
    assert sorted(rates, reverse=True) == rates
    assert "cliff" == result["verdict"]
    assert result["share"]["excess"]["lower"] > 0


@pytest.mark.slow
def test_reference_results_calibrate_a_ledger_that_tells_the_tiers(
    files: Mapping[str, str],
    by_references: Mapping[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same results load as reference history; a report by that ledger has the tiers of one by the files."""
    ledger = f"sqlite:///{tmp_path / 'cliffwatch.db'}"
    history = [files[version] for version in HISTORY]
    calibrated = printed(capsys, "calibrate", *history, "--ledger", ledger)
    again = printed(capsys, "calibrate", *history, "--ledger", ledger)
    by_ledger = printed(capsys, "report", files[BASELINE], files[CANDIDATE], "--ledger", ledger)

    assert calibrated["difficulty"]["trusted"]
    assert 12 * 1_350 == calibrated["records"]["counted"]
    assert 0 == again["records"]["counted"]
    assert "calibration" == by_ledger["tiers_from"]["source"]
    counts = {tier: stratum["cases"] for tier, stratum in by_references["tiers"].items()}
    found = {tier: stratum["cases"] for tier, stratum in by_ledger["tiers"].items()}
    assert counts == found
    assert "cliff" == by_ledger["verdict"]


def test_the_compared_models_teach_nothing(files: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Named among the references, they are left out; nothing else being there, one sentence says so."""
    references = ("--reference", files[BASELINE], "--reference", files[CANDIDATE])

    assert 2 == run_command(["report", files[BASELINE], files[CANDIDATE], *references])
    assert "give those of other models" in capsys.readouterr().err


def test_too_few_references_are_not_trusted(files: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Two models cannot tell a quirk from difficulty: no tiers, and the reason."""
    references = [argument for version in HISTORY[:2] for argument in ("--reference", files[version])]
    result = printed(capsys, "report", files[BASELINE], files[CANDIDATE], *references)

    assert "none" == result["tiers_from"]["source"]
    assert "not trusted" in result["reasons"][0]
    assert ("ok", "none") == (result["verdict"], result["tiers_by"])
    assert "Nothing is known about the hard tier." in result["headline"]


def test_a_probe_panel_is_chosen_from_results(capsys: pytest.CaptureFixture[str]) -> None:
    """Cases of a real log become probes, with the question that they ask."""
    log = next((FILES / "inspect").glob("*.eval"))
    panel = printed(capsys, "probes", "select", str(log), "--count", "8")
    names = {probe["request_id"]: probe for probe in panel["probes"]}

    assert 8 == panel["candidates"]
    assert "What is 17 times 19?" == names["arithmetic/product-3"]["request"]["text"]
    assert Counter({"sums": 3, "products": 3, "roots": 2}) == Counter(panel["capabilities"])


def test_results_of_every_tool_load_as_history(capsys: pytest.CaptureFixture[str]) -> None:
    """Attempts become traces: 24 of Inspect AI and 16 of promptfoo, one each without a label, and 32 of lm-eval."""
    inspect = [str(path) for path in sorted((FILES / "inspect").iterdir())]
    lm_eval = [str(path) for path in sorted((FILES / "lm_eval").rglob("samples_*"))]
    promptfoo = [str(FILES / "promptfoo" / "results.jsonl")]

    for paths, counted, unlabelled in ((inspect, 24, 1), (lm_eval, 32, 0), (promptfoo, 16, 1)):
        result = printed(capsys, "calibrate", *paths, "--dry-run", code=1)  # too few to be trusted
        assert (counted, unlabelled) == (result["records"]["counted"], result["records"]["unlabelled"])


def test_history_and_panel_read_folders_with_the_options_of_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of tables with a judge's scores: the column that names the case, and the score that passes."""
    for model in ("one", "two"):
        rows = [{"nr": n, "model": model, "judge": 1 + n % 5, "question": f"What is {n}?"} for n in range(10)]
        write_csv(tmp_path / f"{model}.csv", rows)
    (tmp_path / "notes.json").write_text("{}", encoding="utf-8")
    options = ("--column", "case=nr", "--metric", "judge", "--pass-at", "4")
    loaded = printed(capsys, "calibrate", str(tmp_path), "--dry-run", *options, code=1)
    panel = printed(capsys, "probes", "select", str(tmp_path), "--count", "4", *options)

    assert (20, 0) == (loaded["records"]["counted"], loaded["records"]["unlabelled"])
    assert 10 == panel["candidates"]
    assert 2 == run_command(["calibrate", str(tmp_path), "--dry-run", *options[:4]])
    assert "such as --pass-at 4" in capsys.readouterr().err


def test_events_are_read_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is an event already is handed on untouched."""
    events = tmp_path / "events.jsonl"
    event = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": "t",
        "service": "shop",
        "model_version": "m",
        "started_at": "2026-01-01T00:00:00Z",
        "outcome": {"success": True},
    }
    events.write_text(json.dumps(event) + "\n" + json.dumps(event | {"trace_id": "u"}) + "\n")
    result = printed(capsys, "calibrate", str(events), "--dry-run", code=1)

    assert (2, 0) == (result["records"]["counted"], result["records"]["dead_lettered"])
