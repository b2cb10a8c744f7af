"""`verdict`, `rollouts`, `cases` and back-tests, on a ledger that a small rollout has left behind."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.ledger.sql import SqlLedger
from monitor.output.rollouts import rollout_json
from monitor.rollout.policy import Floor, Policy
from monitor.rollout.verdict import VerdictState
from monitor.trace.model import Outcome
from tests.builders import NOON, a_batch, an_outcome
from tests.histories import DAY, a_review, roll_out, serve
from tests.trace.events import decode_native

FLOOR = Floor(service="shop", pass_rate=0.9)
"""A floor that the hard tier of no version of these tests holds."""


def a_ledger(folder: Path, *, policy: Policy | None = None, fails_from: int = 120) -> str:
    """URL of a ledger with one rollout."""
    url = f"sqlite:///{folder}/ledger.db"
    ledger = SqlLedger(url)
    roll_out(ledger, a_review(ledger, policy), fails_from=fails_from)
    ledger.close()
    return url


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ledger whose candidate is as its baseline; nothing may write to it."""
    return a_ledger(tmp_path_factory.mktemp("quiet"), policy=Policy(min_labelled_requests=100, min_hard_failures=10))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ledger whose candidate breaks its floor; nothing may write to it."""
    return a_ledger(tmp_path_factory.mktemp("broken"), policy=Policy(floors=(FLOOR,)), fails_from=100)


def a_copy(url: str, folder: Path) -> str:
    """URL of a copy that a test may write to."""
    return f"sqlite:///{shutil.copy(url.removeprefix('sqlite:///'), folder / 'ledger.db')}"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    assert code == run_command([*arguments, "--output", "json"])
    return json.loads(capsys.readouterr().out)


def records(url: str) -> Any:
    ledger = SqlLedger(url)
    found = ledger.rollouts()
    ledger.close()
    return found


def test_the_verdict_is_the_one_that_the_ledger_keeps(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In the shape of a replay, number by number."""
    assert {"rollouts": [rollout_json(record) for record in records(broken)]} == printed(
        capsys, "verdict", "--ledger", broken
    )


