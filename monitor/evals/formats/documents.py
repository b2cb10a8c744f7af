"""Finds the cases in a JSON, YAML or XML document, whatever the tool calls the list that holds them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
from msgspec import Raw

from monitor.evals.formats.reading import WORDS, Options, ResultFileInvalid, is_understood, refused, word_of
from monitor.evals.formats.table import GUESSES, case_of, flat, has_case, has_outcome, named_values
from monitor.trace.values import read_json

_DEEPEST, _LOOKED_AT = 4, 50
_NOT_RUN = ("error", "skipped", "disabled")
_WORDS = WORDS["documents"]
_MODEL_KEYS = (*GUESSES["model"], *_WORDS["model_keys"])
_BFCL_SCORES = re.compile(r"^BFCL_(?:v\d+_)?(?P<category>.+)_score\.jsonl?$")
_LARGE_BYTES = 1024**2
_DOCUMENT_TYPE = re.compile(rb"(?s:\s|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE")


class LazyRows(list[Any]):
    """
    The objects of a long JSON list, decoded on each access, since decoded objects take three times the memory.

    Attributes:
        above: Values that each object inherits.
    """

    above: Mapping[str, Any] = MappingProxyType({})

    def __iter__(self) -> Iterator[Any]:
        return map(self._row, super().__iter__())

    def __getitem__(self, place: Any) -> Any:
        raw = super().__getitem__(place)
        return list(map(self._row, raw)) if isinstance(place, slice) else self._row(raw)

    def _row(self, raw: Raw) -> Mapping[str, Any]:
        return {**self.above, **read_json(bytes(raw))}


def decoded(text: bytes | Raw, depth: int = _DEEPEST) -> Any:
    """
    The JSON document *text*, with lazy lists (`LazyRows`) for long lists of objects down to *depth* levels.

    Raises:
        ValueError: it is not one JSON document, or has numbers that are not JSON (NaN).
    """
    content = memoryview(text)
    if len(content) < _LARGE_BYTES or not depth:
        return read_json(bytes(text))
    if content[0] == ord("{"):
        parts = msgspec.json.decode(text, type=dict[str, Raw])
        return {name: decoded(part, depth - 1) for name, part in parts.items()}
    rows = msgspec.json.decode(text, type=list[Raw])
    is_lazy = all(isinstance(read_json(bytes(row)), dict) for row in rows)
    return LazyRows(rows) if is_lazy else read_json(bytes(text))


def id_lists(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """One row per case of a document that lists the ids of passed, failed or broken cases; else empty."""
    parts = (part for part in (document, document.get("results")) if isinstance(part, Mapping))
    items = ((name, ids) for part in parts for name, ids in part.items() if isinstance(ids, list))
    lists = {name: ids for name, ids in items if all(isinstance(each, str) for each in ids)}
    if not any(name.startswith(("resolved", "successful_")) or name in {"passed", "passed_ids"} for name in lists):
        return []
    rows: dict[str, Mapping[str, Any]] = {}
    for kind, starts in _WORDS["id_lists"].items():
        passed = {"passed": True, "failed": False}.get(kind)
        for name, ids in lists.items():
            start = next((start for start in starts if name.startswith(start)), None)
            for case_id in ids if start else ():
                rows.setdefault(case_id, {"id": case_id, "passed": passed, "status": start if passed is None else ""})
    return list(rows.values())


def case_rows(document: Mapping[str, Any] | Sequence[Any]) -> Sequence[Mapping[str, Any]] | None:
    """
    The cases of *document*: the longest list, or mapping by case id, whose entries have an outcome.

    An entry inherits the model that is named above it. None without such a list; empty if a list with a usual name is
    empty.
    """
    lists = list(_lists(unsplit(document), {}, _DEEPEST))
    if lists:
        return max(lists, key=len)
    empty = isinstance(document, Mapping) and any(document.get(key) in ([], {}) for key in _WORDS["lists"])
    return [] if empty else None


def unsplit(document: Any) -> Any:
    """*document*, or its rows if it is a table by columns (MLflow, pandas, datasets)."""
    if not isinstance(document, Mapping):
        return document
    names, rows = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(rows, list):
        return [dict(zip(names, cells, strict=False)) for cells in rows if isinstance(cells, list)]
    columns = [list(each.values()) if isinstance(each, dict) else each for each in document.values()]
    is_table = has_case(document) and has_outcome(document) and all(isinstance(each, list) for each in columns)
    if is_table and len(set(map(len, columns))) == 1:
        return [dict(zip(document, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return document


def _lists(value: Any, above: Mapping[str, Any], depth: int, key: str = "") -> Iterator[Sequence[Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        inherited = {**above, **_model_of(value)}
        rows = _by_id(value, is_top=depth == _DEEPEST)
        if rows:
            yield [{**inherited, **row} for row in rows]
        elif depth:
            inner = [(name, each) for name, each in value.items() if isinstance(each, Mapping | list)]
            lists = [(name, rows) for name, each in inner for rows in _lists(each, inherited, depth - 1, name)]
            # One list for each case, or for each part of the suite.
            is_split = 0 < len(lists) == len(value) and value.keys().isdisjoint(_WORDS["lists"])
            yield from [_joined(key, lists)] if is_split else [rows for _, rows in lists]
    elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
        if not _holds_cases(value[:_LOOKED_AT]) and any(has_outcome(flat(entry)) for entry in value[:_LOOKED_AT]):
            if isinstance(value, LazyRows):
                value.above = above
                yield value
            else:
                yield [{**above, **entry} for entry in value]
        elif depth:
            named = (
                (next((entry[name] for name in _WORDS["group_names"] if entry.get(name) is not None), ""), entry)
                for entry in value
            )
            groups = [(str(name), rows) for name, entry in named for rows in _lists(entry, above, depth - 1)]
            # Entries without group names that occur in every group are the scores of a case, not cases.
            names = {case_of(row) for _, rows in groups for row in rows}
            are_scores = not any(name for name, _ in groups) and len(names) < len(groups) and all(map(has_case, value))
            yield from [value if are_scores else _joined(key, groups)] if groups else []


def _joined(key: str, groups: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> Sequence[Mapping[str, Any]]:
    """
    The cases of named *groups* as one list.

    The name of the list of groups, *key*, shows whether groups are models or repeats. Otherwise they are parts of a
    suite, whose names are kept as tasks if a case is in several of them, or they are the cases themselves.
    """
    kind = next((kind for kind, keys in _WORDS["groups"].items() if key.casefold() in keys), "task")
    cases = Counter(case for _, rows in groups for case in {case_of(row) for row in rows} - {None})
    rows = [(name, row) for name, rows in groups for row in rows]
    if kind == "task" and len(rows) < len(groups) ** 2 and not any(has_case(row) for _, row in rows):
        kind = "case_id"  # many groups with few entries: each group is a case with its attempts
    is_apart = kind != "task" or max(cases.values(), default=0) > 1
    return [{**({kind: name} if name and is_apart else {}), **row} for name, row in rows]


def _holds_cases(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether lists within *entries* hold cases, and not scores, whose names are the same in every entry."""
    lists = [(entry, entry[key]) for entry in entries for key in _WORDS["lists"] if isinstance(entry.get(key), list)]
    names = {name for _, inner in lists for name in (named_values(inner) if inner else ())}
    has_names = all(not inner or named_values(inner) for _, inner in lists)
    are_scores = 0 < len(names) < len(lists) and has_names and all(has_case(flat(entry)) for entry, _ in lists)
    return bool(lists) and not are_scores


