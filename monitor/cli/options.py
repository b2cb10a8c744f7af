"""Options that several commands have, one by one and as sets that a command takes as one parameter."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from monitor import log
from monitor.config.model import Config, load_config

_Command = TypeVar("_Command", bound=Callable[..., Any])


class OutputFormat(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


ConfigFile = Annotated[
    Path | None,
    typer.Option("--config.file", metavar="FILE", help="YAML config; without it, defaults and CLIFFWATCH_* hold."),
]
LogLevel = Annotated[
    log.LogLevel | None, typer.Option("--log.level", help="Lowest level that is logged; overrules the config.")
]
LogFormat = Annotated[
    log.LogFormat | None, typer.Option("--log.format", help="How a log line is written; overrules the config.")
]
Ledger = Annotated[
    str | None, typer.Option("--ledger", metavar="URL", help="The ledger; without it, the one that the config names.")
]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How the result is printed.")]
ListenAddress = Annotated[
    str | None, typer.Option("--web.listen-address", metavar="HOST:PORT", help="Where to serve page and metrics.")
]


@dataclass(frozen=True)
class Common:
    """The options of every command that reads the config."""

    config_file: ConfigFile = None
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
    """Those of a command that reads the ledger."""

    ledger: Ledger = None


@dataclass(frozen=True)
class Shared(WithLedger):
    """Those of a command that reads the ledger and prints a result."""

    output: Output = OutputFormat.TABLE


class Commands(typer.Typer):
    """A Typer app whose commands may take a set of options: a parameter whose type is a dataclass of them."""

    def command(self, name: str | None = None, **given: Any) -> Callable[[_Command], _Command]:
        register = super().command(name, **given)
        return lambda command: register(_one_by_one(command))

    def callback(self, **given: Any) -> Callable[[_Command], _Command]:
        register = super().callback(**given)
        return lambda command: register(_one_by_one(command))


def _one_by_one(command: Callable[..., Any]) -> Any:
    """*command* with an option for every field of its sets, as Typer reads them; the log level comes last."""
    signature = inspect.signature(command, eval_str=True)
    taken = signature.parameters.values()
    sets: dict[str, Any] = {each.name: each.annotation for each in taken if is_dataclass(each.annotation)}
    fields = {name: inspect.signature(kind, eval_str=True).parameters for name, kind in sets.items()}
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)  # as Typer calls it
        for each in taken
        for parameter in fields.get(each.name, {each.name: each}).values()
    ]
    parameters.sort(key=lambda each: each.name == "log_level")

    @wraps(command)
    def call(**typed: Any) -> Any:
        made = {name: kind(**{field: typed.pop(field) for field in fields[name]}) for name, kind in sets.items()}
        return command(**typed, **made)

    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call
