"""What all commands share: the app, its options, and how an error becomes one sentence and an exit code."""

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
_MOST_YOUNG = 50_000  # more than a batch of records keeps alive, whatever its records hold

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
"""Commands and groups of commands, as a newcomer meets them, with the module of each."""


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
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does with what it has no letter for
    # A fit is too small for many threads: they wait for each other at full load. NumPy asks when it is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Modules live as long as the process: to look for garbage in them again and again was a tenth of a start.
    gc.disable()
    _load(arguments)
    gc.freeze()
    gc.enable()
    sys.exit(run_command(arguments))


def collect_rarely() -> None:
    """
    Look for cycles after some batches, not dozens of times within each; call it once, before records are read.

    A batch lives for a moment and holds no cycles: counting references frees all of it. With Python's own threshold of
    700 objects a quarter of a record's time went into walking batches that were still in use, and all modules with
    them. Those are left out for good (`gc.freeze`). Cycles from elsewhere are still found, only later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MOST_YOUNG, 10, 10)


def run_command(arguments: Sequence[str]) -> int:
    """
    The exit code of `cliffwatch` with *arguments*.

    Errors go to standard error, one sentence each; a traceback only where `--log.level debug` asks for it.
    """
    console = Console(stderr=True)
    _load(arguments)
    try:
        app(list(arguments))
    except MonitorError as error:
        return _fail(console, error, arguments)
    except OSError as error:  # where a file was named, its name has been said already
        full = DependencyUnreachable(f"The output cannot be written ({error.strerror or error}): send it elsewhere.")
        return _fail(console, full, arguments)
    except SystemExit as end:  # how Typer reports usage errors, and ends in general
        return end.code if isinstance(end.code, int) else 0
    return 0


def whole_app() -> typer.Typer:
    """`app` with every command."""
    _load(())
    return app


def _load(arguments: Sequence[str]) -> None:
    """
    Add to `app` the command that *arguments* ask for, or all for help, completion and mistyped names.

    Each has imports of its own, so only those asked for are loaded.
    """
    first = next(iter(arguments), "")
    if first != "--version":
        for name in (first,) if first in COMMANDS else COMMANDS:
            import_module(f"monitor.cli.{COMMANDS[name]}")


def _fail(console: Console, error: MonitorError, arguments: Sequence[str]) -> int:
    if "debug" in arguments:
        traceback.print_exception(error)
    for sentence in str(error).splitlines():
        is_long = len(sentence) > 2 * _HALF_SENTENCE  # it repeats what it read; how it ends says what to do
        print_error(console, f"{sentence[:_HALF_SENTENCE]} … {sentence[-_HALF_SENTENCE:]}" if is_long else sentence)
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_UNREACHABLE if isinstance(error, DependencyUnreachable) else EXIT_PROBLEM


def web_settings(web: WebSettings, listen_address: str | None) -> WebSettings:
    """*web*, overruled by what was typed."""
    return web if listen_address is None else web.model_copy(update={"listen_address": listen_address})


def print_result(output: OutputFormat, value: object, in_words: Callable[..., None], *shown: object) -> None:
    """*value* as JSON, or what *in_words* makes of *shown* (without it, of *value*) on a console."""
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(plain(value), indent=2, allow_nan=False))
    else:
        in_words(Console(), *(shown or (value,)))


def writing(path: Path, *, instead: str = "another place") -> AbstractContextManager[None]:
    """
    While a file is written that a person named.

    Raises:
        UsageError: the file at *path* cannot be written.
    """
    return os_errors(UsageError, f"{path.absolute()} cannot be written", f"choose {instead}.")
