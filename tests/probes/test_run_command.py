from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from monitor.cli import run_command
from monitor.cli.terminal.probes import run_line
from monitor.probes.run import Progress
from tests.event_histories import version_events
from tests.probes.agents import Reply, chat_server, completion, python_agent, shell_agent, write_panel

CLIFFWATCH = str(Path(sys.executable).with_name("cliffwatch"))
KEY = "sk-very-secret-1234567890"
_GRADED = ("--grade-exec", "true")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert code == run_command(["probes", "run", *arguments, "--output", "json"]), capsys.readouterr().err
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def events(path: str = "probes-m.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def outcomes(path: str = "probes-m.jsonl") -> dict[str, str]:
    """By probe: its failure class, or what else is known of it."""
    said = {event["request_id"]: event.get("outcome") for event in events(path)}
    return {
        name: "unknown" if told is None else "passed" if told["success"] else told.get("failure_class", "failed")
        for name, told in said.items()
    }


TRUTH = {
    (model, event["request_id"]): event["outcome"]["success"]
    for model, ability in {"m-0": 0.0, "m-1": -0.6, "m-2": 0.5}.items()
    for event in version_events(model, ability=ability)
}
MODELS, NAMES = sorted({model for model, _ in TRUTH}), sorted({name for _, name in TRUTH})


@contextmanager
def own_agent(folder: Path) -> Iterator[tuple[list[str], Callable[[], Iterable[str]]]]:
    """A program: its options, and each question that it was asked, as model and probe."""
    agent = shell_agent(folder, lambda *asked: TRUTH[asked], MODELS, NAMES)
    yield ["--exec", agent], lambda: (folder / "calls").read_text(encoding="utf-8").splitlines()


@contextmanager
def chat_model(folder: Path) -> Iterator[tuple[list[str], Callable[[], Iterable[str]]]]:
    """A chat model at a dollar cent an answer, and a program that grades it; as `own_agent`."""

    def asked(body: Any) -> tuple[str, str]:
        return body["model"], body["messages"][0]["content"].removeprefix("Refund ").removesuffix("?")

    def reply(body: Any) -> Reply:
        return 200, {}, completion("right" if TRUTH[asked(body)] else "wrong", prompt_tokens=1_000)

    grader = folder / "grader.sh"
    grader.write_text(
        """read -r q; case $q in *'"output": "right"'*) s=true;; *) s=false;; esac\n"""
        """echo "{\\"success\\": $s, \\"failure_class\\": \\"wrong\\"}"\n""",
        encoding="utf-8",
    )
    with chat_server(reply) as (url, requests):
        options = ["--openai-base-url", url, "--price", "10,10", "--grade-exec", f"sh {grader}"]
        yield options, lambda: [" ".join(asked(body)) for _, _, body in requests]


@pytest.mark.slow
@pytest.mark.parametrize("model_server", [own_agent, chat_model])
def test_a_run_that_is_killed_goes_on_and_its_outcomes_are_trusted(
    model_server: Callable[[Path], AbstractContextManager[tuple[list[str], Callable[[], Iterable[str]]]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Killed by SIGKILL half-way: each probe has one event, the limit holds over both runs, and tiers are learnt."""
    panel = write_panel(tmp_path / "panel.jsonl", NAMES)

    with model_server(tmp_path) as (asked_by, asked):
        limited = [panel, *asked_by, "--max-cost", "1.50"]
        with subprocess.Popen(
            [CLIFFWATCH, "probes", "run", *limited, "--model", "m-0"], stderr=subprocess.DEVNULL
        ) as killed:
            written = tmp_path / "probes-m-0.jsonl"
            while killed.poll() is None and (not written.exists() or written.read_bytes().count(b"\n") < 40):
                time.sleep(0.005)
            killed.kill()
        half = len(events("probes-m-0.jsonl"))
        resumed = ask(capsys, *limited, "--model", "m-0", code=1 if half + 4 < len(NAMES) else 0)
        others = [ask(capsys, panel, *asked_by, "--model", model) for model in MODELS[1:]]
        rest = ask(capsys, panel, *asked_by, "--model", "m-0", "--max-cost", "2")
        calls = Counter(asked())

    of_killed = {call: number for call, number in calls.items() if call.startswith("m-0 ")}
    assert 40 <= half < 150
    assert half == resumed["resumed"]
    assert resumed["spent_usd"] <= 1.5 + 1e-6
    assert 150 - 4 <= resumed["answered"]
    assert sum(of_killed.values()) <= 150 + 4
    assert 4 >= sum(number - 1 for number in calls.values())
    assert [150, 150] == [other["answered"] for other in others]
    assert (150, 0) == (rest["answered"], rest["counts"]["unanswered"])
    assert NAMES == sorted(event["request_id"] for event in events("probes-m-0.jsonl"))
    assert {name: "passed" if TRUTH["m-0", name] else "wrong" for name in NAMES} == outcomes("probes-m-0.jsonl")
    assert 0 == run_command(["calibrate", *(f"probes-{model}.jsonl" for model in MODELS), "--dry-run"])


def test_a_line_counts_once_and_what_is_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that comes again, with the same text or with another one; ids may be numbers, in any script."""
    lines = ["first", "first", "second", "日本"]
    named = [{"request_id": name, "text": text} for name, text in zip((7, 7, "7", "東/京"), lines, strict=True)]
    (tmp_path / "panel.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*named, [1]]))
    agent = python_agent(tmp_path, "print(json.dumps({'success': q['request']['text'] != 'second'}))")

    assert 0 == run_command(["probes", "run", "panel.jsonl", "--model", "m", "--exec", agent])

    said = capsys.readouterr().err
    assert {"7": "passed", "東/京": "passed"} == outcomes()
    assert "panel.jsonl: 1 line skipped, same_id_other_text." in said
    assert "panel.jsonl: 1 line skipped, schema_unknown." in said


@pytest.mark.slow
def test_hostile_agents_are_failures_of_their_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that hangs, leaves a child, prints megabytes, crashes or prints no JSON stops neither the run nor others."""
    agent = python_agent(
        tmp_path,
        """
match q["request_id"]:
    case "hangs": os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000"); time.sleep(1000)
    case "shouts": sys.stdout.write("x" * 9_000_000); sys.exit()
    case "crashes": sys.exit(f"lost {os.environ['OPENAI_API_KEY']}")
    case "mumbles": print("Certainly!"); sys.exit()
    case "lists": print("[1]"); sys.exit()
    case "infinite": print('{"success": true, "score": Infinity}'); sys.exit()
    case "vague": print('{"success": "yes"}'); sys.exit()
    case "greedy": print('{"success": true, "usage": {"input_tokens": -5}, "score": 0.5}'); sys.exit()
print("loading ...")
print(json.dumps({"success": q["request_id"] == "good"}))
""",
    )
    hostile = ("hangs", "shouts", "crashes", "mumbles", "lists", "infinite", "vague", "greedy", "bad")
    panel = write_panel(tmp_path / "panel.jsonl", ["good", *hostile])

    result = ask(capsys, panel, "--model", "m", "--exec", agent, "--timeout", "1.5", "--parallel", "2")

    assert {
        "good": "passed",
        "hangs": "timeout",
        "shouts": "output_too_large",
        "crashes": "exit_code",
        "mumbles": "no_json",
        "lists": "no_json",
        "infinite": "no_json",
        "vague": "unknown",
        "greedy": "passed",
        "bad": "failed",
    } == outcomes()
    assert {"passed": 2, "failed": 7, "unlabelled": 1, "unanswered": 0, "ungraded": 0} == result["counts"]


@pytest.mark.slow
def test_an_agent_that_answers_nothing_teaches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run stops early with the agent's last word, less any secret, keeps no failure, and goes on once mended."""
    panel = write_panel(tmp_path / "panel.jsonl", [f"p{number}" for number in range(40)])
    broken = python_agent(tmp_path, "sys.exit(f'no module named {os.environ[\"OPENAI_API_KEY\"]}')")

    assert 1 == run_command(["probes", "run", panel, "--model", "m", "--exec", broken, "--parallel", "1"])

    said = capsys.readouterr()
    assert "no module named ***" in said.err
    assert KEY not in said.err + said.out
    assert [] == events()
    whole = python_agent(tmp_path, "print(json.dumps({'success': True}))")
    assert 40 == ask(capsys, panel, "--model", "m", "--exec", whole)["answered"]


def test_a_program_that_asks_for_time_is_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 75 is no failure: the next run asks the probe again."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a", "b"])
    agent = python_agent(
        tmp_path, "if q['request_id'] == 'b' and not os.path.exists('up'): sys.exit(75)\nprint('{\"success\": true}')"
    )

    first = ask(capsys, panel, "--model", "m", "--exec", agent, code=1)
    Path("up").touch()
    second = ask(capsys, panel, "--model", "m", "--exec", agent)

    assert (1, 1) == (first["answered"], first["counts"]["unanswered"])
    assert (2, 1) == (second["answered"], second["resumed"])
    assert {"a": "passed", "b": "passed"} == outcomes()


def test_a_grader_knows_the_panel_and_the_agent_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is expected, and how hard the probe is, goes to the grader alone; its verdict beats the agent's own."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a", "b"], expected="a", tier="hard", failure_probability=0.5)
    agent = python_agent(
        tmp_path,
        "assert set(q) == {'request_id', 'capability', 'model', 'request'}, q\n"
        "print(json.dumps({'success': True, 'answer': q['request_id'], 'tool_calls': 2}))",
    )
    grader = python_agent(
        tmp_path,
        "right = q['result']['answer'] == q['probe']['expected']\n"
        "print(json.dumps({'success': right, 'failure_class': 'wrong answer', 'score': int(right)}))",
        name="grader.py",
    )

    ask(capsys, panel, "--model", "m", "--exec", agent, "--grade-exec", grader)

    assert {"a": "passed", "b": "wrong_answer"} == outcomes()
    assert [2, 2] == [event["tool_calls"] for event in events()]
    assert [1.0, 0.0] == [event["outcome"]["score"] for event in sorted(events(), key=lambda each: each["request_id"])]


def test_a_field_of_the_result_says_whether_it_passed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As named; without it the answer is unlabelled, and the run says what to add."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a"])
    agent = python_agent(tmp_path, "print(json.dumps({'resolved': 1}))")

    ask(capsys, panel, "--model", "m", "--exec", agent, "--success-field", "resolved")
    assert 0 == run_command(["probes", "run", panel, "--model", "n", "--exec", agent])

    assert {"a": "passed"} == outcomes()
    assert {"a": "unknown"} == outcomes("probes-n.jsonl")
    assert "add --grade-exec" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "answered", "spent"),
    [
        pytest.param(["--max-cost", "0.30"], 3, 0.3, id="known from the first answer on"),
        pytest.param(["--max-cost", "1", "--max-probe-cost", "0.5"], 6, 0.6, id="as much as one may cost is set aside"),
        pytest.param(["--max-cost", "0"], 0, 0.0, id="nothing"),
    ],
)
def test_the_spending_limit_holds(
    options: list[str], answered: int, spent: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However many are asked at a time."""
    panel = write_panel(tmp_path / "panel.jsonl", [f"p{number}" for number in range(20)])
    agent = python_agent(tmp_path, "print(json.dumps({'success': True, 'usage': {'cost_usd': 0.1}}))")

    result = ask(capsys, panel, "--model", "m", "--exec", agent, "--parallel", "8", *options, code=1)

    assert (answered, pytest.approx(spent), True) == (result["answered"], result["spent_usd"], result["is_spent"])


def test_a_limit_needs_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An agent that does not say what it cost stops, before a second probe is asked, and its answer is kept."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a", "b"])
    agent = python_agent(tmp_path, "print(json.dumps({'success': True}))")

    assert 2 == run_command(["probes", "run", panel, "--model", "m", "--exec", agent, "--max-cost", "5"])

    assert "set --max-probe-cost" in capsys.readouterr().err
    assert {"a": "passed"} == outcomes()


@pytest.mark.slow
def test_a_chat_model_is_asked_with_its_key_and_paid_by_its_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A busy endpoint is asked again, a bad request is a failure, and the key is in no output, log or file."""
    busy = [(429, {"retry-after": "0"}, b""), (500, {"retry-after": "0"}, b"?"), (503, {"retry-after": "0"}, b"")]

    def reply(body: Any) -> tuple[int, dict[str, str], bytes]:
        if body["messages"][0]["content"] == "Refund busy?" and busy:
            return busy.pop()
        if body["messages"][0]["content"] == "Refund long?":
            return 400, {}, b"context too long"
        if body["messages"][0]["content"] == "Refund odd?":
            return 200, {}, b'{"choices": []}'
        return 200, {}, completion("yes", prompt_tokens=1_000_000, completion_tokens=100_000)

    panel = write_panel(tmp_path / "panel.jsonl", ["calm", "busy", "long", "odd"])
    grader = python_agent(tmp_path, "print(json.dumps({'success': q['result']['output'] == 'yes'}))")

    with caplog.at_level("DEBUG"), chat_server(reply) as (url, requests):
        options = ["--openai-base-url", url, "--grade-exec", grader, "--price", "2,10", "--parallel", "1"]
        result = ask(capsys, panel, "--model", "m", *options)

    assert {"calm": "passed", "busy": "passed", "long": "http_400", "odd": "no_json"} == outcomes()
    assert 2 * 3.0 <= result["spent_usd"]
    assert [] == busy
    path, headers, body = requests[0]
    assert ("/v1/chat/completions", f"Bearer {KEY}", "m") == (path, headers["authorization"], body["model"])
    kept = "".join(file.read_text(encoding="utf-8") for file in tmp_path.glob("probes-*"))
    assert KEY not in caplog.text + kept + repr(capsys.readouterr())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "code", "advice"),
    [
        pytest.param((401, {}), 2, "and OPENAI_API_KEY", id="a wrong key"),
        pytest.param((404, {}), 2, "check --model", id="a model that is not there"),
        pytest.param((429, {"retry-after": "86400"}), 3, "again later", id="a quota that is used up"),
        pytest.param((500, {"retry-after": "0"}), 3, "HTTP 500", id="an endpoint that is down"),
    ],
)
def test_an_endpoint_that_answers_nothing_is_named_and_nothing_is_kept(
    reply: tuple[int, dict[str, str]], code: int, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 for what has to be typed anew, 3 for what is away; never the body, which may repeat the key."""
    panel = write_panel(tmp_path / "panel.jsonl", [f"p{number}" for number in range(9)])

    with chat_server(lambda _: (*reply, f"bad key {KEY}".encode())) as (url, _):
        assert code == run_command(["probes", "run", panel, "--model", "m", "--openai-base-url", url, *_GRADED])

    said = capsys.readouterr()
    assert advice in said.err
    assert KEY not in said.err + said.out
    assert [] == events()


def test_an_answer_is_paid_for_though_its_grader_puts_it_off(tmp_path: Path) -> None:
    """Or a limit would never be reached: each run would pay for the same answers again."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a", "b", "c"])
    agent = python_agent(tmp_path, "print(json.dumps({'usage': {'cost_usd': 1.0}}))")
    grader = python_agent(tmp_path, "raise SystemExit(75)", name="grader.py")
    limits = ["--max-cost", "2", "--max-probe-cost", "1", "--parallel", "1"]
    command = ["probes", "run", panel, "--model", "m", "--exec", agent, "--grade-exec", grader, *limits]

    for _ in range(3):
        run_command([*command, "--output", "json"])

    lines = Path("probes-m.jsonl.journal").read_text(encoding="utf-8").splitlines()
    costs = {line["question"]: line["usd"] for line in map(json.loads, lines)}
    assert 2.0 == sum(costs.values())
    assert [] == events()


