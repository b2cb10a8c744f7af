"""The command line: a person's words in, an exit code out (0 done, 1 a found problem, 2 usage, 3 out of reach)."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer
from click.exceptions import ClickException
from rich.console import Console

from monitor import __version__
from monitor.config import Config, load_config
from monitor.demo.events import write_demo_events
from monitor.errors import (
    ConfigInvalid,
    DependencyUnreachable,
    LedgerInvalid,
    MonitorError,
    UsageError,
)
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.log import LogFormat, LogLevel, LogSettings, configure
from monitor.metrics.report import replay_json
from monitor.metrics.server import MetricsServer
from monitor.metrics.settings import WebSettings
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.service import Service
from monitor.terminal import print_error, print_rollouts, reading_progress
from monitor.wiring import live_service, replay_service

EXIT_PROBLEM, EXIT_USAGE, EXIT_UNREACHABLE = 1, 2, 3

_MATURE = timedelta(hours=2)
"""Age of the newest demo event when it is fed to a live service: old enough to be judged at once."""

_log = structlog.get_logger()


class OutputFormat(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


app = typer.Typer(
    name="cliffwatch",
    help="Shows what a model rollout did to the hard requests, from live agent traces.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFileOption = Annotated[
    Path | None,
    typer.Option("--config.file", metavar="FILE", help="YAML config; without it, defaults and CLIFFWATCH_* hold."),
]
LogLevelOption = Annotated[
    LogLevel | None, typer.Option("--log.level", help="Lowest level that is logged; overrules the config.")
]
LogFormatOption = Annotated[
    LogFormat | None, typer.Option("--log.format", help="How a log line is written; overrules the config.")
]
OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="How the result is printed.")]
ListenOption = Annotated[
    str | None, typer.Option("--web.listen-address", metavar="HOST:PORT", help="Where to serve page and metrics.")
]


@app.callback()
def _common(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"cliffwatch {__version__}")
        raise typer.Exit


@app.command()
def run(
    config_file: ConfigFileOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
    listen_address: ListenOption = None,
) -> None:
    """
    Run the service: Kafka in, /metrics out.

    Ends cleanly on SIGTERM or Ctrl-C; what was read and not yet recorded is read again at the next start.

    Example: [bold]cliffwatch run --config.file cliffwatch.yaml[/]
    """
    config = load_config(config_file)
    configure(_log_settings(config.log, log_level, log_format))
    stop = _stop_on_signals()
    web = config.web if listen_address is None else _listening_on(listen_address, config.web)
    with live_service(config) as (service, snapshots):
        server = MetricsServer(web, snapshots, _reload(service, config_file))
        server.start()
        _log.info("service.started", version=__version__, url=server.url, topics=",".join(config.kafka.topics))
        try:
            service.run(is_stopping=stop.is_set, wait=stop.wait)
        finally:
            service.unready()
            server.stop()
            _log.info("service.stopped")


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
    configure(_log_settings(config.log, log_level or LogLevel.ERROR, None))
    with replay_service(config, files, ledger_url=ledger, dead_letters=dead_letters) as (service, snapshots):
        _replay(service, config, title="replay")
        _show(snapshots.current, output)
        if serve:
            _serve(config, listen_address, snapshots)


@app.command()
def demo(
    *,
    output: OutputOption = OutputFormat.TABLE,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Only write the events, JSON lines that end 2 h ago."),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Keep page and metrics up afterwards.")] = False,
    listen_address: ListenOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """
    Replay real rollouts that ship with the package: a cliff, an ordinary gain, and a version against itself.

    Example: [bold]cliffwatch demo --serve[/]
    """
    configure(_log_settings(LogSettings(), log_level or LogLevel.ERROR, None))
    if write is not None:
        typer.echo(f"{write}: {_write_demo(write):,} events")
        return
    config = Config()
    with tempfile.TemporaryDirectory(prefix="cliffwatch-demo-") as folder:
        events = Path(folder) / "events.jsonl"
        total = write_demo_events(events)
        with replay_service(config, [str(events)], ledger_url=IN_MEMORY_URL) as (service, snapshots):
            _replay(service, config, title="demo", total=total)
            _show(snapshots.current, output)
            if serve:
                _serve(config, listen_address, snapshots)


@app.command("check-config")
def check_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The YAML config to check.")],
) -> None:
    """
    Say what is wrong with a config, by line; exit 1 if anything is.

    Example: [bold]cliffwatch check-config cliffwatch.yaml[/]
    """
    load_config(file)
    typer.echo(f"{file}: no problem found")


def main() -> None:
    """The console script."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """
    The exit code of `cliffwatch` with *arguments*.

    Errors go to standard error, one sentence each; a traceback only where `--log.level debug` asks for it.
    """
    console = Console(stderr=True)
    try:
        result = app(list(arguments), standalone_mode=False)
    except MonitorError as error:
        return _fail(console, error, arguments)
    except ClickException as error:
        error.show()
        return EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone, as in `cliffwatch ... | head`
        return 0
    return result if isinstance(result, int) else 0


def _fail(console: Console, error: MonitorError, arguments: Sequence[str]) -> int:
    if "debug" in arguments:
        traceback.print_exception(error)
    for sentence in str(error).splitlines():
        print_error(console, sentence)
    if isinstance(error, ConfigInvalid | LedgerInvalid):
        return EXIT_PROBLEM
    if isinstance(error, UsageError):
        return EXIT_USAGE
    return EXIT_UNREACHABLE if isinstance(error, DependencyUnreachable) else EXIT_PROBLEM


def _replay(service: Service, config: Config, *, title: str, total: int | None = None) -> None:
    with reading_progress(Console(stderr=True), title, total=total) as advance:
        service.drain(progress=advance)
    service.settle(seconds=config.rollout.maturity_seconds + 1.0)


def _show(snapshot: Snapshot, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(replay_json(snapshot), indent=2, allow_nan=False))
    else:
        print_rollouts(Console(), snapshot)


def _serve(config: Config, listen_address: str | None, snapshots: SnapshotHolder) -> None:
    web = config.web if listen_address is None else _listening_on(listen_address, config.web)
    server = MetricsServer(web, snapshots, lambda: None)
    server.start()
    typer.echo(f"Serving {server.url} (status page) and {server.url}/metrics until Ctrl-C.", err=True)
    _stop_on_signals().wait()
    server.stop()


def _write_demo(path: Path) -> int:
    try:
        return write_demo_events(path, ends_at=datetime.now(UTC) - _MATURE)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; choose another place.") from error


def _reload(service: Service, config_file: Path | None) -> Callable[[], None]:
    """Reads the config again and takes over what can change while the service runs: the policy and the log level."""

    def reload() -> None:
        config = load_config(config_file)
        configure(config.log)
        service.follow(config.rollout)
        _log.info("config.reloaded")

    return reload


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _log_settings(settings: LogSettings, level: LogLevel | None, form: LogFormat | None) -> LogSettings:
    return LogSettings(level=level or settings.level, format=form or settings.format)


def _listening_on(address: str, web: WebSettings) -> WebSettings:
    return WebSettings(listen_address=address, config_file=web.config_file)
