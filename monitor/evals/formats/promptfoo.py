"""
promptfoo results: JSON, YAML, JSON lines or CSV of `promptfoo eval --output`.

A model is a provider. A prompt is a variant of the suite, identified by its label.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats import reading
from monitor.evals.formats.reading import Format, Options, ResultFile
from monitor.evals.formats.table import csv_rows

_ERROR = 2  # of `failureReason`: 0 none, 1 an assertion, 2 an error without an answer to judge
_CSV_HEADER = re.compile(rb"(?:^|,)\"?\[[^\],\n]+\] ")
_CSV_PROMPT = re.compile(r"\[(?P<provider>[^\]]+)\] (?P<label>.*)", re.DOTALL)
_CSV_CELL = re.compile(r"\[(?P<status>PASS|FAIL|ERROR)\](?:\s*\([\d.]+\))?\s*(?P<text>.*)", re.DOTALL)
_ID_KEYS = ("id", "case_id", "testCaseId", "name")


def is_promptfoo(document: Mapping[str, JsonValue]) -> bool:
    """Whether *document* is the JSON output of `promptfoo eval`."""
    results: Any = document.get("results")
    rows = results.get("results") if isinstance(results, dict) else None
    return isinstance(rows, list) and (
        "version" in results or any(isinstance(row, dict) and "vars" in row for row in rows)
    )


def is_csv(text: bytes) -> bool:
    """Whether *text* is the CSV output of `promptfoo eval`, with a column for each provider and prompt."""
    return _CSV_HEADER.search(text.partition(b"\n")[0]) is not None


def read_csv(name: str, content: bytes, options: Options) -> ResultFile:
    """
    The attempts of a CSV result.

    Raises:
        ResultFileInvalid: it holds no result.
    """
    header, body = csv_rows(name, content)
    with reading.refused((ValueError,), f"{name} has named scores that are not JSON", "write it again"):
        rows = [row for cells in body() for row in _cells_of(header, cells)]
    return read_rows(name, rows, options)


def _cells_of(header: Sequence[str], cells: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """One result for each prompt of a line; the columns between two prompts belong to the first of them."""
    starts = [number for number, column in enumerate(header) if _CSV_PROMPT.match(column)]
    names = dict(zip(header[: starts[0]], cells, strict=False))
    described = {"description": names.pop("Description", None)}
    for start, end in zip(starts, [*starts[1:], len(header)], strict=True):
        prompt = _CSV_PROMPT.match(header[start])
        details = dict(zip(header[start + 1 : end], cells[start + 1 : end], strict=False))
        cell = _CSV_CELL.match(cells[start]) if start < len(cells) else None
        status = details.get("Status") or (cell["status"] if cell else "")
        if prompt is not None and start < len(cells):
            yield {
                "provider": prompt["provider"],
                "prompt": {"label": prompt["label"]},
                "vars": names,
                "testCase": described,
                "success": status.startswith("PASS"),
                "failureReason": 0 if status.startswith("PASS") else 1 if status.startswith("FAIL") else _ERROR,
                "gradingResult": {"reason": details.get("Grader Reason") or (cell["text"] if cell else cells[start])},
                "namedScores": json.loads(details.get("Named Scores") or "{}"),
            }


def is_result(row: Mapping[str, JsonValue]) -> bool:
    """Whether *row* is a line of promptfoo's JSON lines."""
    return {"success", "vars"} <= set(row) and bool({"promptIdx", "prompt", "promptId"} & set(row))


def read_rows(name: str, rows: Sequence[Mapping[str, Any]], options: Options) -> ResultFile:
    """
    The attempts of *rows*, one each.

    Raises:
        ResultFileInvalid: it holds no result.
    """
    # A test is identified by its name and, if tests share the name, by its variables; a prompt by its label.
    names = _unique((_case_name(row), reading.input_of(_words(row.get("vars")))[1]) for row in rows)
    prompts = _unique((_label(row), str(row.get("promptId") or "")[:8]) for row in rows)
    scores = list(dict.fromkeys(metric for row in rows for metric in row.get("namedScores") or ()))
    if options.metrics:
        reading.chosen(name, "named score", options.metrics, scores, "--metric")
    reader = reading.AttemptReader(name, options)
    named = zip(rows, names, prompts, strict=True)
    return reader.result(Format.PROMPTFOO, (_attempt(reader, *each, options) for each in named))


def _attempt(
    reader: reading.AttemptReader, row: Mapping[str, Any], case_id: str, prompt: str, options: Options
) -> Attempt:
    sources = (row.get("vars"), _case(row).get("metadata"), row.get("metadata"))
    outcomes = row.get("namedScores") or {} if options.metrics else {"": row.get("success")}
    text, _ = reading.input_of((row.get("prompt") or {}).get("raw"), keep_text=options.keep_text)
    return reader.attempt(
        CaseKey("", case_id),
        next((outcomes[each] for each in options.metrics or [""] if each in outcomes), None),
        broken="error" if _is_error(row) else None,
        question=_words(row.get("vars")),
        metadata={name: value for each in sources for name, value in reader.facts(each).items()},
        failure=_failure(row),
        model=_model(row),
        repeat=None if row.get("testIdx") is None else str(row["testIdx"]),
        input_text=text,
        attempt_id=row.get("id"),
        variant=prompt,
    )


def _is_error(row: Mapping[str, Any]) -> bool:
    """Whether there is no answer to judge. Before version 3, only the missing answer shows it."""
    if row.get("failureReason") is not None:
        return bool(row["failureReason"] == _ERROR)
    answer = (row.get("response") or {}).get("output")
    return bool(row.get("error")) and answer is None and not row.get("gradingResult")


def _model(row: Mapping[str, Any]) -> str:
    provider = row.get("provider")
    return str(provider.get("label") or provider.get("id")) if isinstance(provider, dict) else str(provider or "")


def _label(row: Mapping[str, Any]) -> str:
    prompt = row.get("prompt") or {}
    text = prompt if isinstance(prompt, str) else str(prompt.get("label") or prompt.get("display") or "")
    return reading.shortened(" ".join(text.split()), reading.LONGEST_NAME) or ""


def _words(variables: Any) -> Any:
    """*variables* as text, as in a CSV file, so that the question is the same in every format."""
    if not isinstance(variables, dict):
        return variables
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}


def _case(row: Mapping[str, Any]) -> Mapping[str, Any]:
    case = row.get("testCase")
    return case if isinstance(case, dict) else {}


def _unique(named: Iterable[tuple[str, str | None]]) -> Sequence[str]:
    """Each name, with its mark appended if the name has several marks."""
    rows, marks = list(named), defaultdict(set)
    for name, mark in rows:
        marks[name].add(mark)
    return [name if len(marks[name]) == 1 else f"{name} #{mark}" for name, mark in rows]


def _case_name(row: Mapping[str, Any]) -> str:
    case = _case(row)
    metadata = case.get("metadata") or {}
    name = next((metadata[key] for key in _ID_KEYS if metadata.get(key)), None) or case.get("description")
    if name:
        return str(name)
    words = ", ".join(f"{variable}={value}" for variable, value in _words(row.get("vars") or {}).items())
    return reading.shortened(words, reading.LONGEST_NAME) or f"test {row.get('testIdx')}"


def _failure(row: Mapping[str, Any]) -> str | None:
    reason = (row.get("gradingResult") or {}).get("reason") or row.get("error")
    return reading.shortened(reason) or reading.failure_of((row.get("response") or {}).get("output"), None)
