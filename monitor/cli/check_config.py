"""`cliffwatch check-config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.app import app
from monitor.cli.terminal.console import say
from monitor.config.model import load_config


@app.command("check-config")
def check_config(file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML config to check.")]) -> None:
    """
    Say what is wrong with a config, by line; exit 1 if anything is.

    Example: [bold]cliffwatch check-config cliffwatch.yaml[/]
    """
    load_config(file)
    say(f"{file}: no problem found")
