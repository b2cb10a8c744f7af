"""`python -m examples.support_agent`: emit the traces of a rollout, into Kafka or a file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

from examples.support_agent.export import FileSink, KafkaSink
from examples.support_agent.rollout import (
    OUTCOMES_TOPIC,
    TRACES_TOPIC,
    Candidate,
    Phase,
    history,
    play,
    production,
)

_MATURE_SECONDS = 7_200.0
"""Age of the newest request: old enough for its label to count at once (`rollout.maturity_seconds` is an hour)."""
_PARTITIONS = 4
_BOOTSTRAP_SECONDS = 10.0
_PROGRESS_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 3 where Kafka or the file cannot be written to."""
    asked = _parser().parse_args(arguments)
    ends_at = time.time() - _MATURE_SECONDS if asked.ends_at is None else asked.ends_at
    before, served = history(ends_at=ends_at), production(Candidate(asked.candidate), ends_at=ends_at)
    report = _Progress(sys.stderr)
    try:
        if asked.file is not None:
            with FileSink(asked.file) as file:
                _play([*before, *served], file, report)
            print(f"{asked.file}: read it with `cliffwatch replay {asked.file}`.")
            return 0
        _create_missing_topics(asked.kafka)
        with KafkaSink(asked.kafka) as kafka:
            if asked.act != "rollout":
                _play(before, kafka, report)
                kafka.flush()
            if asked.act == "history":
                print(f"{TRACES_TOPIC} and {OUTCOMES_TOPIC} on {asked.kafka} hold the history of a dozen models.")
                return 0
            report.say(f"waiting {asked.pause:g} s, so that tiers are learnt before anything is served")
            time.sleep(asked.pause)
            _play(served, kafka, report)
        print(f"{TRACES_TOPIC} and {OUTCOMES_TOPIC} on {asked.kafka} hold the rollout; `cliffwatch verdict` tells it.")
    except OSError as error:
        print(f"error: {asked.file or asked.kafka} cannot be written: {error.strerror or error}.", file=sys.stderr)
        return 3
    except KafkaError as error:
        print(f"error: Kafka at {asked.kafka} does not take the traces ({error}); does it run?", file=sys.stderr)
        return 3
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.support_agent", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--file", type=Path, metavar="FILE", help="write OTLP JSON lines, as the Collector's exporter")
    where.add_argument("--kafka", metavar="HOST:PORT", help="write OTLP protobuf records to agent-traces and -outcomes")
    parser.add_argument(
        "--candidate", choices=list(Candidate), default=Candidate.CLIFF, help="what the upgrade does (default: cliff)"
    )
    parser.add_argument(
        "--act",
        choices=["all", "history", "rollout"],
        default="all",
        help="with --kafka: write only what comes before the rollout, or only the rollout (default: all)",
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=45.0,
        metavar="SECONDS",
        help="with --kafka: time before the rollout, above traces.assembly.quiet_seconds (default: 45)",
    )
    parser.add_argument(
        "--ends-at", type=float, metavar="TIME", help="Unix seconds of the last request (default: two hours ago)"
    )
    return parser


def _play(phases: Sequence[Phase], sink: FileSink | KafkaSink, report: _Progress) -> None:
    for phase in phases:
        play(phase, sink, progress=report.of(f"{phase.environment} {phase.model.name}", len(phase.requests)))


def _create_missing_topics(bootstrap_servers: str) -> None:
    admin = KafkaAdminClient(
        bootstrap_servers=bootstrap_servers.split(","), bootstrap_timeout_ms=round(_BOOTSTRAP_SECONDS * 1_000)
    )
    try:
        missing = {TRACES_TOPIC, OUTCOMES_TOPIC} - set(admin.list_topics())
        if missing:
            admin.create_topics([NewTopic(name, _PARTITIONS, 1) for name in sorted(missing)])
    finally:
        admin.close()


class _Progress:
    """A line now and then, on a stream that no pipe reads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said_at = time.monotonic()

    def of(self, what: str, total: int) -> Callable[[int], None]:
        """Told how many of *total* requests were answered since it was last called."""
        done = 0

        def advance(requests: int) -> None:
            nonlocal done
            done += requests
            if time.monotonic() - self._said_at >= _PROGRESS_SECONDS:
                self.say(f"{what}: {done:,} of {total:,} requests")

        return advance

    def say(self, sentence: str) -> None:
        """One line."""
        self._said_at = time.monotonic()
        print(sentence, file=self._stream, flush=True)


if __name__ == "__main__":
    sys.exit(main())
