"""
Splits a plain or compressed byte stream into lines or length-delimited messages, in bounded memory.

The length in front of a message is either four bytes, most significant first (the OpenTelemetry Collector's file
exporter), or a protobuf varint.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import BinaryIO, cast

from backports import zstd

from monitor.ingest.source import Oversize

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES = 64 * 1024

PEEK_BYTES = 16
"""Number of bytes that `frame_lengths` needs to see."""

_FIXED_BYTES = 4
_LONGEST_VARINT_BYTES = 5
_MESSAGE_FIELD = b"\x0a"
_MORE_FOLLOWS = 0x80

ReadLength = Callable[[BinaryIO], int]
"""Reads the length of the next message from a stream."""

CORRUPTED = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
"""Exceptions on reading a corrupt compressed stream."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line end: its *value*, or *oversize* if it is too long to load; *index* counts from 0."""

    index: int
    value: bytes
    oversize: Oversize | None = None


def decompressed(stream: io.BufferedReader) -> io.BufferedReader:
    """*stream* as plain bytes; gzip and zstd are recognised by their magic numbers."""
    magic = stream.peek(len(_ZSTD_MAGIC))
    if magic.startswith(_GZIP_MAGIC):
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=stream)), _CHUNK_BYTES)
    if magic.startswith(_ZSTD_MAGIC):
        return io.BufferedReader(cast("io.RawIOBase", zstd.ZstdFile(stream)), _CHUNK_BYTES)
    return stream


def read_lines(stream: BinaryIO, *, max_bytes: int) -> Iterator[Line]:
    """
    Every line of *stream*; an indented JSON document, with its outer brackets alone on their lines, counts as one.

    A line longer than *max_bytes* is hashed chunk by chunk and never loaded as a whole.
    """
    for index, line in _lines_or_documents(stream, max_bytes + len(b"\r\n")):
        value = _without_line_end(line)
        if len(value) <= max_bytes:
            yield Line(index, value)
        else:
            yield Line(index, b"", _oversize(_to_line_end(line, stream)))


_CLOSES = {b"{": b"}", b"[": b"]"}


def _lines_or_documents(stream: BinaryIO, longest: int) -> Iterator[tuple[int, bytes]]:
    """Index of the first line, and the bytes of the line or document; all lines within a document are indented."""
    document, start, close = bytearray(), 0, None
    for index, line in enumerate(iter(lambda: stream.readline(longest), b"")):
        if document and close == b"}" and line.startswith(b"{"):  # the document was cut off, and the next one begins
            yield start, bytes(document)
            document.clear()
        if not document:
            start, close = index, _CLOSES.get(_without_line_end(line).removeprefix(BOM_UTF8))
        document += line
        if close is None or line.startswith(close) or len(document) > longest:
            yield start, bytes(document)
            document.clear()
    if document:
        yield start, bytes(document)


def _to_line_end(chunk: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """A line in chunks, from the first one on, without its line end."""
    while not chunk.endswith(b"\n") and (more := stream.readline(_CHUNK_BYTES)):
        # The last byte waits: it may be the first half of the line end.
        yield chunk[:-1]
        chunk = chunk[-1:] + more
    yield _without_line_end(chunk)


def _oversize(chunks: Iterable[bytes]) -> Oversize:
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size_bytes += len(chunk)
    return Oversize(size_bytes, digest.hexdigest())


def _without_line_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def frame_lengths(head: bytes) -> ReadLength | None:
    """
    How the lengths of messages are written in a stream that begins with *head*; None if it holds lines of text.

    Text begins neither with a zero byte nor with a continuation byte of UTF-8, so the first byte shows the kind of
    length, and the first byte after the length, which must be the tag of field 1, confirms it.
    """
    head = head.removeprefix(BOM_UTF8) if head[3:4] in b"{[" else head  # a BOM before JSON is not a length
    if head[:1] == b"\0" and head[_FIXED_BYTES:].startswith(_MESSAGE_FIELD):
        return _fixed_length
    length = next((i for i, byte in enumerate(head[:_LONGEST_VARINT_BYTES], start=1) if byte < _MORE_FOLLOWS), 0)
    return _varint_length if length > 1 and head[length:].startswith(_MESSAGE_FIELD) else None


def read_frames(stream: io.BufferedReader, read_length: ReadLength, *, max_bytes: int) -> Iterator[Line]:
    """
    Every message of *stream*; one longer than *max_bytes* is hashed chunk by chunk and never loaded as a whole.

    Raises:
        EOFError: the stream ends within a message, or a length is invalid.
    """
    for index in count():
        if not stream.peek(1):
            return
        length = read_length(stream)
        if length <= max_bytes:
            yield Line(index, _exactly(stream, length))
        else:
            left = range(length, 0, -_CHUNK_BYTES)
            yield Line(index, b"", _oversize(_exactly(stream, min(size, _CHUNK_BYTES)) for size in left))


def _fixed_length(stream: BinaryIO) -> int:
    return int.from_bytes(_exactly(stream, _FIXED_BYTES), "big")


def _varint_length(stream: BinaryIO) -> int:
    length = 0
    for position in range(_LONGEST_VARINT_BYTES):
        (byte,) = _exactly(stream, 1)
        length |= (byte & ~_MORE_FOLLOWS) << 7 * position
        if byte < _MORE_FOLLOWS:
            return length
    raise EOFError("a length is too long")


def _exactly(stream: BinaryIO, size: int) -> bytes:
    value = stream.read(size)
    if len(value) < size:
        raise EOFError("it ends within a message or its length")
    return value
