"""`cliffwatch replay`: the same pipeline over files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from monitor.cli.app import (
    ConfigFileOption,
    ListenOption,
    LogLevelOption,
    OutputFormat,
    OutputOption,
    app,
    log_settings,
    web_settings,
)
from monitor.cli.signals import stop_on_signals
from monitor.config import Config, load_config
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.log import LogLevel, configure
from monitor.metrics.report import replay_json
from monitor.metrics.server import MetricsServer
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.service import Service
from monitor.terminal import print_rollouts, reading_progress
from monitor.wiring import replay_service


@app.command()
def replay(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="JSON lines, plain, .gz or .zst; - is stdin.")],
    *,
    config_file: ConfigFileOption = None,
    output: OutputOption = OutputFormat.TABLE,
    ledger: Annotated[
        str, typer.Option("--ledger", metavar="URL", help="Ledger to write to; without it, one in memory.")
    ] = IN_MEMORY_URL,
    dead_letters: Annotated[
        Path | None, typer.Option("--dead-letters", metavar="FILE", help="Write records that say nothing here.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Keep page and metrics up afterwards.")] = False,
    listen_address: ListenOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """
    Run the same pipeline over files, with event time for clock, and print what it found.

    Example: [bold]cliffwatch replay traces.jsonl.gz --output json[/]
    """
    config = load_config(config_file)
    configure(log_settings(config.log, log_level or LogLevel.ERROR))
    with replay_service(config, files, ledger_url=ledger, dead_letters=dead_letters) as (service, snapshots):
        drain(service, config, title="replay")
        show(snapshots.current, output)
        if serve:
            serve_until_stopped(config, listen_address, snapshots)


def drain(service: Service, config: Config, *, title: str, total: int | None = None) -> None:
    """Read everything with a progress bar, then let what it holds be judged as if its labels had matured."""
    with reading_progress(Console(stderr=True), title, total=total) as advance:
        service.drain(progress=advance)
    service.settle(seconds=config.rollout.maturity_seconds + 1.0)


def show(snapshot: Snapshot, output: OutputFormat) -> None:
    """Print what a replay found."""
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(replay_json(snapshot), indent=2, allow_nan=False))
    else:
        print_rollouts(Console(), snapshot)


def serve_until_stopped(config: Config, listen_address: str | None, snapshots: SnapshotHolder) -> None:
    """Keep the status page and the metrics up until somebody asks the process to end."""
    server = MetricsServer(web_settings(config.web, listen_address), snapshots, lambda: None)
    server.start()
    typer.echo(f"Serving {server.url} (status page) and {server.url}/metrics until Ctrl-C.", err=True)
    stop_on_signals().wait()
    server.stop()
