"""Builds services from their parts: the live one on Kafka, and replays of files or topics."""

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
    The live service on Kafka, with the ledger of *config*.

    Raises:
        MonitorError: a part is not configured correctly, or cannot be reached.
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
    A replay of *files* in event time.

    Raises:
        MonitorError: a file or the ledger cannot be used.
    """
    return _replay(config, ledger_url, lambda ledger: _files(config, files, ledger))


def range_replay(config: Config, kafka_range: KafkaRange) -> AbstractContextManager[Replay]:
    """
    A replay of a range of Kafka topics in event time, with a ledger in memory.

    Raises:
        MonitorError: Kafka cannot be reached, or a topic does not exist.
    """
    return _replay(config, IN_MEMORY_URL, lambda _: KafkaRangeSource(config.kafka, kafka_range))


@contextmanager
def history_replay(config: Config, files: Sequence[str], ledger: SqlLedger, options: Options) -> Iterator[Replay]:
    """
    A replay that loads *files* into *ledger* as reference history, without tagging and judging.

    Results of eval tools are converted to events as *options* say.

    Raises:
        MonitorError: a file cannot be used.
    """
    with closing(_files(config, files, ledger, lambda path: events_of_results(path, options))) as source:
        yield Replay(_service(config, ledger, source, WallClock(), NoReview, read_as=REFERENCE_ENVIRONMENT))


def reviewer_of(config: Config, ledger: SqlLedger, kind: type[Reviewer] = Reviewer) -> Reviewer:
    """A reviewer of *ledger* with the settings of *config*."""
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
    As `opened_ledger`, for commands that are useless on a new ledger: it must exist already.

    Args:
        config: Names the default ledger.
        url: URL of another ledger.
        of_this_version: Refuse a ledger of an older version, which would be migrated otherwise.

    Raises:
        DependencyUnreachable: the file does not exist, it is not a ledger, or the database does not answer.
        LedgerInvalid: the ledger has another schema, and *of_this_version* is set.
        MonitorError: the ledger cannot be used.
    """
    used_url = ledger_url(config.ledger, url)
    schema = SchemaVersion(None, None) if is_missing(used_url) else schema_version(used_url)
    if schema.found is None:  # opening it would create tables, in an empty file or in somebody else's database
        raise DependencyUnreachable(
            f"There is no ledger at {printable_url(used_url)}, seen from {Path.cwd()}; name it with --ledger or "
            "--config.file, or start `cliffwatch run` first."
        )
    if of_this_version and not schema.is_current:
        raise LedgerInvalid(
            f"The ledger has schema {schema.found}, this version works with {schema.wanted}; "
            "run `cliffwatch ledger migrate`, or the version that wrote it."
        )
    return opened_ledger(config, used_url)


def rollout_control_of(
    config: Config, ledger: SqlLedger, *, policy: Callable[[], Policy] | None = None
) -> RolloutControl:
    """Control of the rollouts in *ledger*, under *policy* or that of *config*."""
    policy_of, links = policy or (lambda: config.rollout), TraceLinks(config.web.trace_url)
    return RolloutControl(ledger, policy=policy_of, now=WallClock().time, links=links)


def ledger_url(settings: LedgerSettings, url: str | None = None) -> str:
    """
    The URL of the ledger: *url* if given, else that of *settings*, read from `url_file` if it is set.

    Raises:
        ConfigInvalid: the file cannot be read.
    """
    if url is not None or not settings.url_file:
        return settings.url if url is None else url
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
