"""Lines of a byte stream in bounded memory, however long they are and however it is compressed."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from backports import zstd

from monitor.ingest.source import Oversize

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES = 64 * 1024

CORRUPTED = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
"""What reading a stream raises whose compression is broken."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line end: its *value*, or *oversize* where it was too long to be kept; *index* from 0."""

    index: int
    value: bytes
    oversize: Oversize | None = None


def decompressed(stream: io.BufferedReader) -> io.BufferedReader:
    """*stream* as plain bytes: gzip and zstd are recognised by their first bytes, not by a name."""
    magic = stream.peek(len(_ZSTD_MAGIC))
    if magic.startswith(_GZIP_MAGIC):
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=stream)), _CHUNK_BYTES)
    if magic.startswith(_ZSTD_MAGIC):
        return io.BufferedReader(cast("io.RawIOBase", zstd.ZstdFile(stream)), _CHUNK_BYTES)
    return stream


def read_lines(stream: BinaryIO, *, max_bytes: int) -> Iterator[Line]:
    """Every line of *stream*; one longer than *max_bytes* is hashed chunk by chunk and never held as a whole."""
    index = 0
    longest = max_bytes + len(b"\r\n")
    while line := stream.readline(longest):
        value = _without_line_end(line)
        if len(value) <= max_bytes:
            yield Line(index, value)
        else:
            yield Line(index, b"", _hash_to_line_end(line, stream))
        index += 1


def _hash_to_line_end(head: bytes, stream: BinaryIO) -> Oversize:
    digest, size_bytes, chunk = hashlib.sha256(), 0, head
    while not chunk.endswith(b"\n") and (more := stream.readline(_CHUNK_BYTES)):
        # The last byte waits: it may be the first half of the line end.
        digest.update(chunk[:-1])
        size_bytes += len(chunk) - 1
        chunk = chunk[-1:] + more
    last = _without_line_end(chunk)
    digest.update(last)
    return Oversize(size_bytes + len(last), digest.hexdigest())


def _without_line_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")
