"""
Messages of a byte stream that each have their length in front, as protobuf is kept in files.

Two ways are read: four bytes, most significant first (the OpenTelemetry Collector's file exporter), and protobuf's own
variable-length integer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from monitor.ingest.lines import Line
from monitor.ingest.source import Oversize

PEEK_BYTES = 16
"""How much of a stream `frame_lengths` has to see."""

_FIXED_BYTES = 4
_LONGEST_VARINT_BYTES = 5
_CHUNK_BYTES = 64 * 1024
_MESSAGE_FIELD = 0x0A
_MORE_FOLLOWS = 0x80

ReadLength = Callable[[BinaryIO], int | None]
"""Reads the length of the next message off a stream; None at its end."""


def frame_lengths(head: bytes) -> ReadLength | None:
    """
    How the messages of a stream that begins with *head* are framed, or None where it is not framed.

    A message begins with its first field, and lines of text begin with neither a zero nor half a character: so the
    first byte tells which it is, and the first byte of the message confirms it.
    """
    if head[:1] == b"\0" and head[_FIXED_BYTES : _FIXED_BYTES + 1] == bytes([_MESSAGE_FIELD]):
        return _fixed_length
    length = next((i for i, byte in enumerate(head[:_LONGEST_VARINT_BYTES], start=1) if byte < _MORE_FOLLOWS), 0)
    if length > 1 and head[length : length + 1] == bytes([_MESSAGE_FIELD]):
        return _varint_length
    return None


def read_frames(stream: BinaryIO, read_length: ReadLength, *, max_bytes: int) -> Iterator[Line]:
    """
    Every message of *stream*; one longer than *max_bytes* is hashed chunk by chunk and never held as a whole.

    Raises:
        EOFError: the stream ends within a message, or what should be a length is none.
    """
    index = 0
    while (length := read_length(stream)) is not None:
        if length <= max_bytes:
            yield Line(index, _exactly(stream, length))
        else:
            yield Line(index, b"", _hashed(stream, length))
        index += 1


def _fixed_length(stream: BinaryIO) -> int | None:
    prefix = stream.read(_FIXED_BYTES)
    if not prefix:
        return None
    if len(prefix) < _FIXED_BYTES:
        raise EOFError("it ends within a length")
    return int.from_bytes(prefix, "big")


def _varint_length(stream: BinaryIO) -> int | None:
    length = 0
    for position in range(_LONGEST_VARINT_BYTES):
        byte = stream.read(1)
        if not byte:
            if position == 0:
                return None
            raise EOFError("it ends within a length")
        length |= (byte[0] & ~_MORE_FOLLOWS) << 7 * position
        if byte[0] < _MORE_FOLLOWS:
            return length
    raise EOFError("a length is too long")


def _exactly(stream: BinaryIO, size: int) -> bytes:
    value = stream.read(size)
    if len(value) < size:
        raise EOFError("it ends within a message")
    return value


def _hashed(stream: BinaryIO, size: int) -> Oversize:
    digest = hashlib.sha256()
    left = size
    while left:
        chunk = _exactly(stream, min(left, _CHUNK_BYTES))
        digest.update(chunk)
        left -= len(chunk)
    return Oversize(size, digest.hexdigest())
