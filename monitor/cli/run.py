"""`cliffwatch run`: the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from monitor import __version__
from monitor.cli import options
from monitor.cli.app import app, collect_rarely, web_settings
from monitor.cli.signals import stop_on_signals, when_stopping
from monitor.cli.wiring import live_service, rollout_control_of
from monitor.config.model import Config, load_config
from monitor.config.settings import Settings
from monitor.log import LogFormat, LogSettings, configure
from monitor.service.review import Reviewer
from monitor.web.server import MetricsServer

_log = structlog.get_logger()
_RELOADED = ("log.", "rollout.")


@app.command()
def run(
    *,
    config_file: Path | None = None,
    log_level: options.LogLevel = None,
    log_format: LogFormat | None = None,
    listen_address: options.ListenAddress = None,
) -> None:
    """
    Run the service: read Kafka and serve /metrics.

    On SIGTERM or Ctrl-C it becomes unready at once, records the current batch, leaves the group and exits.
    A second signal ends it at once; at the next start it reads unrecorded records again.

    Example: [bold]cliffwatch run --config.file cliffwatch.yaml[/]

    Args:
        config_file (--config.file FILE): YAML config; by default, only defaults and CLIFFWATCH_* apply.
        log_format (--log.format): Format of log lines; overrides the config.
    """
    config = load_config(config_file)
    configure(LogSettings(level=log_level or config.log.level, format=log_format or config.log.format))
    stop = stop_on_signals()
    with live_service(config) as service:
        stages = service.stages
        web, reload = web_settings(config.web, listen_address), reloader(stages.reviewer, config_file, config)
        control = rollout_control_of(config, stages.ledger, policy=lambda: stages.reviewer.policy)
        server = MetricsServer(web, stages.snapshots, reload, control, stall_reason=service.stall_reason)
        service.begin()
        server.start()
        when_stopping(stop, service.begin_shutdown, grace_seconds=config.service.grace_seconds)
        _log.info("service.started", version=__version__, url=server.url, topics=",".join(config.kafka.topics))
        collect_rarely()
        try:
            service.run(is_stopping=stop.is_set, wait=stop.wait)
        finally:
            server.stop()
            _log.info("service.stopped")


def reloader(reviewer: Reviewer, config_file: Path | None, running: Config) -> Callable[[], str]:
    """
    Build the function that reloads the config and applies what can change at runtime: the policy and the log level.

    Args:
        reviewer: Gets the new policy.
        config_file: The config to read.
        running: The config with which the service was started.

    Returns:
        A function that returns the keys that it applied, and those that differ from *running* and need a restart.
    """
    in_force = running

    def reload() -> str:
        nonlocal in_force
        config = load_config(config_file)
        configure(config.log)
        reviewer.policy = config.rollout
        taken = [key for key in _changed_keys(in_force, config) if key.startswith(_RELOADED)]
        waiting = [key for key in _changed_keys(running, config) if not key.startswith(_RELOADED)]
        in_force = config
        _log.info("config.reloaded", taken=",".join(taken), needs_restart=",".join(waiting))
        took = f"took {', '.join(taken)}" if taken else "nothing new"
        restart = f"restart to take {', '.join(waiting)}" if waiting else "no restart needed"
        return f"reloaded: {took}; {restart}"

    return reload


def _changed_keys(before: Settings, after: Settings, section: str = "") -> Iterator[str]:
    """Dotted names of the keys whose values differ; both settings have the same type."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, Settings):
            yield from _changed_keys(old, new, f"{section}{name}.")
        elif old != new:
            yield section + name
