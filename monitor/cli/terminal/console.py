"""Prints to the terminal; texts from traces cannot control the terminal or issue commands to a CI runner."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import rich.console
import typer
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from monitor.clock import WallClock
from monitor.log import printable

UNKNOWN = "-"
"""Shown for an unknown number."""

INDENT = (0, 0, 0, 2)
"""Padding of details below their heading."""

# Commands that CI runners execute when a step prints them: GitHub's at the start of a line, others anywhere.
_COMMAND = re.compile(r"(?m)(^\s*)(?=::[A-Za-z])|(#)(?=#(?:\[|vso\[|teamcity\[))")


class Console(rich.console.Console):
    """A console that makes every text harmless (see `harmless`)."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=harmless(segment.text))


def harmless(text: str) -> str:
    r"""
    *text* without control characters and without commands to a CI runner.

    >>> harmless("::error::all is lost"), harmless("a::b \x9b31m")
    ('\\\\::error::all is lost', 'a::b \\\\x9b31m')
    """
    return _COMMAND.sub(r"\g<0>\\", printable(text))


def print_line(console: rich.console.Console, line: str) -> None:
    """Print *line* as it is, on one line however narrow the terminal."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def waiting(what: str, *, every_seconds: float = 0.0) -> Iterator[Callable[[str], None]]:
    """
    Show *what* is under way on standard error, and the steps that the caller reports.

    On a terminal this is a spinner, elsewhere at most one line per *every_seconds*.
    """
    console, clock, shown_at = Console(stderr=True), WallClock(), -math.inf
    if console.is_terminal:
        with console.status(what) as status:
            yield status.update
        return

    def show(text: str) -> None:
        nonlocal shown_at
        if clock.monotonic() - shown_at >= every_seconds:
            shown_at = clock.monotonic()
            print_line(console, f"{text} ...")

    show(what)
    yield show


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print *text*, made harmless."""
    typer.echo(harmless(text), err=err, nl=nl)
