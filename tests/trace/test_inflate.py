from __future__ import annotations

import gzip
import zlib

import pytest
import zstandard

from monitor.trace.decode import decode, inflated
from monitor.trace.model import DropReason, InvalidRecord
from monitor.trace.settings import Limits
from tests.trace.events import a_trace_event, as_bytes

PLAIN = as_bytes(a_trace_event())


def zstd_of_unknown_size(value: bytes) -> bytes:
    folding = zstandard.ZstdCompressor().compressobj()
    return folding.compress(value) + folding.flush()


FOLDED = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress, "zstd stream": zstd_of_unknown_size}


@pytest.mark.parametrize("fold", FOLDED.values(), ids=FOLDED)
def test_compressed_event_is_read(fold: type[bytes]) -> None:
    """A payload that was compressed before it was sent says what it said before."""
    assert decode(PLAIN, Limits()) == decode(fold(PLAIN), Limits())


@pytest.mark.parametrize("fold", FOLDED.values(), ids=FOLDED)
def test_limit_itself_is_unfolded(fold: type[bytes]) -> None:
    """One byte above the limit is too large."""
    folded = fold(b"x" * 5000)

    assert b"x" * 5000 == inflated(folded, 5000)
    with pytest.raises(InvalidRecord) as refused:
        inflated(folded, 4999)
    assert refused.value.reason is DropReason.TOO_LARGE


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fold", FOLDED.values(), ids=FOLDED)
def test_compression_bomb_is_refused(fold: type[bytes]) -> None:
    """A small record that unfolds to 64 MiB is refused without unfolding it."""
    bomb = fold(bytes(64 * 1024 * 1024))

    assert len(bomb) < Limits().max_record_bytes
    with pytest.raises(InvalidRecord) as refused:
        decode(bomb, Limits())
    assert refused.value.reason is DropReason.TOO_LARGE


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x1f\x8b",
        gzip.compress(PLAIN)[:-9],
        gzip.compress(PLAIN)[:12] + b"\xff" * 9,
        b"\x28\xb5\x2f\xfd",
        b"\x28\xb5\x2f\xfd" + b"\xff" * 40,
        zstd_of_unknown_size(PLAIN)[:-9],
        gzip.compress(PLAIN) + b"x",
        zstd_of_unknown_size(PLAIN) + b"x",
        zstd_of_unknown_size(PLAIN) + b"x" * 100,
    ],
    ids=[
        "gzip of nothing",
        "gzip breaks off",
        "gzip is damaged",
        "zstd of nothing",
        "zstd is damaged",
        "zstd breaks off",
        "more after gzip",
        "more after zstd",
        "much more after zstd",
    ],
)
def test_damaged_payload_is_refused(damaged: bytes) -> None:
    """What cannot be unfolded is a dead letter, and not the part that could."""
    with pytest.raises(InvalidRecord) as refused:
        decode(damaged, Limits())
    assert refused.value.reason is DropReason.NOT_COMPRESSED


def test_other_payloads_are_left_alone() -> None:
    """Only the two magic numbers are unfolded."""
    assert zlib.compress(PLAIN) == inflated(zlib.compress(PLAIN), 10)
