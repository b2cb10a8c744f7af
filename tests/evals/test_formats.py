from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from tests.evals import real_tools
from tests.evals.real_tools import FILES
from tests.evals.suites import reported

SUITE = json.loads((Path(__file__).parent / "tools" / "suite.json").read_text(encoding="utf-8"))
TIER = {each["id"]: each["difficulty"] for each in SUITE["questions"]}
WRONG = {version: set(told["wrong"]) for version, told in SUITE["versions"].items()}
UNANSWERED = {version: set(told["unanswered"]) for version, told in SUITE["versions"].items()}


def committed(name: str) -> Callable[[Path], tuple[Path, Path]]:
    """The files that the tool wrote once, in the order of the versions."""

    def of_tool(_: Path) -> tuple[Path, Path]:
        first, last = sorted(path for path in (FILES / name).iterdir())
        return first, last

    return of_tool


def fresh(run: Callable[[Path], tuple[Path, Path]], is_installed: Callable[[], bool]) -> Any:
    """The files that the tool writes now, where it is installed."""
    return pytest.param(
        run,
        marks=[
            pytest.mark.slow,
            pytest.mark.timeout(600),
            pytest.mark.skipif(not is_installed(), reason="the eval tools are not installed: make eval-tools"),
        ],
    )


def expected_tiers(excluded: set[str], baseline: set[str], candidate: set[str]) -> dict[str, tuple[int, int, int]]:
    """Cases, and how many pass before and after, by tier."""
    tiers: dict[str, tuple[int, int, int]] = {}
    for case, tier in TIER.items():
        if case not in excluded:
            cases, before, after = tiers.get(tier, (0, 0, 0))
            tiers[tier] = (cases + 1, before + (case not in baseline), after + (case not in candidate))
    return tiers


