"""Which parts make up a service: the live one on Kafka, and the replay of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from monitor.clock import Clock, EventClock, WallClock
from monitor.config.model import Config
from monitor.errors import ConfigInvalid, DependencyUnreachable
from monitor.evals.files import events_of_results
from monitor.ingest.dead_letter import DeadLetterWriter, FileDeadLetters, KafkaDeadLetters, NoDeadLetters
from monitor.ingest.file import FileSource
from monitor.ingest.kafka import KafkaSource
from monitor.ingest.kafka_range import KafkaRange, KafkaRangeSource
from monitor.ingest.source import Source
from monitor.ledger.engine import IN_MEMORY_URL, is_missing, is_shareable
from monitor.ledger.ledger import Ledger
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.output.cases import TraceLinks
from monitor.rollout.policy import Policy
from monitor.service.loop import Service, Stages
from monitor.service.pipeline import Rules
from monitor.service.review import NoReview, Review
from monitor.service.rollout_control import Steering
from monitor.trace.model import REFERENCE_ENVIRONMENT

_REPLAY_BATCH_RECORDS = 500


@contextmanager
def live_service(config: Config) -> Iterator[tuple[Service, SnapshotHolder]]:
    """
    The service on Kafka, with the ledger of *config*.

    Raises:
        MonitorError: a part cannot be had as configured, or cannot be reached.
    """
    url = ledger_url(config.ledger)
    ledger = SqlLedger(url, config.ledger, outcomes=config.traces.outcomes)
    source = KafkaSource(config.kafka, ledger.offsets)
    dead_letters = KafkaDeadLetters(config.kafka)
    try:
        source.check_topics()
        yield _service(config, ledger, source, dead_letters, WallClock(), in_background=is_shareable(url))
    finally:
        dead_letters.close()
        source.close()
        ledger.close()


@contextmanager
def replay_service(
    config: Config, files: Sequence[str], *, ledger_url: str, dead_letters: Path | None = None
) -> Iterator[tuple[Service, SnapshotHolder]]:
    """
    The service over *files*, with event time for clock.

    Raises:
        MonitorError: a file or the ledger cannot be used.
    """
    ledger = SqlLedger(ledger_url, config.ledger, outcomes=config.traces.outcomes)
    letters = NoDeadLetters() if dead_letters is None else FileDeadLetters(dead_letters)
    try:
        source = FileSource(
            files,
            ledger.offsets,
            batch_records=_REPLAY_BATCH_RECORDS,
            max_record_bytes=config.limits.max_record_bytes,
        )
        try:
            yield _service(config, ledger, source, letters, EventClock())
        finally:
            source.close()
    finally:
        letters.close()
        ledger.close()


@contextmanager
def range_service(config: Config, kafka_range: KafkaRange) -> Iterator[tuple[Service, SnapshotHolder]]:
    """
    The service over a range of Kafka topics, with event time for clock and a ledger in memory.

    Raises:
        MonitorError: Kafka cannot be reached, or has no such topic.
    """
    ledger = SqlLedger(IN_MEMORY_URL, config.ledger, outcomes=config.traces.outcomes)
    try:
        source = KafkaRangeSource(config.kafka, kafka_range, batch_records=_REPLAY_BATCH_RECORDS)
        try:
            yield _service(config, ledger, source, NoDeadLetters(), EventClock())
        finally:
            source.close()
    finally:
        ledger.close()


@contextmanager
def history_service(config: Config, files: Sequence[str], ledger: SqlLedger) -> Iterator[Service]:
    """
    The service that only loads *files* into *ledger*, every trace as reference history; it judges and tags nothing.

    Results of eval tools are read as the events that they stand for.

    Raises:
        MonitorError: a file cannot be used.
    """
    source = FileSource(
        files,
        ledger.offsets,
        batch_records=_REPLAY_BATCH_RECORDS,
        max_record_bytes=config.limits.max_record_bytes,
        translate=events_of_results,
    )
    clock = WallClock()
    snapshots = SnapshotHolder(Snapshot(now=clock.time(), policy=config.rollout))
    stages = Stages(source, NoDeadLetters(), ledger, NoReview(), clock, snapshots)
    try:
        yield Service(
            stages,
            rules=Rules(config.limits, config.traces, read_as=REFERENCE_ENVIRONMENT),
            policy=config.rollout,
            settings=config.service,
        )
    finally:
        source.close()


def review_of(config: Config, ledger: SqlLedger) -> Review:
    """The review of *ledger* as *config* says."""
    return Review(ledger, settings=config.service, difficulty=config.difficulty, policy=config.rollout)


@contextmanager
def opened_ledger(config: Config, url: str | None = None) -> Iterator[SqlLedger]:
    """
    The ledger at *url*, or the one that *config* names; closed when the context ends.

    Raises:
        MonitorError: the ledger cannot be used or reached.
    """
    ledger = SqlLedger(
        ledger_url(config.ledger) if url is None else url, config.ledger, outcomes=config.traces.outcomes
    )
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def existing_ledger(config: Config, url: str | None = None) -> Iterator[SqlLedger]:
    """
    As `opened_ledger`, for commands that have nothing to say about a ledger that was just made.

    Raises:
        DependencyUnreachable: there is no such file.
        MonitorError: the ledger cannot be used or reached.
    """
    with opened_ledger(config, existing_ledger_url(config, url)) as ledger:
        yield ledger


def existing_ledger_url(config: Config, url: str | None = None) -> str:
    """
    *url*, or that of the ledger which *config* names.

    Raises:
        DependencyUnreachable: there is no such file.
    """
    named = ledger_url(config.ledger) if url is None else url
    if is_missing(named):
        raise DependencyUnreachable(
            f"There is no ledger at {named}; name it with --ledger or --config.file, or start `cliffwatch run` first."
        )
    return named


def steering_of(config: Config, ledger: Ledger, *, policy: Callable[[], Policy] | None = None) -> Steering:
    """What a person or a deploy hook may ask of the rollouts in *ledger*."""
    return Steering(
        ledger,
        policy=(lambda: config.rollout) if policy is None else policy,
        now=WallClock().time,
        links=TraceLinks(config.web.trace_url),
    )


def ledger_url(settings: LedgerSettings) -> str:
    """
    The URL of the ledger, read from its file where one is named.

    Raises:
        ConfigInvalid: the file cannot be read.
    """
    if not settings.url_file:
        return settings.url
    try:
        return Path(settings.url_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigInvalid(
            f"ledger.url_file: {settings.url_file} cannot be read: {error.strerror}; mount the secret or use ledger.url"
        ) from error


def _service(
    config: Config,
    ledger: SqlLedger,
    source: Source,
    dead_letters: DeadLetterWriter,
    clock: Clock,
    *,
    in_background: bool = False,
) -> tuple[Service, SnapshotHolder]:
    snapshots = SnapshotHolder(Snapshot(now=clock.time(), policy=config.rollout))
    stages = Stages(source, dead_letters, ledger, review_of(config, ledger), clock, snapshots)
    return Service(
        stages,
        rules=Rules(config.limits, config.traces),
        policy=config.rollout,
        settings=config.service,
        caps=config.ledger,
        in_background=in_background,
    ), snapshots