def _by_id(value: Mapping[str, Any], *, is_top: bool) -> Sequence[Mapping[str, Any]]:
    # OpenCompass writes facts on all cases, such as their kind, among cases that are named by number.
    by_number = {name: entry for name, entry in value.items() if str(name).isdecimal()}
    return _rows_by_id(value, is_top=is_top) or _rows_by_id(by_number, is_top=is_top)


def _rows_by_id(value: Mapping[str, Any], *, is_top: bool) -> Sequence[Mapping[str, Any]]:
    """Rows of a mapping from case ids to outcomes; words and numbers count as outcomes at the top level only."""
    entries = list(value.items())
    if entries and all(isinstance(entry, Mapping) and _is_case(entry, entries) for _, entry in entries):
        return [{"case_id": name, **entry} for name, entry in entries]
    words = (str, int, float) if is_top and not has_outcome(value) else ()
    others = (each for _, each in entries if not isinstance(each, bool))
    are_outcomes = len(entries) > 1 and all(isinstance(each, words) and is_understood(word_of(each)) for each in others)
    return [{"case_id": name, "passed": entry} for name, entry in entries] if are_outcomes else []


def _is_case(entry: Mapping[str, Any], entries: Sequence[object]) -> bool:
    """Whether *entry* is a case (a boolean outcome, or one of several with names) and not a group of cases."""
    is_named = case_of(entry) is not None and len(entries) > 1 and entry.keys().isdisjoint(_WORDS["lists"])
    return has_outcome(flat(entry)) and (is_named or any(isinstance(value, bool) for value in entry.values()))


