"""What pages tell people to type: each command is one that exists, and those that need no server are run."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from docs.handbook.markdown import ROOT, Block, blocks, pages
from monitor.cli import run_command
from monitor.cli.app import EXIT_PROBLEM, whole_app
from monitor.demo.events import ROLLOUTS
from tests.docs.command_checks import check_command
from tests.docs.shell import Command, commands
from tests.evals.suites import seed_rows, write_csv
from tests.histories import roll_out_events

BLOCKS = [block for page in pages() for block in blocks(page, "sh") if not block.unchecked]
INLINE = [
    pytest.param(match[1], id=f"{page.relative_to(ROOT)}: {match[1]}")
    for page in pages()
    for match in re.finditer(r"(?<!`)`(cliffwatch [^`\n]+)`(?!`)", page.read_text(encoding="utf-8"))
]
COMMANDS = [
    pytest.param(command, id=f"{block.place} {' '.join(command.words) or 'export'}")
    for block in BLOCKS
    for command in commands(block.text)
]

_NEEDS_A_SERVER = {("run",), ("tail",), ("doctor",), ("init",), ("demo",)}
_WAITS = {"--openai-base-url", "--serve", "--from-kafka", "--help", "--install-completion", "--show-completion"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_has_commands(block: Block) -> None:
    """It can be read as a shell would, and there is something in it."""
    assert list(commands(block.text))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists(command: Command) -> None:
    """With these very options and places."""
    check_command(command)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("cliffwatch verdikt", id="a command that is none"),
        pytest.param("cliffwatch verdict --strict", id="an option that is none"),
        pytest.param("cliffwatch rollouts start", id="without what is required"),
        pytest.param("export CLIFFWATCH_KAFKA__BROKERS=a:1", id="a key that is none"),
        pytest.param("make everything", id="a target that is none"),
        pytest.param("curl -X POST http://127.0.0.1:9464/metrics", id="a route that takes no such request"),
        pytest.param("curl http://127.0.0.1:9464/api/v1/rollouts -d '{service: a}'", id="a body that is not JSON"),
        pytest.param("promtool check rules rules/gone.yml", id="a file that is gone"),
        pytest.param("docker compose logs gone", id="a service of compose that is none"),
        pytest.param("frobnicate", id="a program that nobody knows"),
    ],
)
def test_what_does_not_exist_is_reported(text: str) -> None:
    """Or else the tests above would say nothing."""
    (command,) = commands(text)

    with pytest.raises((AssertionError, ValueError)):
        check_command(command)


@pytest.mark.parametrize("text", INLINE)
def test_a_command_in_a_sentence_exists(text: str) -> None:
    """Sentences name commands and options that there are; what is left out is written in capitals or as `...`."""
    words = shlex.split(text.replace("...", "").replace("[", "").replace("]", ""))[1:]
    alternatives = " ".join(words).split(" | ")
    if len(alternatives) > 1:
        *group, first = alternatives[0].split()
        for name in (first, *alternatives[1:]):
            _find([*group, *name.split()[:1]])
    else:
        _find(words)


def _find(words: list[str]) -> None:
    """Fails unless *words* name a command, with options that it has; values may be missing."""
    found: Any = typer.main.get_command(whole_app())
    rest = list(words)
    while rest and rest[0] in getattr(found, "commands", {}):
        found = found.commands[rest.pop(0)]
    assert not rest or not getattr(found, "commands", None) or rest[0].startswith("-") or rest[0].isupper(), words
    known = {name for each in found.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that pages speak of, and a ledger that a small rollout has left behind."""
    folder = tmp_path_factory.mktemp("workplace")
    rollout = ROLLOUTS[0]
    names = {"shop": rollout.service, "live-1": rollout.baseline, "live-2": rollout.candidate}
    events = [
        event | {key: names.get(event[key], event[key]) for key in ("service", "model_version")}
        for event in roll_out_events(fails_from=100)
    ]
    _write(folder / "events.jsonl", events)
    _write(folder / "traces.jsonl", events)
    (folder / "traces.jsonl.gz").write_bytes(gzip.compress((folder / "traces.jsonl").read_bytes()))
    _write(folder / "outcomes-past.jsonl", [event for event in events if event["environment"] == "reference"])
    asked = {event["request_id"]: {key: event[key] for key in ("request_id", "capability")} for event in events}
    _write(folder / "requests.jsonl", asked.values())
    _write(folder / "panel.jsonl", [{**each, "text": f"Find {name}."} for name, each in asked.items()][:4])
    _write(folder / "logged.jsonl", [{"request_id": name, "text": f"Find {name}."} for name in asked])
    for program in ("my_agent.py", "grade.py"):
        (folder / program).write_text("""print('{"success": true, "usage": {"cost_usd": 0.1}}')\n""", encoding="utf-8")
    for model in ("old-model", "new-model"):
        answered = [{**event, "environment": "probes", "model_version": model, "service": "probes"} for event in events]
        _write(folder / f"probes-{model}.jsonl", answered[-3:])
    for arm, name in enumerate(("before.csv", "after.csv")):
        write_csv(folder / name, [row | {"reviewer": ""} for row in seed_rows(arm)])
    shutil.copy(ROOT / "cliffwatch.yaml", folder)
    (folder / "monitor.yaml").write_text(f"ledger: {{url: 'sqlite:///{folder}/ledger.db'}}\n")
    for policy, jump in (("bold", 0.2), ("careful", 0.05)):
        (folder / f"{policy}.yaml").write_text(f"rollout: {{share_jump: {jump}}}\n")
    for part in ("rules", "deploy", "examples"):
        if (ROOT / part).exists():
            (folder / part).symlink_to(ROOT / part)
    done = run_command(["replay", str(folder / "events.jsonl"), "--ledger", f"sqlite:///{folder}/ledger.db"])
    assert 0 == done
    shutil.copy(folder / "ledger.db", folder / "backup.db")
    return folder


