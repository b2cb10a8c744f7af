"""
promptfoo results: the JSON of `promptfoo eval --output results.json` (version 3 on), or its JSON lines.

A model is a provider; where one was asked with several prompts, each is a run of its own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats.reading import (
    Format,
    Options,
    ResultFile,
    ResultFileInvalid,
    capability_in,
    failure_of,
    graded_note,
    input_of,
    passes,
    scalars,
    shortened,
)

_ERROR = 2  # of `failureReason`: 0 none, 1 an assertion, 2 no answer could be judged
_LONGEST_NAME = 80
_ID_KEYS = ("id", "case_id", "testCaseId", "name")


def is_promptfoo(document: Mapping[str, JsonValue]) -> bool:
    """Whether *document* is what `promptfoo eval` writes as JSON."""
    results = document.get("results")
    return isinstance(results, dict) and isinstance(results.get("results"), list) and "version" in results


def is_result(row: Mapping[str, JsonValue]) -> bool:
    """Whether *row* is a line of promptfoo's JSON lines."""
    return {"testIdx", "promptIdx", "success", "vars"} <= set(row)


def read_document(name: str, document: Mapping[str, Any], options: Options) -> ResultFile:
    """
    The attempts of a JSON result.

    Raises:
        ResultFileInvalid: it holds no result.
    """
    return read_rows(name, document["results"]["results"], options)


def read_rows(name: str, rows: Sequence[Mapping[str, Any]], options: Options) -> ResultFile:
    """
    The attempts of *rows*, one each.

    Raises:
        ResultFileInvalid: it holds no result.
    """
    if not rows:
        raise ResultFileInvalid(f"{name} holds promptfoo results without a single test; run the eval again.")
    prompts = list(dict.fromkeys(_prompt(row) for row in rows))
    names = _case_names(rows)
    scores: list[float] = []
    attempts = [_attempt(row, names[index], prompts, scores, options) for index, row in enumerate(rows)]
    notes = [f"{len(prompts)} prompts: each is a run of its own."] if len(prompts) > 1 else []
    return ResultFile(name, Format.PROMPTFOO, attempts, (*notes, *graded_note(scores, options)))


def _attempt(
    row: Mapping[str, Any], case_id: str, prompts: Sequence[str], scores: list[float], options: Options
) -> Attempt:
    metadata = scalars(_case(row).get("metadata")) | scalars(row.get("metadata"))
    passed = _passed(row, scores, options)
    _, digest = input_of(row.get("vars"))
    text, _ = input_of((row.get("prompt") or {}).get("raw"))
    return Attempt(
        key=CaseKey("", case_id),
        model=_model(row, prompts),
        passed=passed,
        repeat=str(row.get("testIdx")),
        capability=capability_in(metadata, options),
        failure=_failure(row) if passed is False else None,
        unscored_because="error" if passed is None else None,
        input_text=text,
        input_digest=digest,
        metadata=metadata,
        attempt_id=row.get("id"),
    )


def _passed(row: Mapping[str, Any], scores: list[float], options: Options) -> bool | None:
    if row.get("failureReason") == _ERROR:
        return None
    if not options.metrics:
        return bool(row.get("success"))
    named = row.get("namedScores") or {}
    value = next((named[metric] for metric in options.metrics if metric in named), None)
    if not isinstance(value, int | float):
        return None
    scores.append(float(value))
    return passes(float(value), options)


def _model(row: Mapping[str, Any], prompts: Sequence[str]) -> str:
    provider = row.get("provider")
    name = str(provider.get("label") or provider.get("id")) if isinstance(provider, dict) else str(provider or "")
    if len(prompts) < 2:  # noqa: PLR2004  (one prompt needs no number)
        return name
    return f"{name} [prompt {prompts.index(_prompt(row)) + 1}]"


def _prompt(row: Mapping[str, Any]) -> str:
    prompt = row.get("prompt") or {}
    return str(row.get("promptId") or prompt.get("label") or prompt.get("raw"))


def _case(row: Mapping[str, Any]) -> Mapping[str, Any]:
    case = row.get("testCase")
    return case if isinstance(case, dict) else {}


def _case_names(rows: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """A name per row: the test's own, or what its variables say; with a digest where other variables share it."""
    digests: dict[str, set[str | None]] = defaultdict(set)
    named = [(_case_name(row), input_of(row.get("vars"))[1]) for row in rows]
    for name, digest in named:
        digests[name].add(digest)
    return [name if len(digests[name]) == 1 else f"{name} #{digest}" for name, digest in named]


def _case_name(row: Mapping[str, Any]) -> str:
    case = _case(row)
    metadata = case.get("metadata") or {}
    told = next((metadata[key] for key in _ID_KEYS if metadata.get(key)), None) or case.get("description")
    if told:
        return str(told)
    variables = row.get("vars") or {}
    words = ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in variables.items()
    )
    return shortened(words, _LONGEST_NAME) or f"test {row.get('testIdx')}"


def _failure(row: Mapping[str, Any]) -> str | None:
    reason = (row.get("gradingResult") or {}).get("reason") or row.get("error")
    return shortened(reason) or failure_of((row.get("response") or {}).get("output"), None)
