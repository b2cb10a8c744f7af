"""
lm-evaluation-harness: the samples that `--log_samples` writes, one JSON object per line, document and filter.

The totals in `results_*.json` name no case. Task and model are only in the file's name and folder:
`MODEL/samples_TASK_TIME.jsonl`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import JsonValue

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats import reading
from monitor.evals.formats.reading import Format, Options, ResultFile

_FILE_NAME = re.compile(r"^samples_(?P<task>.+)_(?P<written>\d{4}-\d{2}-\d{2}T[0-9.:+-]+)\.jsonl(?:\.gz|\.zst)?$")
_ENVELOPE = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    | {"doc_hash", "prompt_hash", "target_hash", "repeats"}
)


def read_samples(name: str, rows: Sequence[Mapping[str, Any]], options: Options) -> ResultFile:
    """
    The attempts of a samples file.

    Raises:
        ChoiceMissing: the file lacks the metric or filter that an option names.
        ResultFileInvalid: no document has a score of its own.
    """
    path = PurePath(name)
    match = _FILE_NAME.match(path.name)
    task, model = (match["task"], path.parent.name) if match else ("", "")
    filters = list(dict.fromkeys(str(row.get("filter", "none")) for row in rows))
    filter_name, filter_notes = reading.chosen(name, "filter", options.filters, filters, "--filter")
    filtered = [row for row in rows if str(row.get("filter", "none")) == filter_name]
    metrics = options.preferring(_metrics(filtered))
    metric, metric_notes = reading.chosen(name, "metric", options.metrics, metrics, "--metric")
    reader = reading.AttemptReader(name, options, metric)
    return reader.result(
        Format.LM_EVAL,
        [_attempt(reader, row, row.get(metric), task, model) for row in filtered],
        *filter_notes,
        *metric_notes,
        series=f"lm_eval {path.parent}/{task}" if match else None,
        written=match["written"] if match else "",
        outcomes=metrics,
    )


def _metrics(rows: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """Scores of single documents, without corpus metrics such as perplexity."""
    first = rows[0]
    declared = first.get("metrics") or [key for key in first if key not in _ENVELOPE]
    return [metric for metric in declared if any(isinstance(row.get(metric), int | float) for row in rows)]


def _attempt(reader: reading.AttemptReader, row: Mapping[str, Any], score: JsonValue, task: str, model: str) -> Attempt:
    answers = row.get("filtered_resps") or [None]
    return reader.attempt(
        CaseKey(task, str(row["doc_id"])),
        score if isinstance(score, int | float) else None,
        question=_first(_first(row.get("arguments"))),  # of the first prompt; older files have lists
        metadata=reader.facts(row["doc"] if isinstance(row["doc"], dict) else {}),
        otherwise=task,
        failure=reading.failure_of(answers[0], row.get("target")),
        model=model,
        **({"input_digest": row["doc_hash"]} if row.get("doc_hash") else {}),
    )


def _first(value: JsonValue) -> JsonValue:
    values = list(value.values()) if isinstance(value, dict) else value
    return next(iter(values), None) if isinstance(values, list) else values
