"""Detects by content which tool wrote a file, and reads it."""

from __future__ import annotations

import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from monitor.evals.formats import documents, events, inspect_log, lm_eval, promptfoo, reading, table
from monitor.evals.formats.reading import Format, Options, ResultFile, ResultFileInvalid
from monitor.ingest.lines import PEEK_BYTES, ReadLength, frame_lengths, read_frames
from monitor.trace.values import read_json

READ_FORMATS = (
    "Inspect AI logs (.eval, .json), lm-evaluation-harness samples, promptfoo results, reports of SWE-bench, tau2, "
    "terminal-bench, DeepEval, HELM, OpenAI evals and BFCL, JUnit XML, native or OpenTelemetry events, and CSV, JSON, "
    "YAML or Parquet with named columns"
)
_ZIP_MAGIC, _PARQUET_MAGIC = b"PK\x03\x04", b"PAR1"
_LARGEST_RECORD, _CHECKED_BYTES = 64 * 1024**2, 8 * 1024**2  # a tool that writes duplicate keys does so from the start
_MOST_ALIASED = 1_000_000  # values that YAML aliases expand to
_XML_DECLARATION = re.compile(r"^\ufeff?<\?xml[^>]*>")
_MORE_LINES = re.compile(rb"\n\s*\S")
# A key with another key, an item or a comment below it, because a title over a table may have a colon too.
_YAML = re.compile(rb"---\s|- \w+:\s|[A-Za-z_][\w-]*:(?: [^\n]*)?(?:\r?\n)+(?:[ #-]|[\w-]+:)")


def read_content(name: str, content: bytes, options: Options) -> ResultFile:
    """
    Reads the bytes of one result file.

    Args:
        name: The file name, which for lm-evaluation-harness is the only place of task and model.
        content: Its bytes, decompressed.
        options: How to read results.

    Raises:
        ResultFileInvalid: it holds no results in a known format.
    """
    for start, read in _BINARY:
        if content.startswith(start):
            return read(name, content, options)
    encoding = json.detect_encoding(content[:4])  # works for any text
    # Spreadsheets ("Unicode text") and PowerShell write UTF-16.
    if not encoding.startswith("utf-8") and frame_lengths(content[:PEEK_BYTES]) is None:
        content = _XML_DECLARATION.sub("", content.decode(encoding, "replace")).encode()
    text = content.removeprefix(BOM_UTF8).lstrip()
    if not text:
        raise ResultFileInvalid(f"{name} is empty; name a file with results.")
    read_length = None if text.startswith((b"{", b"[", b"<")) else frame_lengths(content[:PEEK_BYTES])
    if read_length is not None:
        return _read_frames(name, content, read_length, options)
    read = next(read for is_of, read in _TEXTS if is_of(text))
    try:
        return read(name, text, options)
    except RecursionError:
        raise ResultFileInvalid(f"{name} is nested too deeply, or contains itself; write it flat.") from None
    except UnicodeDecodeError:
        try:
            result = read(name, text.decode("cp1252").encode(), options)
        except UnicodeDecodeError:
            problem = f"{name} is not UTF-8 text; save it as UTF-8. What is read: {READ_FORMATS}."
            raise ResultFileInvalid(problem) from None
        return replace(result, notes=(*result.notes, "It is not UTF-8, so it was read as Windows-1252."))


def holds_results(head: bytes) -> bool | None:
    """
    Whether *head* is the start of eval results or of a table of outcomes, and not of events or requests.

    None if the first bytes of a file do not show it and all of them are needed.
    """
    text = head.removeprefix(BOM_UTF8).lstrip()
    if not text.startswith((b"{", b"[")):
        return bool(text) and frame_lengths(head[:PEEK_BYTES]) is None
    document = _whole(next(io.BytesIO(text)))
    if document is None or (isinstance(document, dict) and not _MORE_LINES.search(text)):
        document = _whole(text)
        if isinstance(document, dict) and not events.is_event(document) and documents.case_rows(document) is not None:
            return True
    rows = document[:1] if isinstance(document, list) else [document]
    return None if document is None else any(isinstance(row, dict) and _is_result(row) for row in rows)


def _is_result(row: Mapping[str, Any]) -> bool:
    if events.is_event(row):
        return False
    return any(is_one(row) for is_one, _ in (*_DOCUMENTS, *_ROWS)) or table.has_outcome(table.flat(row))


