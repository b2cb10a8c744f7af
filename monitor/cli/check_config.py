"""`cliffwatch check-config`."""

from __future__ import annotations

from pathlib import Path

from monitor.cli.app import app
from monitor.cli.terminal.console import say
from monitor.config.model import load_config


@app.command("check-config")
def check_config(file: Path) -> None:
    """
    Say what is wrong with a config, by line; exit 1 if anything is.

    Example: [bold]cliffwatch check-config cliffwatch.yaml[/]

    Args:
        file (FILE): The YAML config to check.
    """
    load_config(file)
    say(f"{file}: no problem found")
