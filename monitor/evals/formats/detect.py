"""Which tool wrote a file, told by its content."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import from_json

from monitor.evals.formats import events, inspect_log, lm_eval, promptfoo, table
from monitor.evals.formats.reading import Options, ResultFile, ResultFileInvalid
from monitor.evals.formats.zipped import ZIP_MAGIC, Archive
from monitor.ingest.frames import PEEK_BYTES, ReadLength, frame_lengths, read_frames

READ_FORMATS = (
    "Inspect AI logs (.eval, .json), lm-evaluation-harness samples, promptfoo results, native or OpenTelemetry events, "
    "and CSV or JSON lines with named columns"
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LARGEST_RECORD = 64 * 1024**2


def read_content(name: str, content: bytes, options: Options) -> ResultFile:
    """
    What the plain bytes of one result file say.

    Args:
        name: The file; lm-evaluation-harness writes task and model there and nowhere else.
        content: Its bytes, decompressed.
        options: How results are read.

    Raises:
        ResultFileInvalid: it holds nothing that can be read; says what can.
    """
    if content.startswith(ZIP_MAGIC):
        archive = Archive(name, content)
        if not inspect_log.is_inspect_archive(archive):
            raise _unknown(name)
        return inspect_log.read_archive(name, archive, options)
    text = content.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not text:
        raise ResultFileInvalid(f"{name} is empty; name a file with results.")
    if text.startswith((b"{", b"[")):
        return _read_json(name, text, options)
    read_length = frame_lengths(content[:PEEK_BYTES])
    if read_length is not None:
        return _read_frames(name, content, read_length, options)
    try:
        return table.read_csv(name, table.as_text(content), options)
    except UnicodeDecodeError:
        raise _unknown(name) from None


def begins_with_events(head: bytes) -> bool:
    """Whether *head*, the first bytes of a file, shows already that events or bare requests follow, line by line."""
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not text.startswith(b"{"):
        return bool(text) and frame_lengths(head[:PEEK_BYTES]) is not None
    first = _whole(text.partition(b"\n")[0])
    return isinstance(first, dict) and not _is_result(first)


def holds_results(content: bytes) -> bool:
    """Whether *content* is what an eval tool wrote, or a table of outcomes; events and bare requests are neither."""
    if content.startswith(ZIP_MAGIC):
        return True
    text = content.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not text.startswith((b"{", b"[")):
        return bool(text) and frame_lengths(content[:PEEK_BYTES]) is None
    first = _whole(text.partition(b"\n")[0])
    document = first if first is not None else _whole(text)
    if isinstance(document, list):
        document = next(iter(document), None)
    return isinstance(document, dict) and _is_result(document)


def _is_result(document: dict[str, Any]) -> bool:
    if events.is_event(document):
        return False
    of_tools = (
        inspect_log.is_inspect_log,
        promptfoo.is_promptfoo,
        promptfoo.is_result,
        lm_eval.is_samples,
        lm_eval.is_totals,
    )
    return any(is_of_tool(document) for is_of_tool in of_tools) or table.has_outcome(document)


def _read_frames(name: str, content: bytes, read_length: ReadLength, options: Options) -> ResultFile:
    frames = read_frames(io.BytesIO(content), read_length, max_bytes=_LARGEST_RECORD)
    try:
        return events.read_records(name, (frame.value for frame in frames), options)
    except EOFError as error:
        raise ResultFileInvalid(f"{name} is damaged ({error}); read a whole copy of it.") from error


def _read_json(name: str, text: bytes, options: Options) -> ResultFile:
    document = _whole(text)
    if isinstance(document, dict):
        return _read_document(name, document, text, options)
    found = document if isinstance(document, list) else list(_lines(name, text))
    rows = [row for row in found if isinstance(row, dict)]
    if not rows or len(rows) < len(found):
        raise _unknown(name)
    return _read_rows(name, rows, text, options)


def _read_document(name: str, document: dict[str, Any], text: bytes, options: Options) -> ResultFile:
    if inspect_log.is_inspect_log(document):
        return inspect_log.read_log(name, document, options)
    if promptfoo.is_promptfoo(document):
        return promptfoo.read_document(name, document, options)
    if lm_eval.is_totals(document):
        raise ResultFileInvalid(
            f"{name} holds the totals of lm-evaluation-harness and no single case; run it with --log_samples and name "
            "the samples_*.jsonl files, or their folder."
        )
    return _read_rows(name, [document], text, options)


def _read_rows(name: str, rows: Sequence[dict[str, Any]], text: bytes, options: Options) -> ResultFile:
    if events.is_event(rows[0]):
        records = [text] if len(rows) == 1 else [line for line in text.splitlines() if line.strip()]
        return events.read_records(name, records, options)
    if lm_eval.is_samples(rows[0]):
        return lm_eval.read_samples(name, rows, options)
    if promptfoo.is_result(rows[0]):
        return promptfoo.read_rows(name, rows, options)
    return table.read_rows(name, rows, options)


def _whole(text: bytes) -> Any:
    """*text* as one JSON document, or None where it is none."""
    try:
        return from_json(text)
    except ValueError:
        return None


def _lines(name: str, text: bytes) -> Iterator[Any]:
    for number, line in enumerate(io.BytesIO(text), start=1):
        if not line.isspace():
            try:
                yield from_json(line)
            except ValueError as error:
                raise ResultFileInvalid(
                    f"{name} is neither one JSON document nor JSON lines: line {number} cannot be parsed "
                    f"({error}); write it again."
                ) from error


def _unknown(name: str) -> ResultFileInvalid:
    return ResultFileInvalid(f"{name} holds no eval results that can be read; what is read: {READ_FORMATS}.")
