"""`cliffwatch demo`: real rollouts that ship with the package."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.cli import options
from monitor.cli.app import app, writing
from monitor.cli.replay import drain, serve_until_stopped, show
from monitor.cli.terminal.console import say
from monitor.cli.wiring import file_replay
from monitor.config.model import load_config
from monitor.demo.events import write_demo_events
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.log import LogLevel, LogSettings, configure

_MATURE = timedelta(hours=2)
"""Age of the newest demo event when it is fed to a live service: old enough to be judged at once."""


@app.command()
def demo(
    *,
    output: options.Output = options.OutputFormat.TABLE,
    write: Path | None = None,
    serve: bool = False,
    listen_address: options.ListenAddress = None,
    log_level: options.LogLevel = None,
) -> None:
    """
    Replay real rollouts: a cliff, an ordinary gain, a version against itself, and a regression without references.

    Example: [bold]cliffwatch demo --serve[/]

    Args:
        write (FILE): Only write the events, JSON lines that end 2 h ago.
        serve: Keep page and metrics up afterwards.
    """
    configure(LogSettings(level=log_level or LogLevel.ERROR))
    if write is not None:
        with writing(write):
            total = write_demo_events(write, ends_at=datetime.now(UTC) - _MATURE)
        say(f"{write}: {total:,} events")
        return
    config = load_config()
    with tempfile.TemporaryDirectory(prefix="cliffwatch-demo-") as folder:
        events = Path(folder) / "events.jsonl"
        total = write_demo_events(events)
        with file_replay(config, [str(events)], ledger_url=IN_MEMORY_URL) as replayed:
            drain(replayed, config, title="demo", total=total)
            show(replayed.stages.snapshots.current, output)
            if serve:
                serve_until_stopped(config, listen_address, replayed.stages)
