"""`cliffwatch replay` and `demo`: run the pipeline over files or topics, or over real rollouts in the package."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from monitor.cli import options
from monitor.cli.app import app, collect_rarely, print_result, web_settings, writing
from monitor.cli.reading import assignments
from monitor.cli.signals import stop_on_signals
from monitor.cli.terminal.console import say
from monitor.cli.terminal.rollouts import print_backtest, print_rollouts, reading_progress
from monitor.cli.wiring import file_replay, range_replay, rollout_control_of
from monitor.config.file import bytes_of, parse_config_file
from monitor.config.model import Config, load_config
from monitor.demo.events import write_demo_events
from monitor.errors import MonitorError, UsageError
from monitor.ingest.kafka_reader import KafkaRange
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.ledger.ledger import RolloutRecord
from monitor.output.rollouts import record_counts, replay_json, rollouts_json
from monitor.rollout.policy import Policy
from monitor.rollout.wording import counted
from monitor.service.replay import Replay
from monitor.web.server import MetricsServer


@dataclass(frozen=True)
class Serving:
    """
    Whether and where what was replayed is served.

    Attributes:
        serve: Keep serving the status page and metrics afterwards.
    """

    serve: bool = False
    listen_address: options.ListenAddress = None


@app.command()
def replay(
    files: list[str] | None = None,
    *,
    from_kafka: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    policy: list[str] | None = None,
    shared: options.Common,
    output: options.Output = options.OutputFormat.TABLE,
    ledger: str = IN_MEMORY_URL,
    serving: Serving,
) -> None:
    """
    Run the same pipeline over files or a range of Kafka topics, by event time, and print the verdicts.

    Example: [bold]cliffwatch replay traces.jsonl.gz --output json[/]

    Back-test: [bold]cliffwatch replay --from-kafka agent-traces --since 2026-11-01T00:00Z --policy bold=bold.yaml[/]

    Args:
        files (FILE...): JSON lines, plain, .gz or .zst; - is stdin.
        from_kafka (TOPIC): Read this topic instead of files. Repeatable.
        since (TIME): With --from-kafka: records from this time on.
        until (TIME): With --from-kafka: records before this time.
        policy (NAME=FILE): Also print the verdicts of this policy: a config of which only `rollout` counts. Repeatable.
        ledger (URL): Ledger to write to; by default, one in memory.
    """
    config = shared.config()
    if bool(files) == bool(from_kafka):
        raise UsageError("Name files to replay, or topics with --from-kafka, and not both.")
    if files and (since is not None or until is not None):
        raise UsageError("--since and --until choose records of --from-kafka; files are read whole.")
    if from_kafka:
        if ledger != IN_MEMORY_URL:
            raise UsageError("A range of Kafka is read into a fresh ledger; leave out --ledger.")
        chosen = KafkaRange(from_kafka, since=moment(since, "--since"), until=moment(until, "--until"))
        opened: Opened = partial(range_replay, kafka_range=chosen)
    else:
        opened = partial(file_replay, files=files or (), ledger_url=ledger)
    if policy:
        if ledger != IN_MEMORY_URL or serving.serve or "-" in (files or ()):
            raise UsageError("--policy reads the records once per policy: leave out --ledger, --serve and -.")
        backtest(policies(policy, config), config, opened, output)
        return
    _show(opened(config), config, output, serving, title="replay")


_MATURE = timedelta(hours=2)
"""Age of the newest demo event at the time of writing, so that a live service can judge it at once."""


@app.command()
def demo(
    *,
    shared: options.Common,
    output: options.Output = options.OutputFormat.TABLE,
    write: Path | None = None,
    serving: Serving,
) -> None:
    """
    Replay real rollouts: a cliff, an ordinary gain, a version against itself, and a regression without references.

    Example: [bold]cliffwatch demo --serve[/]

    Args:
        write (FILE): Only write the events as JSON lines; the last one is 2 h old.
    """
    config = shared.config()
    if write is not None:
        with writing(write):
            total = write_demo_events(write, ends_at=datetime.now(UTC) - _MATURE)
        say(f"{write}: {total:,} events")
        return
    with tempfile.TemporaryDirectory(prefix="cliffwatch-demo-") as folder:
        events = Path(folder) / "events.jsonl"
        total = write_demo_events(events)
        opening = file_replay(config, [str(events)], ledger_url=IN_MEMORY_URL)
        _show(opening, config, output, serving, title="demo", total=total)


def _show(
    opening: AbstractContextManager[Replay],
    config: Config,
    output: options.OutputFormat,
    serving: Serving,
    *,
    title: str,
    total: int | None = None,
) -> None:
    """Run a replay and print its verdicts; with `--serve`, serve page and metrics until the process is stopped."""
    with opening as replayed:
        stages = replayed.stages
        _drain(replayed, config, title=title, total=total)
        print_result(output, replay_json(stages.snapshots.current), print_rollouts, stages.snapshots.current)
        if serving.serve:
            control, web = rollout_control_of(config, stages.ledger), web_settings(config.web, serving.listen_address)
            server = MetricsServer(web, stages.snapshots, lambda: None, control)
            server.start()
            say(f"Open {server.url}/ in a browser; metrics are at {server.url}/metrics. Ctrl-C ends it.", err=True)
            stop_on_signals().wait()
            server.stop()


def _drain(replayed: Replay, config: Config, *, title: str, total: int | None = None) -> None:
    """
    Read everything with a progress bar, then judge the rollouts as if all labels were mature.

    Raises:
        MonitorError: none of the records could be read.
    """
    collect_rarely()
    before = replayed.stages.ledger.counters()
    with reading_progress(title, total=total) as advance:
        replayed.read(progress=advance)
    counts = record_counts(replayed.stages.ledger.counters(), since=before)
    if counts.read == counts.dead_lettered > 0:
        raise MonitorError(f"Of {counted(counts.read, 'record')}, none could be read; --log.level warning says why.")
    replayed.finish(seconds=config.rollout.judged_after() + 1.0)


AS_CONFIGURED = "config"
"""Name of the policy of the config itself, which is always shown with the others."""

Opened = Callable[[Config], AbstractContextManager[Replay]]
"""Opens a replay of the records."""


def policies(given: Sequence[str], config: Config) -> Mapping[str, Policy]:
    """
    Policies by name, that of *config* first.

    Args:
        given: `NAME=FILE` each; the file is a config of which only the section `rollout` counts. Keys that it leaves
            out are as in *config*.
        config: Base of the other policies.

    Raises:
        UsageError: one is not NAME=FILE, or repeats a name.
        ConfigInvalid: a file cannot be used.
    """
    named = {AS_CONFIGURED: config.rollout}
    for name, file in assignments(given, "--policy", "careful=careful.yaml"):
        if name in named:
            raise UsageError(f"Two policies are named {name}; `{AS_CONFIGURED}` is the one of the config itself.")
        alternative = load_config(Path(file)).rollout
        keys = parse_config_file(bytes_of(Path(file))).values.get("rollout") or {}
        named[name] = config.rollout.model_copy(update={key: getattr(alternative, key) for key in keys})
    return named


def backtest(named: Mapping[str, Policy], config: Config, opened: Opened, output: options.OutputFormat) -> None:
    """Replay under each of the *named* policies, and print their verdicts and when they changed."""
    records_of: dict[str, Sequence[RolloutRecord]] = {}
    for name, policy in named.items():
        alternative = config.model_copy(update={"rollout": policy})
        with opened(alternative) as replayed:
            _drain(replayed, alternative, title=f"policy {name}")
            records_of[name] = replayed.stages.snapshots.current.rollouts
    listed = [{"name": name, **rollouts_json(records)} for name, records in records_of.items()]
    print_result(output, {"policies": listed}, print_backtest, records_of)


def moment(text: str | None, option: str) -> float | None:
    """
    *text* as Unix seconds; a time without a zone is in UTC.

    Raises:
        UsageError: it is not a date and time.
    """
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text} is not a time; write 2026-11-23T05:00:00Z, for example.") from error
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
