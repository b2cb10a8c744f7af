from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.ingest.lines import PEEK_BYTES, Line, frame_lengths, read_frames
from monitor.ingest.source import Oversize

A_MESSAGE = b"\x0a\x8f\x01" + b"x" * 143


def fixed(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def varint(value: bytes) -> bytes:
    length, prefix = len(value), b""
    while length > 127:
        prefix += bytes([length & 127 | 128])
        length >>= 7
    return prefix + bytes([length]) + value


FRAMES = {"four bytes": fixed, "variable-length integer": varint}
framings = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


def read(content: bytes, max_bytes: int = 1_000_000) -> list[Line]:
    read_length = frame_lengths(content[:PEEK_BYTES])
    assert read_length is not None
    return list(read_frames(io.BufferedReader(io.BytesIO(content)), read_length, max_bytes=max_bytes))


@framings
@given(messages=st.lists(st.binary(max_size=300), max_size=4))
def test_messages_come_out_as_they_went_in(frame: Callable[[bytes], bytes], messages: list[bytes]) -> None:
    """Every message is read whole, and numbered from 0."""
    whole = [A_MESSAGE, *messages]

    assert [Line(index, value) for index, value in enumerate(whole)] == read(b"".join(map(frame, whole)))


@framings
def test_message_above_the_limit_is_hashed(frame: Callable[[bytes], bytes]) -> None:
    """The limit itself is kept; what is longer leaves its size and hash, and the next message is read."""
    longer = A_MESSAGE + b"x"

    found = read(frame(A_MESSAGE) + frame(longer) + frame(b"z"), max_bytes=len(A_MESSAGE))

    assert found == [
        Line(0, A_MESSAGE),
        Line(1, b"", Oversize(len(longer), hashlib.sha256(longer).hexdigest())),
        Line(2, b"z"),
    ]


@framings
@pytest.mark.parametrize("max_bytes", [10, 1_000_000], ids=["above the limit", "within the limit"])
def test_stream_that_breaks_off_is_noticed(frame: Callable[[bytes], bytes], max_bytes: int) -> None:
    """Half a message, and half a length, is damage and no end."""
    whole = frame(A_MESSAGE)

    for cut in (whole[:-1], whole + whole[:1], whole + whole[:-1]):
        with pytest.raises(EOFError):
            read(cut, max_bytes)


def test_endless_length_is_noticed() -> None:
    """A length of more than 32 bits is no length."""
    with pytest.raises(EOFError):
        read(varint(A_MESSAGE) + b"\xff" * 9)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b'{"schema": 1}',
        b"{\n",
        b"\n\n\n\n\n",
        b" \n",
        b"[\n",
        "é\n".encode(),
        b"\xef\xbb\xbf{}",
        A_MESSAGE,
        b"\0",
    ],
    ids=["nothing", "brace", "JSON", "spread JSON", "blank", "space", "list", "text", "BOM", "bare message", "zero"],
)
def test_lines_are_not_taken_for_frames(head: bytes) -> None:
    """Text, and a message that has no length in front, are something else."""
    assert frame_lengths(head[:PEEK_BYTES]) is None