@pytest.mark.slow
def test_a_grader_that_fails_midway_loses_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its answers are kept without being asked again, what was wrong is said, and the rest of the panel goes on."""
    panel = write_panel(tmp_path / "panel.jsonl", [f"p{number}" for number in range(12)])
    agent = python_agent(tmp_path, "open('asked', 'a').write('x')\nprint('{\"usage\": {\"cost_usd\": 0.5}}')")
    grader = python_agent(
        tmp_path,
        "if int(q['request_id'][1:]) > 3 and not os.path.exists('up'): sys.exit('no rubric for this')\n"
        "print('{\"success\": true}')",
        name="grader.py",
    )
    command = [panel, "--model", "m", "--exec", agent, "--grade-exec", grader, "--max-cost", "6", "--parallel", "2"]

    first = ask(capsys, *command, code=1)
    assert 1 == run_command(["probes", "run", *command])
    said = capsys.readouterr().out
    Path("up").touch()
    last = ask(capsys, *command)

    assert (4, 8) == (first["counts"]["passed"], first["counts"]["ungraded"])
    assert "8 ungraded" in said
    assert "the next run grades them: The grader fails (exit_code: exit code 1, no rubric for this)" in said
    assert (12, 6.0) == (last["answered"], last["spent_usd"])
    assert {f"p{number}": "passed" for number in range(12)} == outcomes()
    assert 12 == len(Path("asked").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_grader_that_never_works_stops_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a few answers, which are kept: nothing more is paid for."""
    panel = write_panel(tmp_path / "panel.jsonl", [f"p{number}" for number in range(40)])
    agent = python_agent(tmp_path, "print(json.dumps({'usage': {'cost_usd': 0.5}}))")
    grader = python_agent(tmp_path, "print('no JSON')", name="grader.py")
    command = ["probes", "run", panel, "--model", "m", "--exec", agent, "--grade-exec", grader, "--parallel", "1"]

    assert 3 == run_command(command)

    assert "The grader fails (no_json" in capsys.readouterr().err
    grader = python_agent(tmp_path, "print('{\"success\": false}')", name="grader.py")
    result = ask(capsys, *command[2:])
    assert (40, 20.0) == (result["answered"], result["spent_usd"])


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        pytest.param([], "Say who answers", id="nobody"),
        pytest.param(["--exec", "a", "--openai-base-url", "http://x"], "Say who answers", id="two"),
        pytest.param(["--exec", "/no/such/program"], "cannot be started", id="no program"),
        pytest.param(["--exec", "'open"], "No closing quotation", id="an open quote"),
        pytest.param(["--exec", " "], "name a program", id="a blank"),
        pytest.param(["--openai-base-url", "http://x/v1"], "give --grade-exec", id="a chat model without a grader"),
        pytest.param(["--openai-base-url", "api.openai.com", *_GRADED], "is not an address", id="no address"),
        pytest.param(
            ["--openai-base-url", "http://x/v1", "--max-cost", "1", *_GRADED], "--price", id="a limit without prices"
        ),
        pytest.param(["--openai-base-url", "http://x/v1", "--price", "two", *_GRADED], "IN,OUT", id="no price"),
        pytest.param(["--exec", "true", "--service", "my shop"], "cannot be a label", id="a name with a space"),
    ],
)
def test_what_is_typed_wrongly_is_said_before_anything_is_asked(
    arguments: list[str], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 with what to do."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a"])

    assert 2 == run_command(["probes", "run", panel, "--model", "m", *arguments])

    assert advice in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_is_of_one_model_and_one_run_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second model, a second run beside the first, and a file of something else are refused."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a"])
    agent = python_agent(tmp_path, "print(json.dumps({'success': True}))")
    Path("other").write_text("cakes\n", encoding="utf-8")
    Path("only copy").write_text("cakes", encoding="utf-8")
    ask(capsys, panel, "--model", "m", "--exec", agent, "--write", "one")

    for model, file, advice in (
        ("n", "one", "another model"),
        ("m", "other", "not written by"),
        ("m", "only copy", "not written by"),
        ("m", "no/x", "cannot"),
    ):
        assert 2 == run_command(["probes", "run", panel, "--model", model, "--exec", agent, "--write", file])
        assert advice in capsys.readouterr().err
    assert "cakes" == Path("only copy").read_text(encoding="utf-8")
    nested = python_agent(
        tmp_path,
        f"import subprocess\ndone = subprocess.run([{CLIFFWATCH!r}, 'probes', 'run', {panel!r}, '--model', 'm', "
        "'--exec', 'true', '--write', 'two'], capture_output=True, text=True)\n"
        "print(json.dumps({'success': 'Another run' in done.stderr}))",
        name="nested.py",
    )
    ask(capsys, panel, "--model", "m", "--exec", nested, "--write", "two")
    assert {"a": "passed"} == outcomes("two")


