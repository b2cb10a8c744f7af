"""What every ledger endures: ever new names, while slow readers hang on the metrics."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from monitor.difficulty.settings import DifficultySettings
from monitor.ingest.dead_letter import NoDeadLetters
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import counter, label_value, model_version, rollout
from monitor.ledger.settings import LedgerSettings
from monitor.ledger.sql import SqlLedger
from monitor.log import LogSettings, configure
from monitor.metrics.snapshot import Snapshot, SnapshotHolder
from monitor.rollout.policy import Policy
from monitor.service.loop import Service
from monitor.service.pipeline import DecodeRules
from monitor.service.review import Reviewer
from monitor.service.settings import ServiceSettings
from monitor.service.stages import Stages
from monitor.trace.model import DropReason
from monitor.trace.settings import Limits, TraceSettings
from monitor.web.server import MetricsServer
from monitor.web.settings import WebSettings
from tests.fakes import FakeBroker, FakeSource
from tests.ledgers import counts
from tests.traced import FakeClock

NAMES = int(os.environ.get("CLIFFWATCH_HOSTILE_NAMES", "6000"))
"""Records with names never seen before; a million in the long run (`make test-hostile-names`)."""

SMALL_CAPS = LedgerSettings(
    max_services=20, max_model_versions=20, max_capabilities=10, max_failure_classes=10, max_series=20_000
)
CAPS = SMALL_CAPS if NAMES < 100_000 else LedgerSettings()

SERIES_BESIDE_TRAFFIC = 300
"""Series that do not depend on names in traces: of topics, dead letters, the calibration, the monitor itself."""

TURNS = 10
SLOW_READERS = 50
RECORDS_PER_BATCH = 2_000
DEADLINE_SECONDS = 120.0

UGLY = '<script>alert("\\")</script>\r\n\x1b[31m\u2028\u202e{x="y"} 1\n# EOF\n'


class HostileNames:
    """A suite that a backend inherits; it gives an empty database's URL."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    def test_names_without_end_leave_a_bounded_monitor(self, url: str, capfd: pytest.CaptureFixture[str]) -> None:
        """Series, rows and memory stay within the caps, every request is counted, and scrapes go on beside it all."""
        ledger, began = SqlLedger(url, CAPS), time.monotonic()
        broker, snapshots, reviewer, service = _service(ledger)
        configure(LogSettings())
        served = MetricsServer(WebSettings(listen_address="127.0.0.1:0"), snapshots, lambda: None)
        served.start()
        totals, peaks = [], []
        with (
            closing(ledger),
            _slow_readers(served.port),
            httpx.Client(base_url=served.url, trust_env=False, timeout=DEADLINE_SECONDS) as client,
        ):
            per_turn = NAMES // TURNS
            for turn in range(TURNS):
                for number in range(turn * per_turn, (turn + 1) * per_turn):
                    broker.append(_record(number))
                _read_all(service, broker)
                reviewer.review(now=1_800_000_000.0)
                service.publish()
                for log in broker.logs.values():  # what was read is in the ledger; a test's memory has an end, too
                    log[:] = [record and None for record in log]  # type: ignore[misc]
                scraped = client.get("/metrics")
                totals.append(_total(scraped.text, "cliffwatch_records_consumed_total"))
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            page, rollouts = client.get("/").text, client.get("/api/v1/rollouts")
            rows = {table.name: _rows(ledger, table) for table in (counter, label_value, model_version, rollout)}
            dropped = counts(ledger, CounterName.SERIES_DROPPED)
            requests = sum(counts(ledger, CounterName.REQUESTS).values())
            dead = counts(ledger, CounterName.DEAD_LETTERS)
        served.stop()
        log = capfd.readouterr().err

        series = [sample for family in text_string_to_metric_families(scraped.text) for sample in family.samples]
        assert [per_turn * turn for turn in range(1, TURNS + 1)] == totals
        assert len(series) <= CAPS.max_series + SERIES_BESIDE_TRAFFIC
        assert len(series) == len({(sample.name, *sorted(sample.labels.items())) for sample in series})
        assert requests + sum(dead.values()) == NAMES
        assert {"service", "model_version", "capability", "failure_class"} & dropped.keys()
        assert dropped.keys() <= _REFUSED_BY
        assert dead.keys() <= {reason.value for reason in DropReason}
        assert rows["counter"] <= CAPS.max_series
        assert rows["model_version"] <= CAPS.max_series // 300
        assert rows["label_value"] <= CAPS.max_series // 5
        assert rows["rollout"] <= rows["model_version"]
        assert "<script" not in page
        assert isinstance(rollouts.json(), list)
        assert [] == [line for line in log.splitlines() if not line.startswith("timestamp=")]
        assert log.isprintable() or set(log) - _PRINTABLE == {"\n"}
        if NAMES >= 100_000:
            seconds = time.monotonic() - began
            print(  # noqa: T201
                f"{NAMES:,} names, {seconds:.0f} s, {len(series):,} series, rows {rows}, MiB {peaks[-1] / 1024:.0f}, "
                f"page {len(page):,} B, scrape {len(scraped.text):,} B"
            )
            assert peaks[-1] < 1.2 * peaks[TURNS // 2], f"peak memory in KiB by turn: {peaks}"


_REFUSED_BY = {
    *("service", "model_version", "capability", "failure_class"),
    *("version_capability", "version_failure_class", "series"),
}
_PRINTABLE = {chr(code) for code in range(0x20, 0x7F)}


def _service(ledger: SqlLedger) -> tuple[FakeBroker, SnapshotHolder, Reviewer, Service]:
    broker, policy = FakeBroker(), Policy(candidate_min_requests=1)
    settings = ServiceSettings(review_interval_seconds=1e9, snapshot_interval_seconds=1e9)
    snapshots = SnapshotHolder(Snapshot(now=0.0, policy=policy))
    reviewer = Reviewer(ledger, settings=settings, difficulty=DifficultySettings(), policy=policy)
    source = FakeSource(broker, ledger.offsets, RECORDS_PER_BATCH)
    stages = Stages(source, NoDeadLetters(), ledger, reviewer, FakeClock(), snapshots)
    rules = DecodeRules(Limits(), TraceSettings())
    return broker, snapshots, reviewer, Service(stages, rules=rules, settings=settings, caps=CAPS)


def _read_all(service: Service, broker: FakeBroker) -> None:
    service.run_once()
    while any(broker.members[0].lag().values()):
        service.run_once()


def _record(number: int) -> bytes:
    """A trace with at least one name that no other record has."""
    names = [
        {"service": f"service-{number}"},
        {"model_version": f"model-{number}@latest"},
        {"capability": f"class-{number}", "failure_class": f"failure-{number}", "source": f"judge-{number}"},
        {"environment": f"environment-{number}"},
        {"service": f"service-{number}", "model_version": f"model-{number}", "capability": f"class-{number}"},
        {"service": f"{UGLY}{number}"},
        {"capability": f"{UGLY}{number}", "failure_class": f"{number}{UGLY}"},
    ][number % 7]
    event: dict[str, Any] = {
        "schema": "cliffwatch.trace/v1",
        "trace_id": f"{number:032x}",
        "service": names.get("service", "shop"),
        "environment": names.get("environment", "production"),
        "model_version": names.get("model_version", "gpt-4-0613"),
        "capability": names.get("capability", "search"),
        "started_at": f"2026-11-{1 + number * 20 // max(NAMES, 1):02}T{number % 24:02}:02:00Z",
        f"field-{number}": number,
        "outcome": {
            "success": number % 2 == 0,
            "source": names.get("source", "judge"),
            "failure_class": names.get("failure_class", "wrong_tool"),
        },
    }
    return json.dumps(event).encode()


@contextmanager
def _slow_readers(port: int) -> Iterator[None]:
    readers = []
    for _ in range(SLOW_READERS):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.connect(("127.0.0.1", port))
        reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        readers.append(reader)
    yield
    for reader in readers:
        reader.close()


def _total(text: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name}{{"))


def _rows(ledger: SqlLedger, table: sa.Table) -> int:
    with ledger._engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