def _write(path: Path, events: Any) -> None:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def _is_run(command: Command) -> bool:
    words = command.words[1:]
    return (
        command.program == "cliffwatch"
        and words[:1] not in _NEEDS_A_SERVER
        and not _WAITS & set(words)
        and not any(word.startswith("kafka") for word in words)
    )


RUN_ELSEWHERE = {"examples/README.md": "tests/examples"}
"""Pages whose blocks another test runs, since they take long, and where it is."""

RUN = [
    block
    for block in BLOCKS
    if block.page not in RUN_ELSEWHERE and any(_is_run(command) for command in commands(block.text))
]


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN, ids=lambda block: block.place)
def test_a_block_does_what_it_says(
    block: Block, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commands end well one after the other; a gate may also stop."""
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    for variable in ("CLIFFWATCH_LEDGER__URL", "URL"):
        monkeypatch.setenv(variable, f"sqlite:///{tmp_path}/ledger.db")
    for variable in [name for name in os.environ if name.startswith("CLIFFWATCH_KAFKA")]:
        monkeypatch.delenv(variable)

    for command in commands(block.text):
        if _is_run(command):
            code = run_command([_here(word, tmp_path) for argument in command.words[1:] for word in _globbed(argument)])
            allowed = {0, EXIT_PROBLEM} if "--gate" in command.words else {0}
            assert code in allowed, command


def _here(word: str, folder: Path) -> str:
    return os.path.expandvars(word.replace("/tmp/", f"{folder}/"))


def _globbed(word: str) -> list[str]:
    return [str(path) for path in sorted(Path().glob(word))] if "*" in word and not word.startswith("/") else [word]


def test_blocks_are_run() -> None:
    """Here or elsewhere."""
    assert RUN
    assert [] == [place for place in RUN_ELSEWHERE.values() if not (ROOT / place).exists()]
