"""Reads rows with named columns from any file: finds the role of each column, and turns rows into attempts."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from itertools import islice

from pydantic import JsonValue

from monitor.evals.cases import Attempt, CaseKey, MetadataValue
from monitor.evals.formats import reading
from monitor.evals.formats.reading import PASSING, VALUES, WORDS, Format, Options, ResultFile, word_of

Row = Mapping[str, JsonValue]
Rows = Callable[[], Iterable[Row]]
"""Iterates over the flat rows from the start at each call, so that a file is read twice and never held as rows."""

_NAMES = {kind: frozenset(names) for kind, names in WORDS["outcomes"].items()}
_VERDICTS, _SCORES, _STATUSES = (WORDS["outcomes"][kind] for kind in ("verdict", "score", "status"))
GUESSES: Mapping[str, Sequence[str]] = {
    "case": WORDS["columns"]["case"],
    "passed": (*_VERDICTS, *_STATUSES),
    "score": _SCORES,
    **WORDS["columns"],
}
"""Roles of columns, and the column names that suggest each role, likeliest first."""

_CASE_RANK = {name: number for number, name in enumerate(GUESSES["case"])}
_OUTCOMES = frozenset((*_VERDICTS, *_SCORES, *_STATUSES))
_ERRORS = frozenset(WORDS["runs"]["errors"])
_DELIMITERS = ",;\t|"
_SHOWN = 3
_MOST_VALUES = 200
_WHOLE = re.compile(r"-?\d+\.0|")
_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?\s*")
_HEAD_LINES = 30  # in which a header begins


def csv_rows(
    name: str, content: bytes, asked: AbstractSet[str] = frozenset()
) -> tuple[Sequence[str], Callable[[], Iterator[list[str]]]]:
    """
    Header and rows of a CSV file.

    The header is the first line, or a line below titles that has known column names or those *asked* for.

    Raises:
        UnicodeDecodeError: it is not text.
    """

    def lines() -> Iterator[str]:  # one by one: as a whole, text takes up to four times its bytes
        return io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")

    csv.field_size_limit(2**31 - 1)
    head = [(line, _split(line, _delimiter(line))) for line in islice(lines(), _HEAD_LINES)]
    known = [(asked and asked <= row.keys()) or _has_case_and_outcome(row) for _, row in head]
    start = known.index(True) if True in known else 0
    delimiter = _delimiter(head[start][0])

    def read() -> Iterator[list[str]]:
        rows = csv.reader(islice(lines(), start, None), delimiter=delimiter, strict=True)
        try:
            yield from (row for row in rows if row)
        except csv.Error as error:
            problem = f"{name} is not a CSV file after line {rows.line_num} ({error}); save it again."
            raise reading.ResultFileInvalid(problem) from error

    return [column.strip() for column in next(read(), [])], lambda: islice(read(), 1, None)


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=lambda each: (_has_case_and_outcome(_split(line, each)), line.count(each)))


def _split(line: str, delimiter: str) -> Row:
    return dict.fromkeys(cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), []))


def _has_case_and_outcome(row: Row) -> bool:
    return has_case(row) and has_outcome(row)


def read_csv(name: str, content: bytes, options: Options) -> ResultFile:
    """
    The attempts of a CSV file with a header.

    Raises:
        ChoiceMissing: a named column is missing.
        ResultFileInvalid: no columns hold the case and its outcome.
    """
    header, body = csv_rows(name, content, set(options.columns.values()))
    twice = [column for column, times in Counter(header).items() if times > 1 and column]
    if twice:
        raise reading.ResultFileInvalid(f"{name} has several columns {twice[0]}; rename or delete all but one of them.")

    def named() -> Iterator[Row]:  # a row that is shorter than the header lacks the last columns
        for row in body():
            if len(header) > 1 and any(map(str.strip, row[len(header) :])):
                raise reading.ResultFileInvalid(
                    f"{name} has {len(header)} columns, but {len(row)} cells in the row that begins with "
                    f"{row[0][:80]}; put text with a comma in quotes."
                )
            yield dict(zip(header, row, strict=False))

    return read_rows(name, named, options)


def read_rows(name: str, rows: Rows, options: Options, form: Format = Format.TABLE) -> ResultFile:
    """
    The attempts of *rows*, one each; a table may also hold rows with totals.

    Raises:
        ChoiceMissing: a named column is missing, or the scale of scores is unknown.
        ResultFileInvalid: no columns hold the case and its outcome.
    """
    table = _Columns(name, rows, options)
    if not table.rows:
        raise reading.ResultFileInvalid(f"{name} holds no case; run the suite again.")
    roles, notes = table.roles()
    reader = _RowReader(name, roles, table, options, has_summaries=form is Format.TABLE)
    attempts = [each for number, row in enumerate(rows()) if (each := reader.attempt(number, row)) is not None]
    if form is not Format.TABLE:
        return reader.reader.result(form, attempts, *reader.notes())
    chosen = ", ".join(f"{role}={column}" for role, column in roles.items())
    all_notes = (f"Columns: {chosen} (--column).", *notes, *reader.notes())
    columns = () if "case" in options.columns else table.cases
    return reader.reader.result(form, attempts, *all_notes, case_columns=columns, outcomes=table.outcomes)


def has_outcome(row: Iterable[str]) -> bool:
    """Whether *row* has a column that is likely to hold the outcome."""
    return any(_last(column) in _OUTCOMES or _is_named_score(column) for column in row)


def has_case(row: Row) -> bool:
    """Whether *row* has a column that is likely to hold the case or the question."""
    return any(_last(column) in GUESSES["case"] or _last(column) in GUESSES["input"] for column in row)


def case_of(row: Row) -> str | None:
    """The case named in *row*, which need not be flat; None without one."""
    likeliest = min(row, key=lambda column: _CASE_RANK.get(_last(column), len(_CASE_RANK)), default="")
    return str(row[likeliest]) if _last(likeliest) in _CASE_RANK else None


class _Columns:
    """The columns of one file, with the values of those that may hold a case or an outcome."""

    def __init__(self, name: str, rows: Rows, options: Options) -> None:
        self._name = name
        self._rows = rows
        self._options = options
        self._known: dict[str, bool] = {}
        self._values: dict[str, set[JsonValue]] = defaultdict(set)
        self._other_commas: set[str] = set()
        self.rows = 0
        for self.rows, row in enumerate(rows(), start=1):
            for column, value in row.items():
                is_kept = self._known.get(column)
                if is_kept is None:
                    is_read = _last(column) in {*_NAMES["expected"], *_CASE_RANK, *GUESSES["human"]}
                    is_kept = self._known[column] = is_read or has_outcome({column: None})
                if isinstance(value, str) and "," in value and not _THOUSANDS.fullmatch(value):
                    self._other_commas.add(column)
                if is_kept and not isinstance(value, list | dict) and len(known := self._values[column]) < _MOST_VALUES:
                    known.add(value)
        self.cases: Sequence[str] = [*self.all_named(GUESSES["case"]), *self.all_named(GUESSES["input"])]
        self.facts: Sequence[str] = [column for column in self._known if options.wants(column)]
        self.outcomes = options.preferring(self._outcomes())
        # An error, or its type or message in nested columns.
        self.errors = [column for column in self._known if _ERRORS & {*map(_plain, column.split(".")[-2:])}]

    def all_named(self, names: Sequence[str]) -> Sequence[str]:
        """Columns with one of *names*, likeliest first; of equal names, the least nested column first."""
        rank = {name: number for number, name in enumerate(names)}
        columns = [column for column in self._known if _last(column) in rank]
        return sorted(columns, key=lambda column: (rank[_last(column)], column.count(".")))

    def words(self, column: str) -> AbstractSet[str]:
        """The values of *column*, normalised by `word_of`."""
        return {word_of(value) for value in self._values[column]}

    def plain(self, column: str, value: JsonValue) -> JsonValue:
        """
        *value* without thousands separators (1250 for `1,250`), if all commas of *column* may be separators.

        If the column also has `0,9`, commas are decimal; if `1,000` is its only value, it is a suite that passes every
        case.
        """
        has_thousands = isinstance(value, str) and column not in self._other_commas and _THOUSANDS.fullmatch(value)
        return str(value).replace(",", "") if has_thousands and self._values[column] != {"1,000"} else value

    def roles(self) -> tuple[Mapping[str, str], Sequence[str]]:
        """Column of each role, by option or else by name; and notes on the choice."""
        unknown = sorted(set(self._options.columns) - set(GUESSES))
        if unknown:
            raise reading.ChoiceMissing(f"--column {unknown[0]}=... names no role; the roles are {', '.join(GUESSES)}.")
        roles = {role: self._existing(role, column) for role, column in self._options.columns.items()}
        if not {"passed", "score"} & set(roles):
            roles |= self._outcome()
        for role in (each for each in GUESSES if each not in {"passed", "score", *roles}):
            guess = next((column for column in self.all_named(GUESSES[role]) if column not in roles.values()), None)
            if guess is not None and (role != "human" or self._is_verdict(guess)):
                roles[role] = guess
        if "case" not in roles and "input" in roles:
            roles["case"] = roles["input"]
        roles |= self._numbered_anew(roles)
        if "case" not in roles:
            problem = f"{self._name}: no column says which case it is; name it with --column case=NAME."
            raise reading.ResultFileInvalid(f"{problem} It has {self._listed()}.")
        for role, column in roles.items():
            twin = next((each for each in self._known if each != column and _path(each) == _path(column)), None)
            if twin is not None and role not in self._options.columns:
                choice = f"{self._name} has the columns {column} and {twin}"
                raise reading.ChoiceMissing(f"{choice}; name one of them with --column {role}=NAME.")
        others = [column for column in self.outcomes if column not in roles.values()]
        notes = [f"Not counted, though they may be outcomes: {', '.join(others[:_SHOWN])}."] if others else []
        return {role: roles[role] for role in GUESSES if role in roles}, notes

    def _numbered_anew(self, roles: Mapping[str, str]) -> Mapping[str, str]:
        """The class as the task, if case numbers start anew in each class, as in a suite of subjects."""
        if not {"case", "capability"} <= roles.keys() or {"task", "repeat"} & roles.keys():
            return {}
        columns = [roles[role] for role in ("case", "model", "capability") if role in roles]
        keys = [tuple(str(row.get(column)) for column in columns) for row in self._rows()]
        starts_anew = len({key[:-1] for key in keys}) < len(keys) == len(set(keys))
        return {"task": roles["capability"]} if starts_anew else {}

    def _existing(self, role: str, column: str) -> str:
        if column not in self._known:
            raise reading.ChoiceAbsent(f"{self._name} has no column {column} for {role}; it has {self._listed()}.")
        return column

    def _outcome(self) -> dict[str, str]:
        """The outcome column by role: the metric that an option names, a verdict, a score, or a status."""
        for metric in self._options.metrics:
            for column in self._known:
                named = f".{_VERSION.sub('.', column)}".removesuffix(".score")
                if named.endswith(f".{metric}") or column == metric:
                    return {"score": column}
        if self._options.metrics:
            asked, known = " or ".join(self._options.metrics), ", ".join(self.outcomes) or self._listed()
            raise reading.ChoiceAbsent(f"{self._name} has no score {asked} (--metric); it has {known}.")
        for column in self.outcomes:
            return {"score" if _last(column) in _SCORES or _is_named_score(column) else "passed": column}
        problem = f"{self._name}: no column says which case passed; name it with --column passed=NAME or --metric NAME."
        raise reading.ResultFileInvalid(f"{problem} It has {self._listed()}.")

    def _outcomes(self) -> Sequence[str]:
        """Every column that may hold the outcome, likeliest first."""
        verdicts = [column for column in self.all_named(_VERDICTS) if self._is_verdict(column)]
        # Measurements among the scores, such as Braintrust's times, come after them.
        named = sorted(filter(_is_named_score, self._known), key=lambda each: bool(_NAMES["measures"] & _words(each)))
        scores = [column for column in (*self.all_named(_SCORES), *named) if self._is_score(column)]
        ran = [column for column in verdicts if scores and self._is_run_status(column, scores[0])]
        statuses = [column for column in self.all_named(_STATUSES) if self._is_verdict(column)]
        return [*(each for each in verdicts if each not in ran), *scores, *statuses]

    def _is_run_status(self, column: str, score: str) -> bool:
        """Whether *column* holds the success of a run and not of an answer: some success has a score of 0."""
        rows = self._rows() if _last(column) in _NAMES["ran"] else ()
        return any(word_of(row.get(column)) in PASSING and reading.number_of(row.get(score)) == 0.0 for row in rows)

    def _is_verdict(self, column: str) -> bool:
        """Whether *column* holds verdicts (words, or 0 and 1) and not the answers of a model."""
        words = self.words(column)
        last = _last(column)
        is_answer = last == "label" and words <= VALUES["answers"]  # of a data set
        if is_answer or 2 * sum(map(reading.is_understood, words)) < max(len(words), 1):
            return False
        if last not in {"correct", *_STATUSES} or (last == "correct" and words <= VALUES["boolean"]):
            return True
        expected = (self._values[each] for each in self._values if _last(each) in _NAMES["expected"])
        return not any(words & {word_of(value) for value in values} - VALUES["unscored"] for values in expected)

    def _is_score(self, column: str) -> bool:
        """Whether most values of *column* are numbers, and a higher one is better."""
        words = _words(column)
        if _NAMES["faults"] & words and words.isdisjoint({"no", "non", "not", "free", "pass"}):
            return False
        values = [value for value in self._values[column] if not reading.is_unscored(word_of(value))]
        values = [self.plain(column, value) for value in values]
        numbers = sum(reading.number_of(value) is not None or reading.is_understood(word_of(value)) for value in values)
        return 2 * numbers >= len(values)

    def _listed(self) -> str:
        return ", ".join(list(self._known)[:20]) or "no columns"


class _RowReader:
    """Turns the rows of one file into attempts, and collects those that are not cases."""

    def __init__(
        self, name: str, roles: Mapping[str, str], table: _Columns, options: Options, *, has_summaries: bool
    ) -> None:
        self._role = "passed" if "passed" in roles else "score"
        self.reader = reading.AttemptReader(name, options, roles[self._role])
        self._roles, self._table = roles, table
        self._ends = {0, *range(table.rows - 3, table.rows)} if has_summaries and table.rows > 1 else set()
        self._states = [each for each in table.all_named(WORDS["runs"]["states"]) if each not in roles.values()]
        self._flags = table.all_named(WORDS["runs"]["flags"])
        self._shared: dict[tuple[JsonValue, ...], Mapping[str, MetadataValue]] = {}
        # In a column that also has I (incorrect), P means partial, as in Inspect AI.
        self._partly = "p" if "i" in table.words(roles[self._role]) else None
        # Some tools write 1.0 for 1 if a column of whole numbers has a gap.
        self._has_decimal_ids = all(_WHOLE.fullmatch(word) for word in table.words(roles["case"]))
        self._summaries: list[str] = []
        self._nameless = 0

    def attempt(self, number: int, row: Row) -> Attempt | None:
        """The attempt of *row*, which has that *number* (from 0); None if it is not a case."""
        case_id = self._case_id(row)
        if not case_id:
            self._nameless += 1
            return None
        outcome = self._table.plain(self._roles[self._role], self._get(row, self._role))
        if number in self._ends and _is_summary(word_of(case_id), word_of(outcome)):
            self._summaries.append(case_id)
            return None
        return self.reader.attempt(
            CaseKey(sys.intern(self._text(row, "task")), case_id),
            reading.PARTLY if self._partly and word_of(outcome) == self._partly else outcome,
            broken=self._broken(row),
            error=next((row[column] for column in self._table.errors if _is_error(column, row.get(column))), None),
            is_verdict=self._role == "passed",
            question=self._get(row, "input"),
            metadata=self._metadata(row),
            capability=sys.intern(self._text(row, "capability")),
            failure=self._text(row, "failure"),
            human=self._get(row, "human"),
            model=sys.intern(self._text(row, "model")),
            repeat=sys.intern(self._text(row, "repeat")) or None,
        )

    def notes(self) -> Iterator[str]:
        """Rows that were left out, one sentence each."""
        if self._summaries:
            yield f"Left out, because they are totals: {', '.join(self._summaries)}."
        if self._nameless:
            yield f"{self._nameless:,} rows name no case and are left out."

    def _metadata(self, row: Row) -> Mapping[str, MetadataValue]:
        """Facts on tier and capability, by full and by last name; rows with the same facts share one mapping."""
        cells = (row.get(column) for column in self._table.facts)
        values = tuple(None if isinstance(value, list) else value for value in cells)
        if values not in self._shared:
            facts = self.reader.facts(dict(zip(self._table.facts, values, strict=True)))
            self._shared[values] = {reading.fact_name(name): value for name, value in facts.items()} | {**facts}
        return self._shared[values]

    def _get(self, row: Row, role: str) -> JsonValue:
        return row.get(self._roles[role]) if role in self._roles else None

    def _text(self, row: Row, role: str) -> str:
        return reading.text_of(self._get(row, role))

    def _case_id(self, row: Row) -> str:
        if self._roles["case"] != self._roles.get("input"):
            return self._text(row, "case").removesuffix(".0" * self._has_decimal_ids)
        text, digest = reading.input_of(self._get(row, "input"))
        short = reading.shortened(text, reading.LONGEST_NAME) or ""
        return short if text is None or len(text) <= reading.LONGEST_NAME else f"{short} #{digest}"

    def _broken(self, row: Row) -> str | None:
        """The state or flag of a run that did not end, whatever the outcome column holds; else None."""
        states = (word_of(row.get(column)) for column in self._states)
        flags = (column for column in self._flags if word_of(row.get(column)) in VALUES["yes"])
        return next(filter(reading.is_broken, states), None) or next(flags, None)


@cache
def _plain(name: str) -> str:
    """*name* in snake case: `isCorrect` is `is_correct`, `Case #` is `case_number`, and `Passed (Y/N)` is `passed`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=\w)\s*\([^()]*\)$", "_", name.replace("#", " number"))
    return re.sub(r"[^a-z0-9]+", "_", spaced.casefold()).strip("_")


