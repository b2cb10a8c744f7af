"""`cliffwatch tail`: shows requests with their tier, as they arrive."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import typer
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from monitor.cli import options
from monitor.cli.app import app
from monitor.cli.signals import stop_on_signals
from monitor.cli.terminal.console import UNKNOWN, Console, say
from monitor.cli.wiring import existing_ledger, reviewer_of
from monitor.clock import WallClock
from monitor.config.model import Config
from monitor.difficulty.calibration import Calibration
from monitor.difficulty.features import prompt_family
from monitor.difficulty.tiers import Tier
from monitor.errors import DependencyUnreachable, LedgerInvalid, UsageError
from monitor.ingest.file import file_records
from monitor.ingest.kafka_reader import KafkaReader
from monitor.output.plain import fields_of
from monitor.service.pipeline import DecodeRules
from monitor.service.tail import Calibrated, SeenRequest, Watch
from monitor.trace.model import hash_of

_WIDEST = 32
_OUTCOME_SHOWN = ("success", "failure_class", "source", "evaluation")
_TIER_STYLES = {Tier.HARD: "yellow", Tier.FRONTIER: "magenta", Tier.UNTIERED: "dim"}

_POLL_SECONDS = 0.5
_QUIET_SECONDS = 2.0
"""Silence after which a trace counts as complete: shorter than for the ledger, since a mistake here does no harm."""
_CALIBRATION_SECONDS = 15.0


@dataclass(frozen=True)
class Wanted:
    """
    Which requests are shown; what is empty lets everything pass.

    Attributes:
        service (NAME): Only this service.
        version (VERSION): Only this model version.
        tier: Only this tier. Repeatable.
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
    Show requests with their tier as they arrive, one line each, until Ctrl-C.

    It joins no group, moves no offset and writes nothing. A trace appears two seconds after its root ended; if a
    verdict arrives later, the line appears again with a plus before the outcome. Tiers are those that you declare, or
    else those of the calibration in force.

    Example: [bold]cliffwatch tail --tier hard --tier frontier --failures[/]

    Args:
        files (FILE...): Read whole files instead of Kafka; - is stdin.
        from_beginning: Begin with the oldest records of the topics, not with new ones.
    """
    if files and from_beginning:
        raise UsageError("Files are read whole anyway; leave out --from-beginning.")
    config = shared.config()
    stop = stop_on_signals()
    show = _print_json if shared.output is options.OutputFormat.JSON else RequestTable(Console()).print
    quiet_seconds = config.traces.assembly.quiet_seconds if files else _QUIET_SECONDS
    with _calibrated(config, shared.ledger) as calibration:
        watch = Watch(DecodeRules(config.limits, config.traces), calibration, quiet_seconds=quiet_seconds)
        live = _of_kafka(config, watch, stop, from_beginning=from_beginning)
        for request in _of_files(files, config, watch) if files else live:
            if stop.is_set():
                break
            if wanted.admits(request):
                show(request)
    if watch.unreadable:
        say(f"{watch.unreadable:,} records could not be read; `cliffwatch doctor` says why.", err=True)


def _of_files(files: Sequence[str], config: Config, watch: Watch) -> Iterator[SeenRequest]:
    """Requests in *files*; the clock is event time."""
    for record in file_records(files, max_record_bytes=config.limits.max_record_bytes):
        yield from watch.see([record], now=watch.event_time)
        yield from watch.due(now=watch.event_time)
    yield from watch.rest()


def _of_kafka(config: Config, watch: Watch, stop: threading.Event, *, from_beginning: bool) -> Iterator[SeenRequest]:
    topics, where, clock = config.kafka.topics, config.kafka.bootstrap_servers, WallClock()
    with closing(KafkaReader(config.kafka)) as reader:
        reader.follow(topics, from_beginning=from_beginning)
        begin = "their beginning" if from_beginning else "now"
        say(f"Reading {' and '.join(topics)} on {where} from {begin} on; Ctrl-C ends.", err=True)
        while not stop.is_set():
            records = sorted(reader.fetch(_POLL_SECONDS), key=lambda record: record.timestamp or 0.0)
            yield from watch.see(records, now=clock.monotonic())
            yield from watch.due(now=clock.monotonic())


@contextmanager
def _calibrated(config: Config, url: str | None) -> Iterator[Calibrated]:
    """A function that returns the ledger's calibration in force, at most 15 seconds old; None without a ledger."""
    try:
        ledger = existing_ledger(config, url, of_this_version=True)
    except (DependencyUnreachable, LedgerInvalid) as problem:
        if url is not None:  # the user named it
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


