"""
Rollouts between real model versions as native events, run through the product as `cliffwatch replay` runs a file.

The events are those of bench/real_rollouts.py: the history in environment `reference`, a day per version; then the
baseline for three days, then the candidate for three. Each arm draws its requests from the live ones again and again,
so one `request_id` comes many times, each time as a trace of its own with the outcome that the version had.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.outcomes import Outcomes
from bench.real_rollouts import History, MeasuredShare, Pair, Protocol, RealRollout, draw_rollouts, pair_of
from monitor.cli.wiring import file_replay
from monitor.config.model import Config
from monitor.ledger.engine import IN_MEMORY_URL
from monitor.output.plain import Json
from monitor.output.rollouts import replay_json
from monitor.rollout.verdict import VerdictState

_BEGINS = datetime(2026, 10, 1, tzinfo=UTC)
_HISTORY_LASTS = timedelta(days=1)
_ARM_LASTS = timedelta(days=3)


def replay_pairs(outcomes: Outcomes, protocol: Protocol) -> Iterator[Pair]:
    """Verdicts on the rollouts that `judge_pairs` judges, candidate after baseline, each by a replay of its own."""
    with tempfile.TemporaryDirectory(prefix="cliffwatch-bench-") as folder:
        history_file, arms_file = Path(folder) / "history.jsonl", Path(folder) / "arms.jsonl"
        written: History | None = None
        for rollout in draw_rollouts(outcomes, protocol):
            if rollout.history is not written:
                write_events(history_file, history_events(rollout.history))
                written = rollout.history
            write_events(arms_file, arm_events(rollout))
            yield _pair(rollout, replay(history_file, arms_file))


def replay(*files: Path, ledger_url: str = IN_MEMORY_URL) -> Json:
    """The JSON output of `cliffwatch replay FILE...` with default settings."""
    config = Config()
    with file_replay(config, [str(file) for file in files], ledger_url=ledger_url) as replayed:
        replayed.read(progress=lambda _: None)
        replayed.finish(seconds=config.rollout.judged_after() + 1.0)
        return replay_json(replayed.stages.snapshots.current)


def history_events(history: History) -> Iterator[dict[str, Any]]:
    """Requests and outcomes of the reference versions."""
    for number, (version, requests) in enumerate(history.served):
        yield from _served(
            history.outcomes,
            ((index, bool(history.outcomes.failed[version, index])) for index in requests.tolist()),
            environment="reference",
            model_version=history.outcomes.versions[version],
            starts=_BEGINS + number * _HISTORY_LASTS,
            step=_HISTORY_LASTS / len(requests),
        )


def arm_events(rollout: RealRollout) -> Iterator[dict[str, Any]]:
    """The baseline's requests, then the candidate's."""
    live = rollout.history.live
    starts = _BEGINS + len(rollout.history.served) * _HISTORY_LASTS
    for side, version in enumerate((rollout.baseline, rollout.candidate)):
        drawn = rollout.drawn[side].ravel().tolist()
        failed = rollout.failed[side]
        yield from _served(
            rollout.history.outcomes,
            ((int(live[place]), bool(failed[place])) for place in drawn),
            environment="production",
            model_version=version,
            starts=starts + side * _ARM_LASTS,
            step=_ARM_LASTS / len(drawn),
        )


def write_events(path: Path, events: Iterable[dict[str, Any]]) -> None:
    """Write *events* to *path*, one JSON object per line."""
    with path.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(event, separators=(",", ":")) + "\n" for event in events)


def _served(
    outcomes: Outcomes,
    answers: Iterable[tuple[int, bool]],
    *,
    environment: str,
    model_version: str,
    starts: datetime,
    step: timedelta,
) -> Iterator[dict[str, Any]]:
    """Requests (index, and whether the version failed it) as events, evenly in time."""
    for number, (index, failed) in enumerate(answers):
        asked = outcomes.requests[index]
        yield {
            "schema": "cliffwatch.trace/v1",
            "trace_id": f"{environment}-{model_version}-{number}",
            "service": "agent",
            "environment": environment,
            "model_version": model_version,
            "capability": asked["capability"],
            "request_id": asked["request_id"],
            "started_at": (starts + number * step).isoformat(),
            "request": {
                "text": asked["text"],
                "tools": asked.get("tools") or [],
                "attributes": asked.get("features") or {},
            },
            "outcome": {"success": not failed, "source": "judge"},
        }


def _pair(rollout: RealRollout, report: Json) -> Pair:
    said = _only_rollout(rollout, report)
    share = said["share"]
    return pair_of(
        rollout,
        state=VerdictState(said["verdict"]),
        requests_to_verdict=said["requests_to_verdict"],
        reached=frozenset(VerdictState(change["verdict"]) for change in said["changes"]),
        share=None if share is None else MeasuredShare(share["change"], share["expected_change"], share["excess"]),
    )


def _only_rollout(rollout: RealRollout, report: Json) -> Json:
    """The only rollout of *report*, after checking that every event was read."""
    events = sum(len(requests) for _, requests in rollout.history.served) + rollout.drawn.size
    expected = {"read": events, "counted": events, "duplicate": 0, "dead_lettered": 0, "unlabelled": 0}
    assert report["records"] == expected, report["records"]
    said: Json
    (said,) = report["rollouts"]
    assert (said["baseline"], said["candidate"]) == (rollout.baseline, rollout.candidate), said
    return said
