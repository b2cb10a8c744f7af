"""`cliffwatch tail`: requests with their tier, as they come."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import typer

from monitor.cli import options
from monitor.cli.app import app
from monitor.cli.signals import stop_on_signals
from monitor.cli.terminal.console import Console, say
from monitor.cli.terminal.tail import RequestTable, request_json
from monitor.cli.wiring import existing_ledger, reviewer_of
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.tiers import Tier
from monitor.errors import DependencyUnreachable, LedgerInvalid, UsageError
from monitor.ingest.file import file_records
from monitor.ingest.kafka_reader import KafkaReader
from monitor.service.pipeline import DecodeRules
from monitor.service.tail import SeenRequest, Watch

_POLL_SECONDS = 0.5
_QUIET_SECONDS = 2.0
"""Silence after which a trace is shown: shorter than the ledger's, because nothing is counted here."""
_CALIBRATION_SECONDS = 15.0

Calibrated = Callable[[], Calibration | None]


@dataclass(frozen=True)
class Wanted:
    """
    Which requests are shown; what is empty lets everything pass.

    Attributes:
        service (NAME): Only this service.
        version (VERSION): Only this model version.
        tier: Only this tier; may be repeated.
        failures: Only requests that failed.
    """

    service: str = ""
    version: str = ""
    tier: list[Tier] | None = None
    failures: bool = False

    def admits(self, seen: SeenRequest) -> bool:
        """Whether *seen* is one of them."""
        trace = seen.trace
        return (
            self.service in {"", trace.service}
            and self.version in {"", trace.model_version}
            and (not self.tier or seen.tag.tier in self.tier)
            and (not self.failures or (seen.outcome is not None and not seen.outcome.success))
        )


@app.command()
def tail(
    files: list[str] | None = None, *, from_beginning: bool = False, wanted: Wanted, shared: options.Shared
) -> None:
    """
    Show requests with their tier as they come, one line each, until Ctrl-C.

    Joins no group, moves no offset and writes nothing. A trace is shown two seconds after its root ended; a verdict
    that comes later repeats its line, with a plus before the outcome. Tiers are those you declare, else those of
    the calibration in force.

    Example: [bold]cliffwatch tail --tier hard --tier frontier --failures[/]

    Args:
        files (FILE...): Read files instead of Kafka, whole; - is stdin.
        from_beginning: Begin with the oldest records of the topics, not with new ones.
    """
    if files and from_beginning:
        raise UsageError("Files are read whole anyway; leave out --from-beginning.")
    config = shared.config()
    stop = stop_on_signals()
    show = _print_json if shared.output is options.OutputFormat.JSON else RequestTable(Console()).print
    quiet_seconds = config.traces.assembly.quiet_seconds if files else _QUIET_SECONDS
    watch = Watch(DecodeRules(config.limits, config.traces), quiet_seconds=quiet_seconds)
    with _calibrated(config, shared.ledger) as calibration:
        seen = (
            _of_files(files, config, watch, calibration)
            if files
            else _of_kafka(config, watch, calibration, stop, from_beginning)
        )
        for request in seen:
            if stop.is_set():
                break
            if wanted.admits(request):
                show(request)
    if watch.unreadable:
        say(f"{watch.unreadable:,} records could not be read; `cliffwatch doctor` says why.", err=True)


def _print_json(seen: SeenRequest) -> None:
    typer.echo(json.dumps(request_json(seen), allow_nan=False))


def _of_files(files: Sequence[str], config: Config, watch: Watch, calibration: Calibrated) -> Iterator[SeenRequest]:
    """What *files* hold; their time is that of their events."""
    for record in file_records(files, max_record_bytes=config.limits.max_record_bytes):
        yield from watch.see([record], calibration(), now=watch.event_time)
        yield from watch.due(calibration(), now=watch.event_time)
    yield from watch.rest(calibration())


def _of_kafka(
    config: Config, watch: Watch, calibration: Calibrated, stop: threading.Event, from_beginning: bool
) -> Iterator[SeenRequest]:
    topics, where, clock = config.kafka.topics, config.kafka.bootstrap_servers, WallClock()
    with closing(KafkaReader(config.kafka)) as reader:
        reader.follow(topics, from_beginning=from_beginning)
        begin = "their beginning" if from_beginning else "now"
        say(f"Reading {' and '.join(topics)} on {where} from {begin} on; Ctrl-C ends.", err=True)
        while not stop.is_set():
            records = sorted(reader.fetch(_POLL_SECONDS), key=lambda record: record.timestamp or 0.0)
            yield from watch.see(records, calibration(), now=clock.monotonic())
            yield from watch.due(calibration(), now=clock.monotonic())


@contextmanager
def _calibrated(config: Config, url: str | None) -> Iterator[Calibrated]:
    """The calibration in force of the ledger, read again every 15 seconds; always None without a ledger."""
    try:
        ledger = existing_ledger(config, url, of_this_version=True)
    except (DependencyUnreachable, LedgerInvalid) as problem:
        if url is not None:  # asked for by name
            raise
        say(f"Tiers are not shown. {problem}", err=True)
        yield lambda: None
        return
    with ledger as opened:
        review, clock = reviewer_of(config, opened), WallClock()
        known: list[tuple[float, Calibration | None]] = []

        def calibration() -> Calibration | None:
            if not known or clock.monotonic() - known[-1][0] >= _CALIBRATION_SECONDS:
                known[:] = [(clock.monotonic(), review.calibration_in_force())]
            return known[-1][1]

        if calibration() is None:
            say("Tiers are not shown. The ledger has no calibration yet; `cliffwatch calibrate` makes one.", err=True)
        yield calibration