class RequestTable:
    """
    Prints the names of its columns, then requests as they arrive.

    A column grows with its contents, up to 32 cells, and never shrinks.

    Args:
        console: The console to print on.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths = {"time (UTC)": 19, "service": 12, "version": 16, "capability": 12, "tier": 8, "difficulty": 10}
        self._widths["outcome"] = 18
        names = (name.ljust(width) for name, width in self._widths.items())
        self._print(Text("  ".join((*names, "trace id")), style="dim"))

    def print(self, seen: SeenRequest) -> None:
        """One line; a request on which a verdict came later has a `+` before it."""
        trace, tag = seen.trace, seen.tag
        outcome, outcome_style = _outcome(seen)
        styles = {"tier": _TIER_STYLES.get(tag.tier, ""), "outcome": outcome_style}
        at = datetime.fromtimestamp(trace.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        difficulty = f"{tag.difficulty_logit:+.1f}" if tag.calibration_id else UNKNOWN
        about = (trace.service, trace.model_version, trace.request.capability, tag.tier.value, difficulty)
        line = Text()
        for name, cell in zip(self._widths, (at, *about, "+" * seen.is_revised + outcome), strict=True):
            self._widths[name] = max(self._widths[name], min(_WIDEST, cell_len(cell)))
            cut = cell if cell_len(cell) <= _WIDEST else set_cell_size(cell, _WIDEST - 1) + "…"
            line.append(set_cell_size(cut, self._widths[name]), styles.get(name, "")).append("  ")
        self._print(line.append(trace.trace_id, "dim"))

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True, highlight=False, no_wrap=True)


_SHOWN = (
    "trace_id", "started_at", "ended_at", "service", "environment", "model_version", "version_by", "requested_model",
    "capability", "request_id", "text_family", "messages", "tools", "tool_calls", "steps", "input_tokens",
    "output_tokens", "cost_usd", "duration_seconds", "conversation", "aborted", "tier", "difficulty_logit",
    "calibration", "outcome", "revised",
)  # fmt: skip
"""Fields of a request in JSON, in order; no other is shown, the request's text least of all."""


def _print_json(seen: SeenRequest) -> None:
    """One line of JSON; what is not known is null, times are ISO 8601 in UTC."""
    trace, request, tag, outcome = seen.trace, seen.trace.request, seen.tag, seen.outcome
    fields = fields_of(trace) | fields_of(request) | fields_of(trace.usage)
    fields |= {
        "text_family": request.prompt_family or (prompt_family(request.text) if request.text else None),
        "tools": [tool.name for tool in request.tools],
        "duration_seconds": trace.duration_seconds,
        "conversation": trace.conversation_id and hash_of(trace.conversation_id),
        "tier": tag.tier.value,
        "difficulty_logit": tag.difficulty_logit if tag.calibration_id else None,
        "calibration": tag.calibration_id or None,
        "outcome": outcome and {name: getattr(outcome, name) for name in _OUTCOME_SHOWN},
        "revised": seen.is_revised,
    }
    typer.echo(json.dumps({name: fields[name] for name in _SHOWN}, allow_nan=False))


def _outcome(seen: SeenRequest) -> tuple[str, str]:
    """The outcome in words, and their style."""
    if seen.outcome is None:
        return UNKNOWN, "dim"
    if seen.outcome.success:
        return "success", "green"
    return f"failure {seen.outcome.failure_class or ''}".rstrip(), "bold red"
