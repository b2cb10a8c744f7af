"""Which tool wrote a file, told by its content."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from pydantic import JsonValue
from pydantic_core import from_json

from monitor.evals.formats import table
from monitor.evals.formats.reading import Options, ResultFile, ResultFileInvalid

READ_FORMATS = (
    "Inspect AI logs (.eval, .json), lm-evaluation-harness samples, promptfoo results, native or OpenTelemetry events, "
    "and CSV or JSON lines with named columns"
)
_ZIP_MAGIC = b"PK\x03\x04"


def read_content(name: str, content: bytes, options: Options) -> ResultFile:
    """
    What the plain bytes of one result file say.

    Args:
        name: The file, for messages.
        content: Its bytes, decompressed.
        options: How results are read.

    Raises:
        ResultFileInvalid: it holds nothing that can be read; says what can.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise ResultFileInvalid(f"{name} is empty; name a file with results.")
    if text.startswith((b"{", b"[")):
        return _read_json(name, text, options)
    try:
        return table.read_csv(name, table.as_text(content), options)
    except UnicodeDecodeError:
        raise _unknown(name) from None


def _read_json(name: str, text: bytes, options: Options) -> ResultFile:
    document = _whole(text)
    found = document if isinstance(document, list) else list(_lines(name, text)) if document is None else [document]
    rows = [row for row in found if isinstance(row, dict)]
    if not rows or len(rows) < len(found):
        raise _unknown(name)
    return table.read_rows(name, rows, options)


def _whole(text: bytes) -> JsonValue:
    """*text* as one JSON document, or None where it is none."""
    try:
        document: JsonValue = from_json(text)
    except ValueError:
        return None
    return document


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