def _read_frames(name: str, content: bytes, read_length: ReadLength, options: Options) -> ResultFile:
    frames = read_frames(io.BufferedReader(io.BytesIO(content)), read_length, max_bytes=_LARGEST_RECORD)
    with reading.refused((EOFError,), f"{name} is damaged", "use a complete copy of it"):
        return events.read_records(name, (frame.value for frame in frames), options)


def _read_json(name: str, text: bytes, options: Options) -> ResultFile:
    first = _whole(next(io.BytesIO(text)))
    is_lines = isinstance(first, dict) and _MORE_LINES.search(text) is not None
    document = first if is_lines else _whole(text)
    _refuse_duplicate_keys(name, text[:_CHECKED_BYTES], is_lines=is_lines)
    if events.is_event(document):
        return events.read_records(name, text.splitlines() if is_lines else [text], options)
    if is_lines:
        return _read_lines(name, text, options)
    if document is None:
        list(_lines(name, text))  # raises with the number of the broken line
    return _read_document(name, document, options)


def _refuse_duplicate_keys(name: str, text: bytes, *, is_lines: bool) -> None:
    """
    Checks that no object has two values of one key, since either may be the one that counts.

    Raises:
        ResultFileInvalid: an object has two values of one key.
    """

    def check(pairs: Sequence[tuple[str, object]]) -> object:
        last = dict(pairs)
        twin = next((key for key, value in pairs if last[key] != value), None) if len(last) < len(pairs) else None
        if twin is not None:
            raise ResultFileInvalid(f'{name} has two values of "{twin}" in one object; delete one of them.')
        return object()  # keeps nothing of a long document in memory

    with suppress(ValueError):  # cut off, or not JSON, which is reported later
        for part in io.BytesIO(text) if is_lines else (text,):
            json.loads(part, object_pairs_hook=check)


def _read_lines(name: str, text: bytes, options: Options) -> ResultFile:
    for is_one, read in _ROWS:
        if any(is_one(row) for row in islice(_lines(name, text), _HEAD_ROWS)):
            return read(name, list(_lines(name, text)), options)
    return table.read_rows(name, lambda: map(table.flat, _lines(name, text)), options)


def _read_document(name: str, document: Any, options: Options) -> ResultFile:
    if isinstance(document, dict):
        for is_one, read in _DOCUMENTS:
            if is_one(document):
                return read(name, document, options)
    elif not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise _unknown(name)
    rows = documents.case_rows(document)
    if rows is None:
        rows = table_rows if isinstance(table_rows := documents.unsplit(document), list) else [table_rows]
    of_tool = (read for is_one, read in _ROWS if rows and is_one(rows[0]))
    return next(of_tool, _table_of(lambda _, listed, __: listed, Format.TABLE))(name, rows, options)


def _table_of(rows_of: Callable[[str, Any, Options], Sequence[Mapping[str, Any]]], form: Format) -> _Reader:
    """A reader of the rows that *rows_of* extracts."""

    def read(name: str, content: Any, options: Options) -> ResultFile:
        rows = rows_of(name, content, options)
        return table.read_rows(name, lambda: map(table.flat, rows), options, form)

    return read


def _refuse(problem: str) -> _Reader:
    """A reader of files without cases, which raises with the *problem* and what to name instead."""

    def read(name: str, _content: Any, _options: Options) -> ResultFile:
        raise ResultFileInvalid(f"{name} {problem}")

    return read


def _whole(text: bytes) -> Any:
    """*text* as one JSON document, or None if it is not one."""
    for decode in (documents.decoded, read_json):  # only the second accepts NaN, which Python writes
        with suppress(ValueError):
            return decode(text)
    return None


def _lines(name: str, text: bytes) -> Iterator[Any]:
    for number, line in enumerate(io.BytesIO(text), start=1):
        if not line.isspace():
            try:
                row = read_json(line)
            except ValueError as error:
                line.decode()  # raises another error if the encoding is the reason
                raise ResultFileInvalid(
                    f"{name} is neither one JSON document nor JSON lines: line {number} cannot be parsed ({error}); "
                    "write it again."
                ) from error
            if not isinstance(row, dict):
                raise _unknown(name)
            yield row


