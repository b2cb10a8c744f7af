"""Options that several commands share, and the app that reads options from signatures and docstrings."""

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
        if self.log_level is None:  # errors of the Kafka client are translated and shown as one sentence
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
    A Typer app that takes the options of a command from its signature and docstring.

    Positional parameters are arguments, keyword-only ones (after `*`) are options. `Args:` in the docstring has their
    help; in parentheses, the option's name if it differs from the parameter's, and the name of its value. A parameter
    whose type is a dataclass is a set of options, described under `Attributes:` of that class.
    """

    def group(self, name: str, meaning: str, *, needs_command: bool = True) -> Commands:
        """Add a group of commands; *meaning* is its help."""
        group = Commands(help=meaning, no_args_is_help=needs_command)
        self.add_typer(group, name=name)
        return group

    def command(self, name: str | None = None, **given: Any) -> Callable[[_Command], _Command]:
        register = super().command(name, **given)
        return lambda command: register(_as_typer_reads(command))

    def callback(self, **given: Any) -> Callable[[_Command], _Command]:
        register = super().callback(**given)
        return lambda command: register(_as_typer_reads(command))


_SECTION = re.compile(r"\n*(?:Args|Attributes):\n((?: {4}.*\n?)+)")
_BREAK = re.compile(r"(?<=\S)\n(?=\S)")  # line break inside a paragraph, which the terminal wraps itself
_ENTRY = re.compile(r"(?m)^ {4}(\w+)(?: \((.*?)\))?: (.*(?:\n {8}.*)*)")


def _as_typer_reads(command: Callable[..., Any]) -> Any:
    parameters = inspect.signature(command, eval_str=True).parameters
    sets: dict[str, Any] = {p.name: p.annotation for p in parameters.values() if is_dataclass(p.annotation)}
    fields = {name: _options(kind, inspect.signature(kind, eval_str=True).parameters) for name, kind in sets.items()}
    single = _options(command, parameters)
    flattened = [option for name in parameters for option in fields.get(name, {name: single[name]}).values()]
    flattened.sort(key=lambda option: option.name == "log_level" and bool(sets))  # the shared one comes last

    @wraps(command)
    def call(**values: Any) -> Any:
        built = {name: kind(**{field: values.pop(field) for field in fields[name]}) for name, kind in sets.items()}
        return command(**values, **built)

    call.__doc__ = _BREAK.sub(" ", _SECTION.sub("", inspect.getdoc(command) or ""))
    call.__signature__ = inspect.Signature(flattened)  # type: ignore[attr-defined]
    return call


def _options(owner: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> Mapping[str, inspect.Parameter]:
    """The *parameters* by name, with the help from the docstring of *owner*, a command or a set of options."""
    is_set = is_dataclass(owner)
    owners = getattr(owner, "__mro__", (owner,))
    sections = [section for each in owners for section in _SECTION.findall(inspect.getdoc(each) or "")]
    entries = {name: entry for section in sections for name, *entry in _ENTRY.findall(section)}
    return {
        name: _option(parameter, *entries[name], is_option=is_set or parameter.kind is inspect.Parameter.KEYWORD_ONLY)
        if name in entries
        else parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
    }


def _option(parameter: inspect.Parameter, usage: str, text: str, *, is_option: bool) -> inspect.Parameter:
    names, annotation = [word for word in usage.split() if word.startswith("-")], parameter.annotation
    kind, *infos = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    info = infos[0] if infos else typer.Option() if is_option else typer.Argument()
    info.help = " ".join(text.split())
    info.metavar = next((word for word in usage.split() if word not in names), None)
    if is_option:
        info.param_decls = names or [f"--{parameter.name.replace('_', '-')}"]
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info])
