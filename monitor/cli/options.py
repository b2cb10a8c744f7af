"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from monitor import log


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
