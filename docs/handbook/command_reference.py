"""The reference of the command line, from the Typer app itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from docs.handbook.tables import code, table
from monitor.cli.app import EXIT_PROBLEM, EXIT_UNREACHABLE, EXIT_USAGE, whole_app

PROGRAM = "cliffwatch"

EXIT_CODES = {
    0: "done; of a gate: nothing stops",
    EXIT_PROBLEM: "a problem was found: a config that cannot be used, a gate that stops, a ledger that cannot be read, "
    "input without one readable record",
    EXIT_USAGE: "the command was typed wrongly, or names something that is not there",
    EXIT_UNREACHABLE: "a dependency (broker, database, file) is out of reach",
}

_HEAD = """# Commands

`cliffwatch COMMAND --help` prints the same, with an example.
Results go to standard output. Errors go to standard error, one sentence each, with what to do next; `--log.level debug` adds a traceback.

"""

_BOLD = re.compile(r"\[bold\](.*?)\[/(?:bold)?\]")


def page() -> str:
    """The page, in Markdown."""
    codes = table(("exit code", "meaning"), [(str(number), meaning) for number, meaning in EXIT_CODES.items()])
    root = typer.main.get_command(whole_app())
    return f"{_HEAD}## Exit codes\n\n{codes}\n" + "\n".join(_command(path, command) for path, command in commands(root))


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below *command* that a person can run, with its words."""
    for name, below in getattr(command, "commands", {}).items():
        if getattr(below, "commands", None):
            yield from commands(below, (*path, name))
        elif not below.hidden:
            yield (*path, name), below


def _command(path: tuple[str, ...], command: Any) -> str:
    context = command.make_context(" ".join((PROGRAM, *path)), [], resilient_parsing=True)
    records = [(each, each.get_help_record(context)) for each in command.get_params(context)]
    arguments = [record for each, record in records if record and each.param_type_name == "argument"]
    options = [record for each, record in records if record and each.param_type_name == "option"]
    usage = " ".join([PROGRAM, *path, *command.collect_usage_pieces(context)])
    return (
        f"## {' '.join(path)}\n\n{_text(command.help or '')}\n\n```text\n{usage}\n```\n\n"
        + _table("argument", arguments)
        + _table("option", options)
    )


def _table(what: str, records: list[tuple[str, str]]) -> str:
    return table((what, "meaning"), [(code(name), _text(text)) for name, text in records]) + "\n" if records else ""


def _text(text: str) -> str:
    """Rich's markup as Markdown."""
    return _BOLD.sub(r"`\1`", text).replace("\\[", "[").strip()
