"""Hostile tenants beside honest ones, on a real broker and both databases."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.cli.app import run_command
from monitor.demo.events import demo_events
from monitor.ledger.sql import SqlLedger
from tests.hostile.odd_events import odd_events
from tests.stack.monitor_process import PATIENT, MonitorProcess
from tests.stack.servers import KafkaServer, PostgresServer, ask, wait_until
from tests.stack.test_bombs import BOMB_BYTES, a_producer, peak_kib

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(3_600)]

HOSTILE = int(os.environ.get("CLIFFWATCH_HOSTILE_EVENTS", "2000"))
"""Hostile events; 10^5 in the long run (`make test-hostile`)."""

MOST_MEMORY_KIB = 768 * 1024
HONEST = ("alpha", "beta", "gamma")
DEADLINE_SECONDS = 1_200.0


def _iso(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat()


def honest() -> Iterator[bytes]:
    """Every other request of a real rollout for each honest service, old enough for its labels to be there."""
    of_rollout = (event for event in demo_events() if event["service"] == "booking-agent")
    events = [event for event in of_rollout if event["request_id"].endswith(tuple("02468"))]
    last = max(datetime.fromisoformat(event["started_at"]).timestamp() for event in events)
    shift = time.time() - 5 * 86_400.0 - last

    def later(text: str) -> str:
        return _iso(datetime.fromisoformat(text).timestamp() + shift)

    for event in events:
        times = {name: later(event[name]) for name in ("started_at", "ended_at") if event.get(name)}
        outcome = event.get("outcome")
        if outcome and outcome.get("labelled_at"):
            times["outcome"] = {**outcome, "labelled_at": later(outcome["labelled_at"])}
        for service in HONEST:
            yield json.dumps(
                {**event, **times, "service": service, "trace_id": f"{service}-{event['trace_id']}"}
            ).encode()


def hostile(number: int) -> bytes:
    """One of all kinds: numbers, names, clocks, words, and what is no event at all."""
    now = time.time()
    dice = random.Random(number)
    event: dict[str, Any] = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": f"evil-{number}",
        "service": "evil",
        "model_version": "m-1",
        "started_at": _iso(now),
    }
    kinds: Sequence[dict[str, Any]] = [
        {"started_at": _iso(now - 30 * 86_400), "ended_at": _iso(now)},
        {"started_at": "2000-01-01T00:00:00Z", "ended_at": "2099-12-31T00:00:00Z"},
        {"started_at": "2099-12-31T00:00:00Z", "service": dice.choice(HONEST), "model_version": "gpt-3.5-turbo-0125"},
        {"started_at": _iso(now + 7_200)},
        {
            "usage": {"input_tokens": 10**9, "output_tokens": 10**9, "cost_usd": 1e6},
            "tool_calls": 10**9,
            "steps": 10**9,
        },
        {"usage": {"input_tokens": 2**63}},
        {"environment": "reference", "request": {"attributes": {"x": 1e30}}, "outcome": {"success": bool(number % 2)}},
        {"environment": "reference", "request": {"attributes": {"x": 1.7e308}}, "outcome": {"success": True}},
        {"service": f"evil{number % 700}", "model_version": f"m-{number}"},
        {"service": f"evil{number}"},
        {"capability": f"class-{number}", "outcome": {"success": False, "failure_class": f"f-{number}"}},
        {"capability": "\x1b[31m::error::"},
        {"request": {"text": "x" * 20_000}},
        {"trace_id": "\u202e" * 200},
    ]
    odd = [
        b"{" * 1_000,
        b"\x0a\xff" * 50,
        b"",
        b"[1]",
        b'{"schema": ["cliffwatch.trace/v1"]}',
        b"\x28\xb5\x2f\xfd" + b"0" * 20,
    ]
    kind = number % (len(kinds) + len(odd))
    return json.dumps({**event, **kinds[kind]}).encode() if kind < len(kinds) else odd[kind - len(kinds)]


def verdicts(monitor: MonitorProcess) -> dict[str, tuple[str, ...]]:
    shown = ask(f"{monitor.url}/api/v1/rollouts").json()
    return {
        rollout["service"]: (rollout["baseline"], rollout["candidate"], rollout["verdict"])
        for rollout in shown
        if rollout["service"] in HONEST and rollout["environment"] == "production"
    }


def _are_judged(found: dict[str, tuple[str, ...]]) -> bool:
    """A look before all was read may have said `waiting`; reviews rest between looks."""
    return len(found) == len(HONEST) and all(verdict != "waiting" for *_, verdict in found.values())


def a_topic(kafka: KafkaServer, *, attacked: bool) -> tuple[str, int]:
    """Name of a topic with the honest services, and the hostile events among them, and how many records it holds."""
    topic = kafka.new_topic(partitions=4)
    sent, records = a_producer(kafka, "gzip"), [*honest()]
    if attacked:
        evil = [hostile(number) for number in range(HOSTILE)]
        place = len(records) // 2
        records = [*records[:place], *evil, *records[place:]]
        for codec, size in BOMB_BYTES.items():
            bomber = a_producer(kafka, codec)
            bomber.send(topic, b"0" * size, partition=0).get(timeout=120)
            bomber.close()
    sent.config["batch_size"] = 1_000_000
    for number, record in enumerate(records):
        sent.send(topic, record, partition=number % 4)
    sent.flush()
    sent.close()
    return topic, len(records) + (len(BOMB_BYTES) if attacked else 0)


def judged(
    kafka: KafkaServer, topic: str, total: int, url: str, *, group: str
) -> tuple[dict[str, tuple[str, ...]], int]:
    """Verdicts on the honest services once all is read and judged, and the peak memory in KiB."""
    settings = {"bootstrap_servers": kafka.bootstrap_servers, "topics": [topic], "group_id": f"{topic}-{group}"}
    with MonitorProcess(settings, ledger={"url": url}, service=PATIENT) as monitor:
        process = monitor.process
        wait_until(lambda: monitor.total("cliffwatch_records_consumed_total") == total, DEADLINE_SECONDS, "all is read")
        wait_until(lambda: _are_judged(verdicts(monitor)), 300, "every honest service has a verdict")
        assert process is monitor.process
        assert process is not None
        assert process.poll() is None
        counted = monitor.total("cliffwatch_requests_total") + monitor.total("cliffwatch_duplicate_records_total")
        assert total == counted + monitor.total("cliffwatch_dead_letters_total")
        found, peak = verdicts(monitor), peak_kib(monitor)
    ledger = SqlLedger(url)
    problems = [check for check in ledger.checks() if check.problems]
    ledger.close()
    assert [] == problems
    return found, peak


def test_postgres_takes_what_every_odd_event_left(postgres: PostgresServer, tmp_path: Path) -> None:
    """NUL, half characters and the like stop no batch, whether the trace or its outcome came first."""
    odd = odd_events(_iso(time.time() - 86_400))
    ids = {event["trace_id"] for event in map(read_json, odd) if isinstance(event.get("trace_id"), str)}
    verdict = {"schema": "cliffwatch.outcome/v1", "outcome": {"success": False, "failure_class": "a\x00b"}}
    early = [json.dumps({**verdict, "trace_id": trace_id}).encode() for trace_id in sorted(ids)]
    file, url = tmp_path / "odd.jsonl", postgres.new_database()
    file.write_bytes(b"\n".join([*early[::2], *odd, *early]))

    assert 0 == run_command(["replay", str(file), "--ledger", url])
    assert 0 == run_command(["ledger", "check", "--ledger", url])
    assert 0 == run_command(["ledger", "names", "--free", "*", "--ledger", url])


def read_json(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def test_honest_verdicts_are_those_without_the_hostile_ones(
    kafka: KafkaServer, postgres: PostgresServer, tmp_path: Path
) -> None:
    """Bombs and hostile events of all kinds: nothing restarts, memory holds, accounts balance, verdicts stay."""
    alone, _ = judged(kafka, *a_topic(kafka, attacked=False), f"sqlite:///{tmp_path}/alone.db", group="alone")
    attacked = a_topic(kafka, attacked=True)

    for database, url in (("sqlite", f"sqlite:///{tmp_path}/ledger.db"), ("postgresql", postgres.new_database())):
        beside, peak = judged(kafka, *attacked, url, group=database)

        print(f"{database}: {HOSTILE:,} hostile events, peak {peak / 1024:.0f} MiB, {sorted(beside.items())}")  # noqa: T201
        assert alone == beside
        assert peak < MOST_MEMORY_KIB