def _path(column: str) -> Sequence[str]:
    return [_plain(part) for part in column.split(".")]


def _words(column: str) -> set[str]:
    return {word for part in _path(column) for word in part.split("_")}


@cache
def _last(column: str) -> str:
    """The last part of a column's name: `score` of `outputs.f1.f1_score` and of `exact_match/v1/score`."""
    above, _, own = _VERSION.sub(".", column).rpartition(".")
    above, own = _plain(above.rpartition(".")[2]), _plain(own)
    rest = own.removeprefix(f"{above}_")
    return rest if rest in {"score", "result", "passed"} else own


_VERSION = re.compile(r"/v\d+/|/(?=score$)|(?<=^inputs)/")


_MLFLOW = re.compile(r"\w/(?:value|v\d+)$")


@cache
def _is_named_score(column: str) -> bool:
    """Whether *column* is one of several named scores, such as `scores.faithfulness`."""
    *parents, own = ["", *_path(column)]
    is_inner = parents[-1] in _NAMES["score_parents"] or parents[-2:-1] in (["scores"], ["assertions"])
    is_average = own == "avg" and parents[-2:-1] == ["feedback_stats"]  # of LangSmith
    return is_inner or is_average or _MLFLOW.search(column) is not None or own.startswith("score_")  # of Inspect AI


