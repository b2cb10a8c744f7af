"""Which parts make up a service: the live one on Kafka, and the replay of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from monitor.clock import Clock, EventClock, WallClock
from monitor.config.model import Config
from monitor.errors import ConfigInvalid, DependencyUnreachable, LedgerInvalid, os_errors, printable_url
from monitor.evals.files import events_of_results
from monitor.evals.formats.reading import Options
from monitor.ingest.dead_letter import DeadLetterWriter, KafkaDeadLetters, NoDeadLetters
from monitor.ingest.file import FileSource, Translate
from monitor.ingest.kafka import KafkaSource
from monitor.ingest.kafka_reader import KafkaRange, KafkaRangeSource
from monitor.ingest.source import Source
from monitor.ledger.engine import IN_MEMORY_URL, is_missing, is_shareable
from monitor.ledger.inspection import SchemaVersion, schema_version
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.sql import SqlLedger
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.output.cases import TraceLinks
from monitor.rollout.policy import Policy
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.replay import Replay, ReplayReviewer
from monitor.service.review import NoReview, Reviewer
from monitor.service.rollout_control import RolloutControl
from monitor.service.stages import Stages
from monitor.trace.model import REFERENCE_ENVIRONMENT


@contextmanager
def live_service(config: Config) -> Iterator[Service]:
    """
    The service on Kafka, with the ledger of *config*.

    Raises:
        MonitorError: a part cannot be used as configured, or cannot be reached.
    """
    url = ledger_url(config.ledger)
    with (
        opened_ledger(config, url) as ledger,
        closing(KafkaSource(config.kafka, ledger.offsets, silence_seconds=config.service.unready_seconds)) as source,
        closing(KafkaDeadLetters(config.kafka)) as dead_letters,
    ):
        source.check_topics()
        yield _service(config, ledger, source, WallClock(), dead_letters=dead_letters, in_background=is_shareable(url))


def file_replay(config: Config, files: Sequence[str], *, ledger_url: str) -> AbstractContextManager[Replay]:
    """
    A replay of *files*, by event time.

    Raises:
        MonitorError: a file or the ledger cannot be used.
    """
    return _replay(config, ledger_url, lambda ledger: _files(config, files, ledger))


def range_replay(config: Config, kafka_range: KafkaRange) -> AbstractContextManager[Replay]:
    """
    A replay of a range of Kafka topics, by event time and a ledger in memory.

    Raises:
        MonitorError: Kafka cannot be reached, or has no such topic.
    """
    return _replay(config, IN_MEMORY_URL, lambda _: KafkaRangeSource(config.kafka, kafka_range))


@contextmanager
def history_replay(config: Config, files: Sequence[str], ledger: SqlLedger, options: Options) -> Iterator[Replay]:
    """
    A replay that only loads *files* into *ledger*, every trace as reference history; it judges and tags nothing.

    Results of eval tools, read by *options*, become the events that they stand for.

    Raises:
        MonitorError: a file cannot be used.
    """
    with closing(_files(config, files, ledger, lambda path: events_of_results(path, options))) as source:
        yield Replay(_service(config, ledger, source, WallClock(), NoReview, read_as=REFERENCE_ENVIRONMENT))


def reviewer_of(config: Config, ledger: SqlLedger, kind: type[Reviewer] = Reviewer) -> Reviewer:
    """The review of *ledger* as *config* says."""
    return kind(ledger, settings=config.service, difficulty=config.difficulty, policy=config.rollout)


def opened_ledger(config: Config, url: str | None = None) -> AbstractContextManager[SqlLedger]:
    """
    The ledger at *url*, or the one that *config* names; closed when the context ends.

    Raises:
        MonitorError: the ledger cannot be used or reached.
    """
    return closing(SqlLedger(ledger_url(config.ledger, url), config.ledger, outcomes=config.traces.outcomes))


def existing_ledger(
    config: Config, url: str | None = None, *, of_this_version: bool = False
) -> AbstractContextManager[SqlLedger]:
    """
    As `opened_ledger`, for commands that have nothing to say about a ledger that was just made.

    Args:
        config: Names the ledger.
        url: The ledger where it is another one.
        of_this_version: Leave one of an older version as it is, which opening would bring up to date.

    Raises:
        DependencyUnreachable: there is no such file, nothing of a ledger in it, or the database does not answer.
        LedgerInvalid: the schema is not the one that is asked for.
        MonitorError: the ledger cannot be used.
    """
    named = ledger_url(config.ledger, url)
    schema = SchemaVersion(None, None) if is_missing(named) else schema_version(named)
    if schema.found is None:  # to open it would make the tables, in an empty file or in the database of somebody else
        raise DependencyUnreachable(
            f"There is no ledger at {printable_url(named)}, seen from {Path.cwd()}; name it with --ledger or "
            "--config.file, or start `cliffwatch run` first."
        )
    if of_this_version and not schema.is_current:
        raise LedgerInvalid(
            f"The ledger has schema {schema.found}, this version works with {schema.wanted}; "
            "run `cliffwatch ledger migrate`, or the version that wrote it."
        )
    return opened_ledger(config, named)


def rollout_control_of(
    config: Config, ledger: SqlLedger, *, policy: Callable[[], Policy] | None = None
) -> RolloutControl:
    """What a person or a deploy hook may ask of the rollouts in *ledger*."""
    in_force, links = policy or (lambda: config.rollout), TraceLinks(config.web.trace_url)
    return RolloutControl(ledger, policy=in_force, now=WallClock().time, links=links)


def ledger_url(settings: LedgerSettings, named: str | None = None) -> str:
    """
    The URL of the ledger: *named* where there is such, else what *settings* say, read from a file where they name one.

    Raises:
        ConfigInvalid: the file cannot be read.
    """
    if named is not None or not settings.url_file:
        return settings.url if named is None else named
    path = Path(settings.url_file).absolute()
    with os_errors(ConfigInvalid, f"ledger.url_file: {path} cannot be read", "mount the secret or use ledger.url"):
        return path.read_text(encoding="utf-8").strip()


def _files(config: Config, files: Sequence[str], ledger: SqlLedger, translate: Translate | None = None) -> FileSource:
    return FileSource(files, ledger.offsets, max_record_bytes=config.limits.max_record_bytes, translate=translate)


@contextmanager
def _replay(config: Config, url: str, opened: Callable[[SqlLedger], FileSource | KafkaRangeSource]) -> Iterator[Replay]:
    with opened_ledger(config, url) as ledger, closing(opened(ledger)) as source:
        yield Replay(_service(config, ledger, source, EventClock(), ReplayReviewer))


def _service(
    config: Config,
    ledger: SqlLedger,
    source: Source,
    clock: Clock,
    reviewer: type[Reviewer] = Reviewer,
    *,
    dead_letters: DeadLetterWriter = NoDeadLetters(),
    read_as: str | None = None,
    in_background: bool = False,
) -> Service:
    snapshots = SnapshotHolder(Snapshot(now=clock.time(), policy=config.rollout))
    stages = Stages(source, dead_letters, ledger, reviewer_of(config, ledger, reviewer), clock, snapshots)
    is_live = isinstance(clock, WallClock) and read_as is None
    rules = DecodeRules(config.limits, config.traces, read_as=read_as, now=WallClock().time, is_live=is_live)
    return Service(stages, rules=rules, settings=config.service, caps=config.ledger, in_background=in_background)
