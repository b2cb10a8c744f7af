from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from monitor.cli import run_command
from monitor.cli.app import whole_app

CLIFFWATCH = str(Path(sys.executable).with_name("cliffwatch"))


def every_command(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = list(every_command(typer.main.get_command(whole_app())))


@pytest.mark.parametrize(("path", "command"), [pytest.param(*pair, id=" ".join(pair[0])) for pair in COMMANDS])
def test_the_help_of_every_command_has_an_example_of_it(path: tuple[str, ...], command: Any) -> None:
    """Something to copy, which names the command itself."""
    assert f"Example: [bold]cliffwatch {' '.join(path)}" in command.help


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        pytest.param(["verdikt"], "verdict", id="a command"),
        pytest.param(["rollouts", "strat"], "start", id="a command of a group"),
        pytest.param(["tail", "--tierr", "hard"], "--tier", id="an option"),
        pytest.param(["tail", "--tier", "hrd"], "hard", id="a word of a closed set"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and the right word."""
    assert 2 == run_command(arguments)

    assert meant in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        pytest.param("bash", {"COMP_WORDS": "cliffwatch ver", "COMP_CWORD": "1"}, id="bash"),
        pytest.param("zsh", {"_TYPER_COMPLETE_ARGS": "cliffwatch ver"}, id="zsh"),
        pytest.param(
            "fish", {"_TYPER_COMPLETE_ARGS": "cliffwatch ver", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}, id="fish"
        ),
    ],
)
def test_tab_completes_a_command(shell: str, variables: dict[str, str]) -> None:
    """As the script of that shell asks for it."""
    environment = {"PATH": os.environ["PATH"], "_CLIFFWATCH_COMPLETE": f"complete_{shell}", **variables}

    done = subprocess.run([CLIFFWATCH], env=environment, capture_output=True, text=True, check=False)

    assert "verdict" in done.stdout
    assert "replay" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str) -> None:
    """It names the program and the variable that it asks by."""
    environment = {"PATH": os.environ["PATH"], "_CLIFFWATCH_COMPLETE": f"source_{shell}"}

    done = subprocess.run([CLIFFWATCH], env=environment, capture_output=True, text=True, check=False)

    assert "_CLIFFWATCH_COMPLETE" in done.stdout
    assert f"complete_{shell}" in done.stdout
