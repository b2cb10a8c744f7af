"""CSV, or JSON lines, with named columns: which column plays which role, and what its values say."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

from pydantic import JsonValue

from monitor.evals.cases import Attempt, CaseKey
from monitor.evals.formats.reading import (
    ChoiceMissing,
    Format,
    Options,
    ResultFile,
    ResultFileInvalid,
    capability_in,
    graded_note,
    input_of,
    passes,
    scalars,
    shortened,
)

GUESSES: Mapping[str, Sequence[str]] = {
    "case": ("case_id", "case", "id", "request_id", "sample_id", "test_id", "task_id", "question_id", "instance_id"),
    "passed": ("passed", "pass", "success", "correct", "is_correct", "resolved", "outcome", "result", "status"),
    "score": ("score", "accuracy", "acc", "exact_match", "reward"),
    "task": ("task", "suite", "dataset", "benchmark"),
    "model": ("model_version", "model", "model_name"),
    "capability": ("capability", "capability_class", "category", "subject"),
    "repeat": ("epoch", "repeat", "trial", "attempt", "seed"),
    "failure": ("failure", "failure_text", "failure_class", "error", "reason", "explanation"),
    "input": ("input", "prompt", "question", "text"),
}
"""Roles that a column may play, and the names by which it is guessed, likeliest first."""

_PASSING = frozenset(
    {"true", "1", "1.0", "yes", "y", "pass", "passed", "success", "succeeded", "correct", "resolved", "ok"}
)
_FAILING = frozenset({"false", "0", "0.0", "no", "n", "fail", "failed", "failure", "incorrect", "wrong", "unresolved"})
_UNSCORED = frozenset({"", "null", "none", "nan", "na", "n/a", "error", "skipped", "unknown", "unscored", "timeout"})
_DELIMITERS = ",;\t|"
_SHOWN = 3


def read_csv(name: str, text: TextIO, options: Options) -> ResultFile:
    """
    The attempts of a CSV file with a header.

    Raises:
        ChoiceMissing: a column that was named is not there.
        ResultFileInvalid: the columns do not say which case passed.
    """
    header = text.readline()
    delimiter = max(_DELIMITERS, key=header.count)
    columns = [column.strip().removeprefix("\ufeff") for column in next(csv.reader([header], delimiter=delimiter), [])]
    csv.field_size_limit(2**31 - 1)
    rows = csv.reader(text, delimiter=delimiter)
    try:
        # A row that is shorter than the header says nothing in its last columns; what is longer has no name.
        return read_rows(name, (dict(zip(columns, row, strict=False)) for row in rows if row), options)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ResultFileInvalid(
            f"{name} is no CSV file after line {rows.line_num + 1} ({error}); save it again."
        ) from error


def read_rows(name: str, rows: Iterable[Mapping[str, JsonValue]], options: Options) -> ResultFile:
    """
    The attempts of *rows*, one each; values within values are named with a dot (`metadata.level`).

    Raises:
        ChoiceMissing: a column that was named is not there.
        ResultFileInvalid: the columns do not say which case passed.
    """
    flat = [_flat(row) for row in rows]
    roles = _roles(name, flat, options)
    reader = _RowReader(roles, options)
    attempts = [reader.attempt(row, number) for number, row in enumerate(flat, start=1)]
    chosen = ", ".join(f"{role}={column}" for role, column in roles.items())
    return ResultFile(name, Format.TABLE, attempts, (f"Columns: {chosen} (--column).", *reader.notes()))


def has_outcome(row: Mapping[str, JsonValue]) -> bool:
    """Whether a column of *row* is likely to say if it passed."""
    names = {column.rpartition(".")[2].casefold() for column in _flat(row)}
    return not names.isdisjoint((*GUESSES["passed"], *GUESSES["score"]))


class _RowReader:
    """Turns rows into attempts and remembers what could not be understood; one use per file."""

    def __init__(self, roles: Mapping[str, str], options: Options) -> None:
        self._roles = roles
        self._options = options
        self._unclear: Counter[str] = Counter()
        self._scores: list[float] = []

    def attempt(self, row: Mapping[str, JsonValue], number: int) -> Attempt:
        metadata = scalars({name: value for name, value in row.items() if name not in self._spoken_for()})
        passed, because = self._outcome(row)
        text, digest = input_of(self._get(row, "input"))
        return Attempt(
            key=CaseKey(self._word(row, "task"), self._word(row, "case") or f"row {number}"),
            model=self._word(row, "model"),
            passed=passed,
            repeat=self._word(row, "repeat") or None,
            capability=self._word(row, "capability") or capability_in(metadata, self._options),
            failure=shortened(self._word(row, "failure")),
            unscored_because=because,
            input_text=text,
            input_digest=digest,
            metadata={name.rpartition(".")[2]: value for name, value in metadata.items()} | metadata,
        )

    def notes(self) -> Iterator[str]:
        if self._unclear:
            shown = ", ".join(f'"{value}"' for value, _ in self._unclear.most_common(_SHOWN))
            count = self._unclear.total()
            yield f"{count:,} outcomes are neither pass nor fail ({shown}) and count as unscored."
        yield from graded_note(self._scores, self._options)

    def _spoken_for(self) -> frozenset[str]:
        return frozenset(column for role, column in self._roles.items() if role != "capability")

    def _get(self, row: Mapping[str, JsonValue], role: str) -> JsonValue:
        return row.get(self._roles[role]) if role in self._roles else None

    def _word(self, row: Mapping[str, JsonValue], role: str) -> str:
        value = self._get(row, role)
        return "" if value is None else str(value).strip()

    def _outcome(self, row: Mapping[str, JsonValue]) -> tuple[bool | None, str | None]:
        word = self._word(row, "passed" if "passed" in self._roles else "score").casefold()
        if "passed" in self._roles and word in _PASSING:
            return True, None
        if "passed" in self._roles and word in _FAILING:
            return False, None
        if word in _UNSCORED:
            return None, word or "no score"
        return self._number(word)

    def _number(self, word: str) -> tuple[bool | None, str | None]:
        try:
            score = float(word)
        except ValueError:
            score = math.nan
        passed = passes(score, self._options)
        if passed is None:
            self._unclear[word] += 1
            return None, "not understood"
        self._scores.append(score)
        return passed, None


def _roles(name: str, rows: Sequence[Mapping[str, JsonValue]], options: Options) -> Mapping[str, str]:
    """Column by role: as told, or else by name."""
    columns = {column: None for row in rows for column in row}
    unknown = sorted(set(options.columns) - set(GUESSES))
    if unknown:
        raise ChoiceMissing(f"--column {unknown[0]}=... names no role; the roles are {', '.join(GUESSES)}.")
    roles = dict(options.columns)
    for role, column in roles.items():
        if column not in columns:
            raise ChoiceMissing(f"{name} has no column {column} for {role}; it has {_listed(columns)}.")
    by_name = {column.casefold(): column for column in reversed(columns)} | {
        column.rpartition(".")[2].casefold(): column for column in reversed(columns)
    }
    for role, guesses in GUESSES.items():
        guess = next((by_name[each] for each in guesses if each in by_name), None)
        if role not in roles and guess is not None and guess not in roles.values():
            roles[role] = guess
    metric = next((each for each in options.metrics if each in columns), None)
    if metric is not None:
        roles.pop("passed", None)
        roles["score"] = metric
    if "case" not in roles or not {"passed", "score"} & set(roles):
        missing = "case" if "case" not in roles else "passed"
        raise ResultFileInvalid(
            f"{name}: no column says which case {'it is' if missing == 'case' else 'passed'}; "
            f"name it with --column {missing}=NAME. It has {_listed(columns)}."
        )
    if "passed" in roles:
        roles.pop("score", None)
    return {role: roles[role] for role in GUESSES if role in roles}


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(list(columns)[:20]) or "no columns"


def _flat(row: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """*row* with the values of nested objects beside its own."""
    found: dict[str, JsonValue] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def as_text(content: bytes) -> io.StringIO:
    """*content* as text, a byte order mark left out."""
    return io.StringIO(content.decode("utf-8-sig"), newline="")