def _read_yaml(name: str, text: bytes, options: Options) -> ResultFile:
    import yaml  # noqa: PLC0415  (few results are YAML)

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    with reading.refused((yaml.YAMLError, ValueError), f"{name} is not valid YAML", "write it again"):
        root = loader.get_single_node()
        if root is not None and _values(root, {}) > len(text) + _MOST_ALIASED:
            raise ResultFileInvalid(f"{name} stands for far more than it holds; write it without YAML aliases.")
        document = None if root is None else loader.construct_document(root)
    return _read_document(name, document, options)


def _values(node: Any, known: dict[int, int]) -> int:
    """Number of values of a YAML *node*, with aliases expanded."""
    if id(node) not in known:
        known[id(node)] = 1  # ends the recursion of a node that contains itself
        parts = () if isinstance(node.value, str) else node.value
        below = (each for part in parts for each in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] += sum(_values(each, known) for each in below)
    return known[id(node)]


def _read_parquet(name: str, content: bytes, options: Options) -> ResultFile:
    return table.read_rows(name, lambda: _parquet_rows(name, content), options)


def _parquet_rows(name: str, content: bytes) -> Iterable[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowException, BufferReader, parquet  # noqa: PLC0415  (large, and few results are Parquet)
    except ImportError:
        problem = f"{name} is Parquet; pip install 'cliffwatch[parquet]', or write it as CSV or JSON lines."
        raise ResultFileInvalid(problem) from None
    with reading.refused((ArrowException, OSError), f"{name} is damaged Parquet", "use a complete copy of it"):
        for batch in parquet.ParquetFile(BufferReader(content)).iter_batches():
            yield from map(table.flat, batch.to_pylist())


def _unknown(name: str) -> ResultFileInvalid:
    return ResultFileInvalid(f"{name} holds no eval results that can be read; what is read: {READ_FORMATS}.")


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: row.keys() >= set(keys)


_Reader = Callable[[str, Any, Options], ResultFile]
_HEAD_ROWS = 3
_BINARY: Sequence[tuple[bytes, _Reader]] = ((_ZIP_MAGIC, inspect_log.read_archive), (_PARQUET_MAGIC, _read_parquet))
_TEXTS: Sequence[tuple[Callable[[bytes], object], _Reader]] = (
    (lambda text: text.startswith((b"{", b"[")), _read_json),
    (lambda text: text.startswith(b"<"), _table_of(documents.junit_rows, Format.JUNIT)),
    (_YAML.match, _read_yaml),
    (promptfoo.is_csv, promptfoo.read_csv),
    (lambda _: True, table.read_csv),
)
_TOTALS = "holds totals of lm-evaluation-harness and no case; run it with --log_samples and name samples_*.jsonl."
_read_swe_bench = _table_of(lambda _, document, __: documents.id_lists(document), Format.SWE_BENCH)
_read_openai = _table_of(lambda _, rows, __: documents.final_events(rows), Format.TABLE)
_DOCUMENTS: Sequence[tuple[Callable[[Mapping[str, Any]], object], _Reader]] = (
    (inspect_log.is_inspect_log, inspect_log.read_log),
    (promptfoo.is_promptfoo, lambda name, of, options: promptfoo.read_rows(name, of["results"]["results"], options)),
    (inspect_log.is_listing, _refuse("lists logs of Inspect AI and holds no case; name the logs, or their folder.")),
    (lambda document: {"lm_eval_version", "n-shot"} & document.keys(), _refuse(_TOTALS)),
    (lambda document: documents.id_lists(document) and not documents.case_rows(document), _read_swe_bench),
)
_ROWS: Sequence[tuple[Callable[[Mapping[str, Any]], object], _Reader]] = (
    (_has("doc_id", "doc", "filtered_resps"), lm_eval.read_samples),
    (promptfoo.is_result, promptfoo.read_rows),
    (_has("accuracy", "correct_count", "total_count"), _table_of(documents.bfcl_rows, Format.BFCL)),
    (_has("event_id", "sample_id", "type"), _read_openai),
    (_has("$report_type"), _table_of(documents.pytest_rows, Format.TABLE)),
    (lambda row: "completion_fns" in (row.get("spec") or {}), _read_openai),
)
