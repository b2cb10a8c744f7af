"""Lines of a byte stream in bounded memory, however long they are and however it is compressed."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import zstandard
from typing_extensions import Buffer

from monitor.ingest.source import Oversize

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES = 64 * 1024

CORRUPTED = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
"""What reading a stream raises whose compression is broken."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line end: its *value*, or *oversize* where it was too long to be kept; *index* from 0."""

    index: int
    value: bytes
    oversize: Oversize | None = None


def decompressed(stream: io.BufferedReader) -> io.BufferedReader:
    """*stream* as plain bytes: gzip and zstd are told by their first bytes, not by a name."""
    magic = stream.peek(len(_ZSTD_MAGIC))
    if magic.startswith(_GZIP_MAGIC):
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=stream)), _CHUNK_BYTES)
    if magic.startswith(_ZSTD_MAGIC):
        return io.BufferedReader(_ZstdFrames(stream), _CHUNK_BYTES)
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


class _ZstdFrames(io.RawIOBase):
    """
    Plain bytes of zstd frames; unlike zstandard's own reader it notices that the last frame was cut off.

    Takes small bites: four bytes may hold a block of 128 KiB, so one bite is at most 32 MiB.
    """

    _BITE_BYTES = 1024

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        while not self._plain:
            self._compressed = self._compressed or self._stream.read(self._BITE_BYTES)
            if not self._compressed:
                if self._frame:
                    raise EOFError("it ends within a frame")
                return 0
            self._decompress_bite()
        target = memoryview(buffer)
        size = min(len(target), len(self._plain))
        target[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _decompress_bite(self) -> None:
        frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._plain = memoryview(frame.decompress(self._compressed))
        self._compressed = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame


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
