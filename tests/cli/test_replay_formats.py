"""`cliffwatch replay` finds the same in the same runs, whichever way they are written down."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from monitor.cli import run_command
from monitor.clock import WallClock
from monitor.demo.events import demo_events
from monitor.ledger.ledger import CounterName
from monitor.ledger.schema import model_version, request
from monitor.ledger.sql import SqlLedger
from tests.builders import a_batch
from tests.ledgers import counts
from tests.trace.otlp import otlp_json
from tests.trace.spans import a_call, a_span

RUNS = 400
RUNS_PER_MESSAGE = 8
NANOSECONDS = 10**9


@pytest.fixture(scope="module")
def runs() -> Sequence[dict[str, Any]]:
    """Some runs of the demo's rollout, as native events that say all that spans say."""
    of_rollout = (event for event in demo_events() if event["service"] == "booking-agent")
    return [_complete(event, number) for number, event in enumerate(islice(of_rollout, 0, None, 2_700 // RUNS))]


def _complete(event: Mapping[str, Any], number: int) -> dict[str, Any]:
    started_at = datetime.fromisoformat(event["started_at"])
    outcome = {"success": event["outcome"]["success"], "failure_class": "judged", "source": "judge"}
    return {
        **{
            name: event[name] for name in ("schema", "trace_id", "service", "model_version", "capability", "request_id")
        },
        "started_at": started_at.isoformat(),
        "ended_at": started_at.replace(microsecond=number % 1_000 * 1_000).isoformat(),
        "usage": {"input_tokens": 700 + number, "output_tokens": 80},
        "steps": 1,
        "tool_calls": 0,
        **({"outcome": outcome} if number % 9 else {}),
    }


def as_requests(runs: Sequence[Mapping[str, Any]]) -> Iterator[ExportTraceServiceRequest]:
    """The same runs as spans, first the model calls of some runs and in the next message the agents around them."""
    for start in range(0, len(runs), RUNS_PER_MESSAGE):
        some = runs[start : start + RUNS_PER_MESSAGE]
        for add in (_add_call, _add_agent):
            made = ExportTraceServiceRequest()
            resource = made.resource_spans.add()
            _set(resource.resource.attributes, {"service.name": "booking-agent"})
            for run in some:
                add(resource.scope_spans.add().spans.add(trace_id=bytes.fromhex(run["trace_id"])), run)
            yield made


def _add_call(span: Any, run: Mapping[str, Any]) -> None:
    span.span_id, span.parent_span_id, span.name = b"callcall", b"rootroot", "chat"
    span.start_time_unix_nano, span.end_time_unix_nano = _nanoseconds(run["started_at"]), _nanoseconds(run["ended_at"])
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.response.model": run["model_version"]}
    _set(span.attributes, attributes | {f"gen_ai.usage.{name}": count for name, count in run["usage"].items()})


def _add_agent(span: Any, run: Mapping[str, Any]) -> None:
    span.span_id, span.name = b"rootroot", "agent"
    span.start_time_unix_nano, span.end_time_unix_nano = _nanoseconds(run["started_at"]), _nanoseconds(run["ended_at"])
    attributes = {"gen_ai.operation.name": "invoke_agent", "cliffwatch.capability": run["capability"]}
    _set(span.attributes, attributes | {"cliffwatch.request_id": run["request_id"]})
    if "outcome" in run:
        event = span.events.add(name="gen_ai.evaluation.result", time_unix_nano=span.end_time_unix_nano)
        label = "pass" if run["outcome"]["success"] else "fail"
        _set(event.attributes, {"gen_ai.evaluation.name": "judged", "gen_ai.evaluation.score.label": label})


def _nanoseconds(instant: str) -> int:
    return round(datetime.fromisoformat(instant).timestamp() * 1e6) * 1_000


def _set(attributes: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        held = attributes.add(key=key).value
        if isinstance(value, int):
            held.int_value = value
        else:
            held.string_value = value


def native_lines(runs: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(run).encode() + b"\n" for run in runs)


def otlp_json_lines(runs: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(otlp_json(made)).encode() + b"\n" for made in as_requests(runs))


def protobuf_after_four_bytes(runs: Sequence[Mapping[str, Any]]) -> bytes:
    payloads = [made.SerializeToString() for made in as_requests(runs)]
    return b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)


def protobuf_after_a_varint(runs: Sequence[Mapping[str, Any]]) -> bytes:
    payloads = [made.SerializeToString() for made in as_requests(runs)]
    return b"".join(_varint(len(payload)) + payload for payload in payloads)


def _varint(number: int) -> bytes:
    head = b""
    while number >= 0x80:
        head += bytes([number & 0x7F | 0x80])
        number >>= 7
    return head + bytes([number])


def gzipped(runs: Sequence[Mapping[str, Any]]) -> bytes:
    return gzip.compress(protobuf_after_four_bytes(runs))


def replayed(folder: Path, name: str, content: bytes) -> tuple[Any, ...]:
    """What a replay of *content* says, and what it leaves in the ledger."""
    config, url = folder / "cliffwatch.yaml", f"sqlite:///{folder}/{name}.db"
    # A native event without an outcome says nothing of success; a span without an error would.
    config.write_text("traces: {outcomes: {status: ignored}}\n")
    (folder / name).write_bytes(content)
    arguments = [str(folder / name), "--ledger", url, "--output", "json", "--config.file", str(config)]
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert 0 == run_command(["replay", *arguments])
    shown = json.loads(printed.getvalue())
    records = {what: shown["records"][what] for what in ("counted", "duplicate", "dead_lettered", "unlabelled")}
    rollouts = [{what: rollout[what] for what in _ROLLOUT} for rollout in shown["rollouts"]]
    return records, rollouts, *in_ledger(url)


@pytest.fixture(scope="module")
def native(runs: Sequence[Mapping[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """What a replay says of the native events, which is the same for every way to write spans."""
    return replayed(tmp_path_factory.mktemp("native"), "native", native_lines(runs))


@pytest.mark.slow
@pytest.mark.parametrize(
    "written",
    [otlp_json_lines, protobuf_after_four_bytes, protobuf_after_a_varint, gzipped],
    ids=lambda written: written.__name__.replace("_", " "),
)
def test_spans_in_a_file_give_what_native_events_give(
    written: Callable[[Sequence[Mapping[str, Any]]], bytes],
    runs: Sequence[dict[str, Any]],
    native: tuple[Any, ...],
    tmp_path: Path,
) -> None:
    """The same requests with the same outcomes, the same sums, and the same rollout with the same numbers."""
    assert native == replayed(tmp_path, "spans", written(runs))
    assert (len(runs), 0, 0) == (native[0]["counted"], native[0]["duplicate"], native[0]["dead_lettered"])
    assert ["booking-agent"] == [rollout["service"] for rollout in native[1]]


_ROLLOUT = ("service", "environment", "baseline", "candidate", "started_at", "verdict", "aggregate", "tiers", "floors")
_SUMS = (
    CounterName.OUTCOMES,
    CounterName.OUTCOME_REVISIONS,
    CounterName.FAILURES_BY_CLASS,
    CounterName.DURATION_MICROSECONDS,
    CounterName.STEPS_BUCKET,
    CounterName.TOKENS,
)
_COLUMNS = ("trace_id", "capability", "item", "success", "failure_class", "outcome_source", "counted_tier")


def in_ledger(url: str) -> tuple[Mapping[str, Mapping[str, int]], Sequence[tuple[Any, ...]]]:
    """Sums and rows of a ledger; instants to the microsecond, which is what native events have."""
    ledger = SqlLedger(url)
    sums = {name.value: counts(ledger, name) for name in _SUMS}
    columns = [request.c[name] for name in _COLUMNS]
    instants = [request.c.started_at, request.c.labelled_at]
    with ledger._engine.connect() as connection:
        rows = connection.execute(
            sa.select(*columns, model_version.c.model_version, *instants).join(model_version).order_by("trace_id")
        ).all()
    ledger.close()
    return sums, [(*row[:-2], *(instant and round(instant, 6) for instant in row[-2:])) for row in rows]


def test_spans_teach_as_history_and_those_of_others_go_on_waiting(
    runs: Sequence[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`calibrate` closes every trace of its files, as reference history, and none that a running service waits for."""
    history, url = tmp_path / "history.pb", f"sqlite:///{tmp_path}/ledger.db"
    history.write_bytes(protobuf_after_four_bytes(runs))
    ledger = SqlLedger(url)
    ledger.record(a_batch(a_span(), a_call("a"), received_at=WallClock().time()))

    run_command(["calibrate", str(history), "--ledger", url, "--output", "json"])

    loaded = json.loads(capsys.readouterr().out)["records"]
    assert (len(runs), 0) == (loaded["counted"], loaded["dead_lettered"])
    assert {"reference"} == {version.environment for version in ledger.activity()}
    assert 2 == ledger.pending_spans()
    ledger.close()