def test_the_verdict_needs_no_words(
    broken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`cliffwatch verdict` alone speaks of the ledger that the config names."""
    monkeypatch.setenv("CLIFFWATCH_LEDGER__URL", broken)

    assert 0 == run_command(["verdict"])

    assert "verdict: regression" in capsys.readouterr().out


@pytest.mark.slow
def test_the_verdict_is_shown_in_words(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its rates, what to expect on call, and its reasons."""
    assert 0 == run_command(["verdict", "shop", "--ledger", broken])

    shown = capsys.readouterr().out
    for words in ("verdict: regression", "failures per 1,000 requests", "hard / search / timeout", "below the floor"):
        assert words in shown


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param([], 0, "", id="without a gate nothing stops"),
        pytest.param(["--gate"], 1, "stopped at verdict regression of shop", id="a gate"),
        pytest.param(["--gate", "strict"], 1, "stopped at verdict regression of shop", id="a strict gate"),
        pytest.param(["--gate", "shop"], 1, "stopped at verdict regression of shop", id="a gate before the service"),
        pytest.param(["shop", "--gate", "--environment", "staging"], 1, "no rollout of shop", id="elsewhere"),
        pytest.param(
            ["--gate", "--candidate", "live-2"], 1, "stopped at verdict regression", id="the candidate by name"
        ),
        pytest.param(["--gate", "--candidate", "live-9"], 1, "no rollout of live-9", id="another candidate"),
        pytest.param(["--gate", "--environment", "prod"], 1, "no rollout of prod", id="another environment"),
        pytest.param(
            ["--gate", "--candidate", "live-9", "--require-verdict"], 1, "no rollout", id="a verdict is required"
        ),
        pytest.param(["typo", "--gate"], 2, "knows no service typo", id="a service that nobody knows"),
        pytest.param(["shop", "--require-verdict"], 2, "add --gate", id="a rule of a gate without one"),
        pytest.param(["shop", "--require-tiers"], 2, "add --gate", id="the other rule without one"),
    ],
)
def test_a_regression_stops_a_gate(
    broken: str, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the rollouts that it is about, with exit code 1 and the reason."""
    assert code == run_command(["verdict", *arguments, "--ledger", broken])

    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "gate", "code"),
    [
        (VerdictState.OK, ["--gate", "strict"], 0),
        (VerdictState.CLIFF, ["--gate"], 0),
        (VerdictState.CLIFF, ["--gate", "strict"], 1),
        (VerdictState.REGRESSION, ["--gate"], 1),
        (VerdictState.WAITING, ["--gate", "strict"], 0),
        (VerdictState.WAITING, ["--gate", "--require-verdict"], 1),
        (VerdictState.OK, ["--gate", "strict", "--require-verdict", "--require-tiers"], 0),
    ],
)
def test_every_verdict_has_its_exit_code(
    *,
    tmp_path: Path,
    quiet: str,
    state: VerdictState,
    gate: list[str],
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A cliff stops a strict gate only, and waiting stops one that requires a verdict, and says what it waits for."""
    url = a_copy(quiet, tmp_path)
    ledger = SqlLedger(url)
    (record,) = ledger.rollouts()
    assert record.verdict is not None
    changed = dataclasses.replace(record.verdict, state=state, requests_needed=77)
    ledger.save_verdict(record.rollout.rollout_id, changed, at=NOON + 9 * DAY)
    ledger.close()

    assert code == run_command(["verdict", *gate, "--ledger", url])

    said = capsys.readouterr().err
    assert ("stopped" if code else "passed") in said
    assert ("about 77 more" in said) == (state is VerdictState.WAITING)


def test_an_ended_rollout_is_shown_and_stops_only_a_gate_that_names_its_candidate(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was rolled back must not stop the next deployment, and may not come back unseen either."""
    url = a_copy(broken, tmp_path)
    (rollout,) = (record.rollout for record in records(url))
    assert 0 == run_command(["rollouts", "end", rollout.rollout_id, "--reason", "rolled_back", "--ledger", url])
    capsys.readouterr()

    assert "rolled_back" == printed(capsys, "verdict", "--ledger", url, "--gate")["rollouts"][0]["end_reason"]
    assert 1 == run_command(["verdict", "--gate", "--candidate", "live-2", "--ledger", url])


def test_rollouts_are_listed_with_their_history(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every change of the verdict with its time, and whether the watch goes on."""
    assert 0 == run_command(["rollouts", "list", "--ledger", broken])
    shown = capsys.readouterr().out
    (rollout,) = printed(capsys, "rollouts", "list", "--ledger", broken)["rollouts"]

    assert rollout["id"] in shown
    assert "shop (production)  live-1 → live-2" in shown
    assert "2026-09-23 14:13 first verdict: regression" in shown
    assert [{"at": "2026-09-23T14:13:20.000Z", "verdict": "regression"}] == rollout["changes"]
    assert "2026-09-21T14:13:20.000Z" == rollout["floors"][0]["seen_at"]


def test_a_rollout_is_announced_and_ended_by_hand(
    tmp_path: Path, quiet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against the established version where nobody names one, and under the beginning of its id."""
    url = a_copy(quiet, tmp_path)
    ledger = SqlLedger(url)
    serve(ledger, "live-1", environment="staging", started_at=NOON)
    ledger.close()
    capsys.readouterr()

    start = ("rollouts", "start", "shop", "--candidate", "live-7", "--environment", "staging", "--ledger", url)
    started = printed(capsys, *start)
    again = printed(capsys, *start)
    ended = printed(capsys, "rollouts", "end", started["id"][:6], "--reason", "no good", "--ledger", url)

    assert ("live-1", "live-7", None) == (started["baseline"], started["candidate"], started["ended_at"])
    assert started == again
    assert (started["id"], "no good") == (ended["id"], ended["end_reason"])


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        pytest.param(["rollouts", "end", "zz", "--reason", "x"], 2, "no such rollout", id="an id that nobody has"),
        pytest.param(
            ["rollouts", "start", "shop", "--candidate", "a b"], 2, "candidate cannot be used", id="a bad name"
        ),
        pytest.param(["cases", "--rollout", "zz"], 2, "no such rollout", id="cases of no rollout"),
        pytest.param(["labels", "next", "--rollout", "zz"], 2, "no such rollout", id="labels of no rollout"),
        pytest.param(["labels", "next", "--count", "0"], 2, "--count", id="no label"),
        pytest.param(["cases", "--limit", "5000"], 2, "--limit", id="more cases than an answer holds"),
        pytest.param(["cases", "export", "--write", "/nonexistent/x"], 2, "another place", id="a place not there"),
    ],
)
def test_what_cannot_be_done_is_a_usage_error(
    quiet: str, arguments: list[str], code: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence, with exit code 2."""
    assert code == run_command([*arguments, "--ledger", quiet])

    assert advice in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["in memory", "no path", "empty file", "database of another program"])
def test_no_gate_stands_open_over_what_is_no_ledger(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong URL is exit code 3, and nothing is written there."""
    path = tmp_path / "other.db"
    path.touch()
    if kind == "database of another program":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE customer (name)")
    url = {"in memory": "sqlite:///:memory:", "no path": "sqlite:///"}.get(kind, f"sqlite:///{path}")

    assert 3 == run_command(["verdict", "--ledger", url, "--gate"])
    assert "There is no ledger at" in capsys.readouterr().err
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    assert tables == (["customer"] if kind == "database of another program" else [])


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in its name is said, rather than answered with an empty ledger."""
    missing = tmp_path / "typo.db"

    assert 3 == run_command(["verdict", "--ledger", f"sqlite:///{missing}"])

    assert "There is no ledger" in capsys.readouterr().err
    assert not missing.exists()


def test_cases_are_listed_by_signature_with_links(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person sees what fails, how it was before, and where to look."""
    config = tmp_path / "cliffwatch.yaml"
    config.write_text("web: {trace_url: 'https://traces.example/{trace_id}'}\n")
    arguments = ["--ledger", broken, "--config.file", str(config), "--limit", "3"]

    assert 0 == run_command(["cases", *arguments])
    shown = capsys.readouterr().out
    told = printed(capsys, "cases", *arguments)

    (case, *_) = told["signatures"][0]["cases"]
    assert f"{case['name']}  fails 1 of 1, passed 1 of 1 before  {case['failed']['link']}" in shown
    assert case["failed"]["link"] == f"https://traces.example/{case['failed']['trace_id']}"
    assert f"{told['total'] - 3} more" in shown


def test_what_to_label_next_comes_with_its_chance(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as asked for, with links; what people then say of them, with that chance, takes them off the list."""
    url = a_copy(broken, tmp_path)
    config = tmp_path / "cliffwatch.yaml"
    config.write_text("web: {trace_url: 'https://traces.example/{trace_id}'}\n")
    arguments = ["labels", "next", "--ledger", url, "--count", "20"]

    assert 0 == run_command([*arguments, "--budget", "80"])
    shown = capsys.readouterr().out
    told = printed(capsys, *arguments, "--config.file", str(config))
    ledger = SqlLedger(url)
    for label in told["labels"]:
        verdict = Outcome(success=True, source="human", sampling_probability=label["sampling_probability"])
        ledger.record(a_batch(an_outcome(label["trace_id"], verdict)))
    ledger.close()
    again = printed(capsys, *arguments)

    assert (400, 20, 20) == (told["open"], told["budget"], len(told["labels"]))
    assert all(f"https://traces.example/{label['trace_id']}" == label["link"] for label in told["labels"])
    assert {label["trace_id"] for label in told["labels"]} == set(re.findall(r"production-live-\d-\d+", shown))
    assert re.search(r"(?m)^80 labels of all requests leave a standard error of \d+\.\d points in the change of", shown)
    assert 380 == again["open"]
    assert not {label["trace_id"] for label in told["labels"]} & {label["trace_id"] for label in again["labels"]}


def test_the_history_of_a_class_is_ready_to_paste(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each rollout with its rates, failures by signature, and cases with links; as Markdown that a reader can trust."""
    config = tmp_path / "cliffwatch.yaml"
    config.write_text("web: {trace_url: 'https://traces.example/{trace_id}'}\n")
    history = ["cases", "--ledger", broken, "--config.file", str(config), "--output", "markdown"]

    assert 0 == run_command([*history, "--capability", " search", "--limit", "3"])

    document = capsys.readouterr().out
    assert document.startswith("# search: history of the class\n\n| rollout | started | verdict |")
    assert "| shop (production): live-1 → live-2 | 2026-09-2" in document
    assert re.search(r"\| 42\.0 % → \d\d\.\d %, \+\d\d?\.\d points \(", document)
    assert "| hard / wrong\\_tool | " in document
    assert re.search(r"Passed before and fails now, \w+ / wrong\\_tool:", document)
    assert re.search(
        r"fails 1 of 1, passed 1 of 1 before, trace \[production-live-2-\d+]\(https://traces\.ex", document
    )
    assert "more; raise --limit to see them." in document
    assert "\n\n\n" not in document


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--capability", 'refunds "of" <all>\u202e'], "has the class refunds__of", id="unknown"),
        pytest.param(["--output", "markdown"], "--capability NAME", id="no class"),
        pytest.param(
            ["--output", "markdown", "--capability", "search", "--service", "no"], "no such rollout", id="service"
        ),
    ],
)
def test_a_class_that_is_not_there_is_said(
    arguments: list[str], said: str, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the classes that are; a mistyped name is no empty history."""
    assert 2 == run_command(["cases", "--ledger", broken, *arguments])

    error = capsys.readouterr().err
    assert said in error
    assert "\u202e" not in error


def test_cases_of_one_class_leave_the_others_out(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All requests of this ledger are of one class."""
    everything = printed(capsys, "cases", "--ledger", broken)

    assert everything == printed(capsys, "cases", "--ledger", broken, "--capability", "search")
    assert {"state"} <= everything["signatures"][0].keys()


def test_exported_cases_are_events_without_an_outcome(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They name the requests to ask again, and cannot be mistaken for a sample of how the candidate does."""
    total = printed(capsys, "cases", "--ledger", broken)["total"]
    file = tmp_path / "probes.jsonl"

    assert 0 == run_command(["cases", "export", "--ledger", broken, "--write", str(file)])

    traces = [decode_native(line) for line in file.read_bytes().splitlines()]
    assert total == len(traces)
    assert {("shop", "probes", "live-2", None)} == {
        (trace.service, trace.environment, trace.model_version, trace.outcome) for trace in traces
    }
    assert total == len({trace.request.request_id for trace in traces})
    told = json.loads(file.read_text().splitlines()[0])["case"]
    assert {"tier", "failure_class", "passed", "failed"} <= told.keys()
    capsys.readouterr()
    assert {"read": total, "counted": total, "dead_lettered": 0, "unlabelled": total}.items() <= printed(
        capsys, "replay", str(file)
    )["records"].items()