def _is_summary(case_id: str, outcome: str) -> bool:
    """Whether a row is a summary: its case is a total, or its outcome is a rate under a name like overall accuracy."""
    has_word = not VALUES["summaries"].isdisjoint({case_id.partition("_")[0], case_id.rpartition("_")[2]})
    return case_id in VALUES["summaries"] or (has_word and outcome not in PASSING | reading.FAILING)


def _is_error(column: str, value: JsonValue) -> bool:
    """Whether *value* is an error message or code, and not a measurement such as `error: 0.3`."""
    return bool(value) and (reading.number_of(value) is None or _last(column) not in _ERRORS)


def flat(row: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """*row* with nested objects, and lists of named values, flattened to dotted names (`metadata.level`)."""
    columns: dict[str, JsonValue] = {}
    for name, value in row.items():
        inner = named_values(value) if isinstance(value, list) and value else value
        if isinstance(inner, dict) and inner:
            columns |= flat(inner, f"{prefix}{name}.")
            if not prefix and name in {"input", "inputs"}:
                columns[f"{name} as a whole"] = value
        else:
            columns[f"{prefix}{name}"] = value
    if not prefix and has_case(columns) and not has_outcome(columns):
        columns |= _outcome_of_parts(row)
    return columns


def _outcome_of_parts(row: Row) -> dict[str, JsonValue]:
    """The outcome of a case whose parts alone have one, such as its steps: it passes if all of them pass."""
    parts = (part for key in WORDS["documents"]["parts"] if isinstance(each := row.get(key), list) for part in each)
    found = [item for part in parts if isinstance(part, dict) for item in flat(part).items() if has_outcome([item[0]])]
    words = [word_of(value) for _, value in found if isinstance(value, str | bool)]
    worst = min(words, key=lambda word: (word not in reading.FAILING, word in PASSING), default=None)
    return {} if worst is None or len(words) < len(found) else {"passed": worst}


_NAME_KEYS = ("name", "key", "metric", "metric_name", "metricName", "scorer", "assessment_name")
_VALUE_KEYS = ("score", "value", "mean", "passed", "success", "result")


def named_values(entries: list[JsonValue]) -> dict[str, JsonValue]:
    """`[{"name": "exact_match", "mean": 1.0}]` as `{"exact_match": 1.0}`; empty for a list of anything else."""
    values: dict[str, JsonValue] = {}
    for given in entries:
        if not isinstance(given, dict):
            return {}
        feedback = given.get("feedback")  # of MLflow, which lists expectations among the feedback
        entry = {**given, **feedback} if isinstance(feedback, dict) else given
        if "expectation" in entry:
            continue
        name = next((entry[key] for key in _NAME_KEYS if key in entry), None)
        name = name.get("name") if isinstance(name, dict) else name
        value = next((entry[key] for key in _VALUE_KEYS if key in entry), None)
        if not isinstance(name, str) or isinstance(value, dict | list):
            return {}
        values.setdefault(name, value)
        if entry.get("error"):
            values["errored"] = True
    return values