def tiers_of(result: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    return {
        tier: (stratum["cases"], stratum["passed"]["baseline"], stratum["passed"]["candidate"])
        for tier, stratum in result["tiers"].items()
    }


@pytest.mark.parametrize("files", [committed("inspect"), fresh(real_tools.inspect_logs, real_tools.has_inspect)])
def test_inspect_logs_say_what_the_suite_knows(
    files: Callable[[Path], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An archive and a JSON log pair by sample; epochs are repeats, and a sample that failed to run is no case."""
    before, after = files(tmp_path)
    result = reported(capsys, before, after)

    assert expected_tiers(UNANSWERED["adder-2"], WRONG["adder-1"], WRONG["adder-2"]) == tiers_of(result)
    assert ("mockllm/adder-1", "mockllm/adder-2") == (result["baseline"]["model"], result["candidate"]["model"])
    assert 16 == result["baseline"]["attempts"]
    assert [{"task": "arithmetic", "case": "sum-1"}] == result["unpaired"]["unscored"]
    assert [("root-1", "answered I do not know (expected 45)")] == [
        (case["case"], case["failure"]) for case in result["regressed_hard_cases"]
    ]
    assert {"sums", "products", "roots"} == set(result["capabilities"])


def test_a_score_of_an_inspect_log_is_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """The first score counts unless another is named; a name that is not there is one sentence."""
    before, after = committed("inspect")(Path())
    result = reported(capsys, before, after, "--metric", "includes")

    assert "Of the scores exact, includes, includes counts (--metric)." in result["baseline"]["notes"]
    assert 2 == run_command(["report", str(before), str(after), "--metric", "charm"])
    assert "has no score charm (--metric); it has exact, includes" in capsys.readouterr().err


def test_an_inspect_archive_that_was_broken_off_is_read_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without summaries and header, the journal says what was done."""
    before, after = committed("inspect")(Path())
    broken = tmp_path / "broken.eval"
    shutil.copyfile(before, broken)
    _without_members(broken, {"summaries.json", "header.json", "reductions.json"})
    result = reported(capsys, broken, after)

    assert 7 == result["aggregate"]["cases"]
    assert any("ended as started" in note for note in result["baseline"]["notes"])


def _without_members(path: Path, names: set[str]) -> None:
    """Members that the archive's directory lists no more, as if they had not been written yet."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist = [info for info in archive.filelist if info.filename not in names]
        archive.NameToInfo = {info.filename: info for info in archive.filelist}
        archive._didModify = True


def test_a_damaged_archive_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a copy is said to be half a copy."""
    before, after = committed("inspect")(Path())
    (tmp_path / "half.eval").write_bytes(before.read_bytes()[:9_000])

    assert 2 == run_command(["report", str(tmp_path / "half.eval"), str(after)])
    assert "is a damaged archive" in capsys.readouterr().err


@pytest.mark.parametrize("files", [committed("lm_eval"), fresh(real_tools.lm_eval_samples, real_tools.has_lm_eval)])
def test_lm_eval_samples_say_what_the_suite_knows(
    files: Callable[[Path], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders of samples pair by task and document; totals beside them are left out, and a filter is chosen."""
    before, after = files(tmp_path)
    result = reported(capsys, before, after, "--capability", "capability")
    once = expected_tiers(set(), WRONG["adder-1"] | UNANSWERED["adder-1"], WRONG["adder-2"] | UNANSWERED["adder-2"])

    assert {tier: tuple(2 * count for count in counts) for tier, counts in once.items()} == tiers_of(result)
    assert ("adder-1", "adder-2") == (result["baseline"]["model"], result["candidate"]["model"])
    assert "Of the filters strict, number, strict counts (--filter)." in result["baseline"]["notes"]
    assert any(
        note.startswith("Left out, because they contain no readable results: results_")
        for note in result["baseline"]["notes"]
    )
    assert ("arithmetic", "6", "answered I do not know (expected 45)") in [
        (case["task"], case["case"], case["failure"]) for case in result["regressed_hard_cases"]
    ]


def test_totals_of_lm_eval_say_what_to_name_instead(capsys: pytest.CaptureFixture[str]) -> None:
    """A file without a single case is told from its samples."""
    totals = next((FILES / "lm_eval" / "adder-1").glob("results_*"))

    assert 2 == run_command(["report", str(totals), str(totals)])
    assert "run it with --log_samples" in capsys.readouterr().err


def test_only_the_last_run_of_a_task_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """lm-evaluation-harness writes every run beside the others; the older ones are left out, and that is said."""
    before, after = committed("lm_eval")(Path())
    folder = tmp_path / "adder-1"
    folder.mkdir()
    for path in before.glob("samples_*"):
        shutil.copyfile(path, folder / path.name)
    for path in after.glob("samples_*"):  # a later run in the same place
        shutil.copyfile(path, folder / path.name)
    result = reported(capsys, folder, after)

    assert 0 == result["aggregate"]["newly_failing"] + result["aggregate"]["newly_passing"]
    assert "2 older files of the same run were left out." in result["baseline"]["notes"]


@pytest.mark.parametrize(
    "files", [committed("promptfoo"), fresh(real_tools.promptfoo_results, real_tools.has_promptfoo)]
)
def test_promptfoo_results_say_what_the_suite_knows(
    files: Callable[[Path], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON and JSON lines hold both providers; each is a run, and an error is no failure."""
    document, lines = files(tmp_path)
    models = ("--baseline-model", "adder-1", "--candidate-model", "adder-2")
    result = reported(capsys, document, lines, *models)

    assert expected_tiers(UNANSWERED["adder-2"], WRONG["adder-1"], WRONG["adder-2"]) == tiers_of(result)
    assert ["sum-1"] == [key["case"] for key in result["unpaired"]["unscored"]]
    assert [("root-1", 'Expected output "I do not know" to equal "45"')] == [
        (case["case"], case["failure"]) for case in result["regressed_hard_cases"]
    ]
    assert 2 == run_command(["report", str(document), str(lines)])
    assert "has several models; choose one with --baseline-model: adder-1, adder-2" in capsys.readouterr().err


@pytest.mark.parametrize("files", [committed("deepeval"), fresh(real_tools.deepeval_results, real_tools.has_deepeval)])
def test_deepeval_results_say_what_the_suite_knows(
    files: Callable[[Path], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A metric that broke is no failure, though the tool says that the case did not succeed."""
    before, after = files(tmp_path)
    result = reported(capsys, before, after)
    unanswered = UNANSWERED["adder-1"] | UNANSWERED["adder-2"]

    assert expected_tiers(unanswered, WRONG["adder-1"], WRONG["adder-2"]) == tiers_of(result)
    assert unanswered == {key["case"] for key in result["unpaired"]["unscored"]}
    assert {"sums", "products", "roots"} == set(result["capabilities"])


def an_event(case: str, version: str, *, success: bool | None, trace: str | None = None) -> dict[str, Any]:
    event: dict[str, Any] = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": trace or f"{version}-{case}",
        "service": "suite",
        "environment": "probes",
        "model_version": version,
        "capability": "sums",
        "request_id": case,
        "started_at": "2026-11-25T10:00:00Z",
        "request": {"attributes": {"tier": "hard"}},
    }
    if success is not None:
        event["outcome"] = {"success": success, **({} if success else {"failure_class": "wrong_sum"})}
    return event


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_native_events_pair_by_request_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An outcome may come by itself, a trace that came twice counts once, and one without an outcome is unknown."""
    before = write_lines(tmp_path / "a", [an_event(case, "v1", success=True) for case in ("p1", "p2", "p3")])
    late = {"schema": "cliffwatch.outcome/v1", "trace_id": "v2-p1", "outcome": {"success": False, "source": "human"}}
    after = write_lines(
        tmp_path / "b",
        [
            an_event("p1", "v2", success=None),
            an_event("p2", "v2", success=False),
            an_event("p2", "v2", success=False),
            an_event("p3", "v2", success=None),
            late,
        ],
    )
    result = reported(capsys, before, after)

    assert (3, 2) == (result["candidate"]["cases"], result["candidate"]["attempts"])
    assert ["p1", "p2"] == [case["case"] for case in result["regressed_hard_cases"]]
    assert ["p3"] == [key["case"] for key in result["unpaired"]["unscored"]]


def test_events_without_a_request_id_are_no_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Live traffic that names no request cannot be paired, and the sentence says what to do."""
    event = an_event("p1", "v1", success=True)
    del event["request_id"]
    path = str(write_lines(tmp_path / "a", [event]))

    assert 2 == run_command(["report", path, path])
    assert "give each request of the suite one" in capsys.readouterr().err


def test_opentelemetry_spans_pair_by_request_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An OTLP request holds spans of a run and its verdict."""
    for name, version, code in (("a", "v1", 1), ("b", "v2", 2)):
        write_lines(tmp_path / name, [otlp("p1", version, code)])
    result = reported(capsys, tmp_path / "a", tmp_path / "b")

    assert 1 == result["aggregate"]["newly_failing"]
    assert ("v1", "v2") == (result["baseline"]["model"], result["candidate"]["model"])


def otlp(case: str, version: str, status: int) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.response.model": version,
        "cliffwatch.request_id": case,
    }
    span = {
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": "00f067aa0ba902b7",
        "name": "invoke_agent",
        "startTimeUnixNano": "1790000000000000000",
        "endTimeUnixNano": "1790000001000000000",
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
        "status": {"code": status},
    }
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "suite"}}]}
    return {"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [span]}]}]}
