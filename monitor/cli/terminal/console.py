"""Where everything is printed: names and texts of tenants can neither steer a terminal nor command a CI runner."""

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
"""What stands for a figure that is not known."""

INDENT = (0, 0, 0, 2)
"""Room around what stands below a line that it belongs to."""

# Runners obey these in whatever a step prints: GitHub at the start of a line, it and others anywhere in one.
_COMMAND = re.compile(r"(?m)(^\s*)(?=::[A-Za-z])|(#)(?=#(?:\[|vso\[|teamcity\[))")


class Console(rich.console.Console):
    """A console that shows what it is given, and nothing more."""

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
    Says on standard error *what* takes its time, and what it does meanwhile.

    That is a spinner, or off a terminal lines: one at most in *every_seconds*.
    """
    console, clock, shown_at = Console(stderr=True), WallClock(), -math.inf
    if console.is_terminal:
        with console.status(what) as status:
            yield status.update
        return

    def show(said: str) -> None:
        nonlocal shown_at
        if clock.monotonic() - shown_at >= every_seconds:
            shown_at = clock.monotonic()
            print_line(console, f"{said} ...")

    show(what)
    yield show


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print *text* as it is, but for what would be more than text."""
    typer.echo(harmless(text), err=err, nl=nl)
