"""
Every run in captures of real instrumentation libraries, as a person reads it in the spans.

`captures/runs.tsv` has a line for each run and for each trace that holds none. The files are spans of agents with fake
models: a run with a tool call, one whose model call or tool fails, nested and several agents.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from monitor.trace.assembly import build_traces
from monitor.trace.decode import decode
from monitor.trace.model import InvalidRecord, Outcome, Trace, TraceId
from monitor.trace.outcome_policy import implied_outcomes, resolve
from monitor.trace.settings import Limits, OutcomeSettings
from monitor.trace.span import Span

CAPTURES = Path(__file__).parent / "captures"
COLUMNS = (
    "file", "trace", "service", "version", "told_by", "requested", "outcome", "tool_calls", "steps", "input_tokens",
    "output_tokens", "cost", "messages", "tools", "text",
)  # fmt: skip
LONGEST_TEXT = 60


def rows() -> dict[str, list[dict[str, str]]]:
    by_file: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (CAPTURES / "runs.tsv").open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            by_file[row["file"]].append(row)
    return by_file


def runs_of(file: Path) -> Iterator[dict[str, str]]:
    """What is read of each trace of a capture."""
    return runs_in(gzip.decompress(file.read_bytes()).splitlines(), file.name)


def runs_in(records: Iterable[bytes], file: str) -> Iterator[dict[str, str]]:
    """What is read of each trace in the *records* of a *file*."""
    spans: dict[TraceId, list[Span]] = defaultdict(list)
    verdicts: dict[TraceId, list[Outcome]] = defaultdict(list)
    for record in records:
        try:
            decoded = decode(record, Limits())
        except InvalidRecord:
            continue
        for span in decoded.spans:
            spans[span.trace_id].append(span)
        for event in decoded.outcomes:
            verdicts[event.trace_id].append(event.outcome)
    for trace_id, of_trace in spans.items():
        runs = build_traces(of_trace, OutcomeSettings())
        if not runs:
            yield {**dict.fromkeys(COLUMNS, ""), "file": file, "trace": trace_id[-4:], "version": "no run"}
        for run in runs:
            yield row_of(file, run, verdicts[run.trace_id])


def row_of(file: str, run: Trace, verdicts: list[Outcome]) -> dict[str, str]:
    settings = OutcomeSettings()
    label = resolve([*implied_outcomes(run, settings), *verdicts], settings)
    outcome = "aborted" if run.aborted else "" if label is None else "success" if label.success else label.failure_class
    values = (
        file, run.trace_id[28:], run.service, run.model_version, run.version_by, run.requested_model, outcome,
        run.tool_calls, run.steps, run.usage.input_tokens, run.usage.output_tokens, run.usage.cost_usd,
        run.request.messages, ",".join(tool.name for tool in run.request.tools),
        (run.request.text or "")[:LONGEST_TEXT],
    )  # fmt: skip
    return {name: "" if value is None else str(value) for name, value in zip(COLUMNS, values, strict=True)}


@pytest.mark.parametrize("file", sorted(CAPTURES.glob("*.gz")), ids=lambda file: file.name.removesuffix(".jsonl.gz"))
def test_every_run_is_what_a_person_reads_in_its_spans(file: Path) -> None:
    """Version, outcome, calls, steps, tokens, cost, what was asked and the tools on offer, run by run."""
    assert rows()[file.name] == list(runs_of(file))


if __name__ == "__main__":
    with (CAPTURES / "runs.tsv").open("w", newline="") as table:
        writer = csv.DictWriter(table, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for capture in sorted(CAPTURES.glob("*.gz")):
            writer.writerows(runs_of(capture))