def _model_of(value: Mapping[str, Any], depth: int = 2) -> Mapping[str, str]:
    """The model that *value* or an object in it names."""
    for key in _MODEL_KEYS:
        if isinstance(value.get(key), str):
            return {"model": value[key]}
    parts = [part for name, part in value.items() if isinstance(part, Mapping) and name not in _WORDS["other_models"]]
    return next(filter(None, (_model_of(part, depth - 1) for part in parts if depth)), {})


def final_events(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """One row per sample of an OpenAI evals log: its last event with an outcome, if it has one."""
    model: Mapping[str, Any] = {}
    samples: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        functions = (row.get("spec") or {}).get("completion_fns")
        model = {"model": functions[0]} if functions else model
        if "sample_id" in row:
            data = row.get("data")
            is_final = isinstance(data, Mapping) and row.get("type") != "sampling" and has_outcome(flat(data))
            earlier = samples.get(row["sample_id"], {"sample_id": row["sample_id"]})
            samples[row["sample_id"]] = {**earlier, **(data or {})} if is_final else earlier
    return [{**model, **row} for row in samples.values()]


def pytest_rows(_name: str, rows: Sequence[Mapping[str, Any]], _options: Options) -> Sequence[Mapping[str, Any]]:
    """One row per test of a pytest report log, which also has rows for setup and teardown."""
    tests = (row for row in rows if row.get("when") == "call" or (row.get("when") and row["outcome"] != "passed"))
    return [row if row["when"] == "call" else {**row, "errored": row["outcome"] == "failed"} for row in tests]


def bfcl_result_files(path: PurePath) -> Sequence[PurePath]:
    """Possible paths of the result file of the BFCL score file *path*; the result file lists all cases."""
    name = path.name.replace("_score.", "_result.")
    beside = [PurePath(*("result" if part == "score" else part for part in path.parent.parts))]
    return [folder / name for folder in (path.parent, *beside)]


def bfcl_rows(name: str, rows: Sequence[Mapping[str, Any]], options: Options) -> Sequence[Mapping[str, Any]]:
    """
    One row per case of a BFCL score file, which names only failed cases.

    Args:
        name: The file name, which holds the category; its folder is the model.
        rows: Its lines, the totals first.
        options: Hold the cases of the result file.

    Raises:
        ResultFileInvalid: the totals and the cases do not agree.
    """
    totals, failed = rows[0], {str(row.get("id")): row for row in rows[1:]}
    path = PurePath(name)
    match = _BFCL_SCORES.match(path.name)
    category = match["category"] if match else ""
    ids = list(dict.fromkeys([*options.case_ids, *failed]))
    if len(ids) != totals["total_count"]:
        counts = f"{name} counts {totals['total_count']:,} cases and {len(ids):,} of them have a name"
        raise ResultFileInvalid(f"{counts}; put the result file ({bfcl_result_files(path)[0].name}) beside it.")
    # From version 4 on, the model's folder has a subfolder for each kind of category.
    folder = path.parts[path.parts.index("score") + 1] if "score" in path.parts[:-2] else path.parent.name
    model = next((str(row["model_name"]) for row in failed.values() if row.get("model_name")), folder)
    about = {"task": category, "category": category, "model": model}
    return [
        {"id": each, "passed": each not in failed, "failure": str(failed.get(each, {}).get("error") or ""), **about}
        for each in ids
    ]


def junit_rows(name: str, content: bytes, _options: Options) -> Sequence[Mapping[str, str | bool | None]]:
    """
    One row per test of a JUnit report.

    Raises:
        ResultFileInvalid: *content* is not a JUnit report.
    """
    if _DOCUMENT_TYPE.match(content):  # test runners write no entities; attackers do
        raise ResultFileInvalid(f"{name} declares a document type, which JUnit XML has none of; write it again.")
    with refused((ET.ParseError, ValueError, LookupError), f"{name} is damaged XML", "use a complete copy of it"):
        root = ET.fromstring(content)  # noqa: S314  (without a document type there is no entity to expand)
    rows = [_test_row(test, suite) for suite in root.iter() for test in suite.findall("{*}testcase")]
    if not rows:
        raise ResultFileInvalid(f"{name} is XML without a single testcase; name a JUnit report.")
    return rows


def _test_row(test: ET.Element, suite: ET.Element) -> Mapping[str, str | bool | None]:
    failed = test.find("{*}failure")
    return {
        "task": test.get("classname") or suite.get("name"),
        "name": test.get("name"),
        "passed": failed is None,
        "status": next((kind for kind in _NOT_RUN if test.find(f"{{*}}{kind}") is not None), test.get("status")),
        "failure": None if failed is None else failed.get("message") or failed.text,
    }
