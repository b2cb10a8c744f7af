"""Traces, a judge's outcomes and people's outcomes on three topics: what the judge got wrong is taken out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.rollout.wording import percent
from tests.stack.monitor_process import MonitorProcess
from tests.stack.servers import KafkaServer, ask, wait_until
from tests.stack.test_stories import READ, produce

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

_RUNS = 2_000
_FAILING = 0.2
_PASSED_ALL_THE_SAME = {"v1": 0.4, "v2": 0.0}
"""Share of the bad answers of each version that the judge passes."""


def runs(now: datetime, dice: random.Random) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]]:
    """Each run with the judge's outcome, and a person's for a fifth of them; one in five fails in both versions."""
    for version in ("v1", "v2"):
        missed = _PASSED_ALL_THE_SAME[version]
        for number in range(_RUNS):
            start = now - timedelta(days=dice.uniform(0.1, 1.1 if version == "v1" else 1.0))
            trace_id, is_good = f"{version}-{number}", dice.random() >= _FAILING
            trace = {
                "schema": "cliffwatch.trace/v1",
                "trace_id": trace_id,
                "service": "desk",
                "model_version": version,
                "started_at": start.isoformat(),
                "ended_at": (start + timedelta(seconds=2)).isoformat(),
                "outcome": {"success": True, "source": "status"},
            }
            judged = _outcome(trace_id, "judge", start, is_good=is_good or dice.random() < missed)
            yield trace, judged, _outcome(trace_id, "human", start, is_good=is_good) if number % 5 == 0 else None


def _outcome(trace_id: str, source: str, start: datetime, *, is_good: bool) -> dict[str, Any]:
    outcome = {"success": is_good, "source": source, "labelled_at": (start + timedelta(minutes=1)).isoformat()}
    return {"schema": "cliffwatch.outcome/v1", "trace_id": trace_id, "outcome": outcome}


def test_people_correct_a_judge_that_is_lenient_with_one_version(kafka: KafkaServer) -> None:
    """The judge alone sees 12 and 20 % failing, a regression; page, JSON and metrics say what people make of it."""
    told = list(runs(datetime.now(UTC) - timedelta(hours=2), random.Random(20261129)))
    traces = sorted((trace for trace, _, _ in told), key=lambda trace: trace["started_at"])
    judged, checked = [each for _, each, _ in told], [each for _, _, each in told if each is not None]
    topics = [kafka.new_topic(partitions=4) for _ in range(3)]
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": topics, "group_id": topics[0]}

    with MonitorProcess(settings) as monitor:
        for topic, events in zip(topics, (traces, judged, checked), strict=True):
            produce(kafka, topic, events)
        wait_until(lambda: monitor.total(READ) == len(traces) + len(judged) + len(checked), 120, "everything is read")
        wait_until(lambda: monitor.total("cliffwatch_judge_moved") > 0, what="the verdict says that the judge moved")
        (rollout,) = ask(f"{monitor.url}/api/v1/rollouts").json()
        page = ask(f"{monitor.url}/rollouts/{rollout['id']}").text
        rate = {
            arm: monitor.total("cliffwatch_rollout_aggregate_failure_ratio", arm=arm, bound="estimate")
            for arm in ("baseline", "candidate")
        }
        error = monitor.total(
            "cliffwatch_judge_error_ratio",
            arm="baseline",
            tier_group="all",
            kind="false_success",
            bound="estimate",
        )

    labels = rollout["labels"]["baseline"]
    assert "regression" != rollout["verdict"]
    assert "The judge errs differently in the two arms" in rollout["reasons"][0]
    assert "audits" == labels["count_by"]
    assert 300 < labels["audited"] <= len(checked) / 2
    # A rate from about 270 judged failures and 1,230 passes, 400 of them checked, has a standard error of 0.014.
    assert _FAILING == pytest.approx(rate["baseline"], abs=4 * 0.014)
    assert _FAILING == pytest.approx(rate["candidate"], abs=4 * 0.014)
    assert rate == {arm: rollout["aggregate"][arm]["rate"] for arm in rate}
    assert error == labels["judge"]["all"]["false_success"]["estimate"]
    assert percent(error) in page
