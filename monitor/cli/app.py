"""The app that all commands register with, and the translation of errors into one sentence and an exit code."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from monitor import __version__
from monitor.cli.options import Commands, OutputFormat
from monitor.cli.terminal.console import Console
from monitor.cli.terminal.rollouts import print_error
from monitor.errors import DependencyUnreachable, MonitorError, UsageError, os_errors
from monitor.output.plain import plain
from monitor.web.settings import WebSettings

EXIT_PROBLEM, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 3

_HALF_SENTENCE = 1_000  # characters
_YOUNG_OBJECTS = 50_000  # threshold of the garbage collector: more objects than any batch of records keeps alive

COMMANDS = {
    "demo": "replay",
    "init": "init",
    "doctor": "doctor",
    "run": "run",
    "check-config": "init",
    "verdict": "rollouts",
    "rollouts": "rollouts",
    "cases": "cases",
    "labels": "cases",
    "tail": "tail",
    "report": "report",
    "replay": "replay",
    "calibrate": "calibrations",
    "calibrations": "calibrations",
    "probes": "probes",
    "frontier": "frontier",
    "ledger": "ledger",
}
"""Commands and groups of commands in the order of the help, with the module of each."""


app = Commands(
    name="cliffwatch",
    help="Show what a model rollout did to hard requests, from live agent traces.",
    epilog="First steps: `demo` shows a verdict; `init`, `doctor` and `run` connect your Kafka.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cliffwatch {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before any command."""


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error handles unsupported characters
    # Our fits are too small for several threads, which would spin while they wait. NumPy reads this when imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Modules live as long as the process: searching them for garbage takes a tenth of the start.
    gc.disable()
    _load(arguments)
    gc.freeze()
    gc.enable()
    sys.exit(run_command(arguments))


def collect_rarely() -> None:
    """
    Collect garbage once every few batches, not dozens of times within each; call it once, before records are read.

    A batch has no reference cycles, so reference counting frees all of it. With Python's default threshold of 700
    objects, a quarter of the time per record went into traversing live batches and all modules. Modules are excluded
    (`gc.freeze`); cycles from elsewhere are still collected, only later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


def run_command(arguments: Sequence[str]) -> int:
    """
    Run `cliffwatch` with *arguments*; returns the exit code.

    Errors go to standard error, one sentence each, with a traceback only if the log level is `debug`.
    """
    console = Console(stderr=True)
    _load(arguments)
    try:
        app(list(arguments))
    except MonitorError as error:
        return _fail(console, error, arguments)
    except OSError as error:  # standard output: errors with a named file have been translated already
        full = DependencyUnreachable(f"The output cannot be written ({error.strerror or error}): send it elsewhere.")
        return _fail(console, full, arguments)
    except SystemExit as end:  # Typer always ends with it
        return end.code if isinstance(end.code, int) else 0
    return 0


def whole_app() -> typer.Typer:
    """`app` with every command."""
    _load(())
    return app


def _load(arguments: Sequence[str]) -> None:
    """
    Add the requested command to `app`; for help, completion and mistyped names, add all.

    Importing only the requested command makes the start faster.
    """
    first = next(iter(arguments), "")
    if first != "--version":
        for name in (first,) if first in COMMANDS else COMMANDS:
            import_module(f"monitor.cli.{COMMANDS[name]}")


def _fail(console: Console, error: MonitorError, arguments: Sequence[str]) -> int:
    if "debug" in arguments:
        traceback.print_exception(error)
    for sentence in str(error).splitlines():
        is_long = len(sentence) > 2 * _HALF_SENTENCE  # it quotes its input; keep the end, which says what to do
        print_error(console, f"{sentence[:_HALF_SENTENCE]} … {sentence[-_HALF_SENTENCE:]}" if is_long else sentence)
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_UNREACHABLE if isinstance(error, DependencyUnreachable) else EXIT_PROBLEM


def web_settings(web: WebSettings, listen_address: str | None) -> WebSettings:
    """*web* with the address from the command line, if there is one."""
    return web if listen_address is None else web.model_copy(update={"listen_address": listen_address})


def print_result(output: OutputFormat, value: object, in_words: Callable[..., None], *shown: object) -> None:
    """Print *value* as JSON, or call *in_words* with a console and *shown* (by default *value*)."""
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(plain(value), indent=2, allow_nan=False))
    else:
        in_words(Console(), *(shown or (value,)))


def writing(path: Path, *, instead: str = "another place") -> AbstractContextManager[None]:
    """
    Translate errors on writing the file at *path*, which the user named.

    Raises:
        UsageError: the file cannot be written.
    """
    return os_errors(UsageError, f"{path.absolute()} cannot be written", f"choose {instead}.")
