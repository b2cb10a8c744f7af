"""Options that several commands have, one by one and as sets that a command takes as one parameter."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer

from monitor import log
from monitor.config.model import Config, load_config

_Command = TypeVar("_Command", bound=Callable[..., Any])


class OutputFormat(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


LogLevel = Annotated[
    log.LogLevel | None, typer.Option("--log.level", help="Lowest level to log; overrides the config.")
]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="Format of the result.")]
ListenAddress = Annotated[
    str | None, typer.Option("--web.listen-address", metavar="HOST:PORT", help="Address of status page and /metrics.")
]


@dataclass(frozen=True)
class Common:
    """
    The options of every command that reads the config.

    Attributes:
        config_file (--config.file FILE): YAML config; by default, only defaults and CLIFFWATCH_* apply.
    """

    config_file: Path | None = None
    log_level: LogLevel = None

    def config(self) -> Config:
        """
        The checked config; only errors are logged, unless asked for more.

        Raises:
            ConfigInvalid: with a line for every problem.
        """
        config = load_config(self.config_file)
        log.configure(log.LogSettings(level=self.log_level or log.LogLevel.ERROR, format=config.log.format))
        if self.log_level is None:  # the client's own complaints come back as one sentence of ours
            logging.getLogger("kafka").setLevel(logging.CRITICAL)
        return config


@dataclass(frozen=True)
class WithLedger(Common):
    """
    Those of a command that reads the ledger.

    Attributes:
        ledger (URL): The ledger; by default, the one in the config.
    """

    ledger: str | None = None


@dataclass(frozen=True)
class Shared(WithLedger):
    """Those of a command that reads the ledger and prints a result."""

    output: Output = OutputFormat.TABLE


class Commands(typer.Typer):
    """
    A Typer app that reads the options of a command off its signature and docstring.

    What can be named by its place is an argument, what follows `*` is an option. `Args:` of the docstring has the help
    of each, in parentheses what to type where that is not the parameter's name, and what its value is called. A
    parameter whose type is a dataclass stands for a set of options, which `Attributes:` of that class describes.
    """

    def group(self, name: str, meaning: str, *, needs_command: bool = True) -> Commands:
        """A group of commands of ours, with *meaning* for its help."""
        found = Commands(help=meaning, no_args_is_help=needs_command)
        self.add_typer(found, name=name)
        return found

    def command(self, name: str | None = None, **given: Any) -> Callable[[_Command], _Command]:
        register = super().command(name, **given)
        return lambda command: register(_as_typer_reads(command))

    def callback(self, **given: Any) -> Callable[[_Command], _Command]:
        register = super().callback(**given)
        return lambda command: register(_as_typer_reads(command))


_SECTION = re.compile(r"\n*(?:Args|Attributes):\n((?: {4}.*\n?)+)")
_BREAK = re.compile(r"(?<=\S)\n(?=\S)")  # of a line inside a paragraph: the terminal wraps anew
_ENTRY = re.compile(r"(?m)^ {4}(\w+)(?: \((.*?)\))?: (.*(?:\n {8}.*)*)")


def _as_typer_reads(command: Callable[..., Any]) -> Any:
    taken = inspect.signature(command, eval_str=True).parameters
    sets: dict[str, Any] = {each.name: each.annotation for each in taken.values() if is_dataclass(each.annotation)}
    fields = {name: _options(kind, inspect.signature(kind, eval_str=True).parameters) for name, kind in sets.items()}
    own = _options(command, taken)
    shown = [each for name in taken for each in fields.get(name, {name: own[name]}).values()]
    shown.sort(key=lambda each: each.name == "log_level" and bool(sets))  # the one of a set comes last

    @wraps(command)
    def call(**typed: Any) -> Any:
        made = {name: kind(**{field: typed.pop(field) for field in fields[name]}) for name, kind in sets.items()}
        return command(**typed, **made)

    call.__doc__ = _BREAK.sub(" ", _SECTION.sub("", inspect.getdoc(command) or ""))
    call.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    return call


def _options(described: Callable[..., Any], taken: Mapping[str, inspect.Parameter]) -> Mapping[str, inspect.Parameter]:
    """What was *taken*, each with what the docstring of *described* says of it, by name."""
    is_set = is_dataclass(described)
    owners = getattr(described, "__mro__", (described,))
    sections = [section for owner in owners for section in _SECTION.findall(inspect.getdoc(owner) or "")]
    entries = {name: entry for section in sections for name, *entry in _ENTRY.findall(section)}
    return {
        name: _option(each, *entries[name], is_option=is_set or each.kind is inspect.Parameter.KEYWORD_ONLY)
        if name in entries
        else each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in taken.items()
    }


def _option(taken: inspect.Parameter, how: str, text: str, *, is_option: bool) -> inspect.Parameter:
    names = [word for word in how.split() if word.startswith("-")]
    kind, *limits = get_args(taken.annotation) if get_origin(taken.annotation) is Annotated else (taken.annotation,)
    info = limits[0] if limits else typer.Option() if is_option else typer.Argument()
    info.help = " ".join(text.split())
    info.metavar = next((word for word in how.split() if word not in names), None)
    if is_option:
        info.param_decls = names or [f"--{taken.name.replace('_', '-')}"]
    return taken.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info])