def test_a_line_that_a_crash_cut_off_is_asked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half an event is none."""
    panel = write_panel(tmp_path / "panel.jsonl", ["a", "b"])
    agent = python_agent(tmp_path, "print(json.dumps({'success': True}))")
    ask(capsys, panel, "--model", "m", "--exec", agent)
    Path("probes-m.jsonl").write_bytes(Path("probes-m.jsonl").read_bytes()[:-20])

    result = ask(capsys, panel, "--model", "m", "--exec", agent)

    assert (1, 2) == (result["resumed"], len(events()))
    assert {"a": "passed", "b": "passed"} == outcomes()


def test_what_is_left_is_shown() -> None:
    """How many, what it cost, and what time and cost are to come."""
    progress = Progress(probes=100, resumed=20, spent_usd=3.0)
    for _ in range(10):
        progress.count({"success": True})

    assert "30 of 100 probes, 3 USD spent, about 0:01:10 and 7 USD left" == run_line(progress, 10.0)


def test_answers_that_nobody_labels_are_reported_while_the_panel_runs() -> None:
    """An agent that never says whether it passed can be stopped before it has cost the whole panel."""
    progress = Progress(probes=100, resumed=0, spent_usd=0.0)
    for told in (None, None, {"success": True}):
        progress.count(told)

    assert run_line(progress, 3.0).startswith("3 of 100 probes, 2 unlabelled, about ")
