"""
Batches of Kafka records are unfolded within bounds: kafka-python would unfold 30 kB to a gigabyte, at every start anew.

kafka-python has no setting for it, so the class of its batches is replaced by one that stops where a batch gets too
large. What comes out of such a batch is one record that stands for all of it, and becomes a dead letter.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from gzip import GzipFile
from importlib.util import find_spec
from typing import Any

from backports.zstd import DecompressionParameter, ZstdError, ZstdFile
from kafka import KafkaConsumer, codec
from kafka.errors import CorruptRecordError, KafkaError
from kafka.record import legacy_records, memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024  # of all levels but the ultra ones
_MOST_ZSTD_WINDOW_BYTES = 2**31  # of any frame that a decoder takes


class StandIn(bytes):
    """An empty value that stands for a batch; *detail* says what is wrong with it, *next_offset* what follows it."""

    detail: str
    next_offset: int


class _Bounds(threading.local):
    """Of the poll that this thread is in: bytes that a batch may unfold to, and that are left for all batches."""

    batch_bytes = 32 * 1024 * 1024
    left_bytes = batch_bytes
    is_full = False


_bounds = _Bounds()


class _PollFull(KafkaError):  # type: ignore[misc]  # kafka-python ships without types
    """This poll has unfolded as much as it may."""


class BoundedConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python ships without types
    """
    A consumer that unfolds at most *max_batch_bytes* of one batch, and of all batches of one poll together.

    Args:
        max_batch_bytes: Size above which a batch comes as one record whose value is a `StandIn`.
        options: As kafka-python takes them.
    """

    def __init__(self, *, max_batch_bytes: int, **options: Any) -> None:
        self._max_batch_bytes = max_batch_bytes
        super().__init__(**options, fetch_max_bytes=max_batch_bytes)

    def poll(self, **options: Any) -> Mapping[Any, Any]:
        _bounds.batch_bytes = self._max_batch_bytes
        _bounds.left_bytes = self._max_batch_bytes
        _bounds.is_full = False
        try:
            return dict(super().poll(**options))
        except _PollFull as full:
            full.__traceback__ = None
            return {}
        finally:
            if _bounds.is_full:
                self._fetch_again()

    def _fetch_again(self) -> None:
        # What is left of the fetch cannot be read on after an error; it is fetched again from where this poll ended.
        if failed := self._fetcher._next_in_line_exception_metadata:  # noqa: SLF001
            failed.exception.__traceback__ = None  # whose frames hold records, and the error itself, for the collector
        self._fetcher._next_in_line_exception_metadata = None  # noqa: SLF001
        if part := self._fetcher._next_partition_records:  # noqa: SLF001
            part.drain()


class _BoundedBatch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python ships without types
    _pos: int
    _buffer: bytearray
    _decompressed: bool

    def __iter__(self) -> Iterator[Any]:
        try:
            self._maybe_uncompress()
        except _TooLarge as error:
            return iter([self._stand_in(error.args[0])])
        return self

    def _maybe_uncompress(self) -> None:
        unfold = _UNFOLDING.get(self.compression_type)
        if self._decompressed or unfold is None:
            super()._maybe_uncompress()
            return
        self._assert_has_codec(self.compression_type)
        self._buffer = _bounded(unfold)(memoryview(self._buffer)[self._pos :])
        self._pos = 0
        self._decompressed = True

    def _stand_in(self, problem: str) -> DefaultRecord:
        value = StandIn()
        value.detail = f"offsets {self.base_offset} to {self.last_offset}: the batch {problem}"
        value.next_offset = self.next_offset
        return DefaultRecord(0, self.last_offset, self.max_timestamp, self.timestamp_type, None, value, [])


class _TooLarge(CorruptRecordError):  # type: ignore[misc]  # kafka-python ships without types
    """A batch that unfolds to more than it may."""


_Unfold = Callable[[bytes, int], Iterator[bytes]]
"""Unfolds a batch piece by piece, each piece of at most so many bytes."""


def _bounded(unfold: _Unfold) -> Callable[[Any], bytearray]:
    def decode(folded: Any) -> bytearray:
        unfolded, most = bytearray(), _bounds.batch_bytes
        for piece in unfold(bytes(folded), most):
            unfolded += piece
            if len(unfolded) > most:
                unfolded.clear()
                raise _TooLarge(f"decompresses to more than {most} bytes")
        _bounds.left_bytes -= len(unfolded)
        if _bounds.left_bytes < 0:
            _bounds.is_full = True
            unfolded.clear()  # kafka-python keeps the error, and with it this frame, until garbage is collected
            raise _PollFull
        return unfolded

    return decode


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(lambda: read(_PIECE_BYTES), b"")


def _gzip(folded: bytes, most: int) -> Iterator[bytes]:  # noqa: ARG001
    return _pieces(GzipFile(fileobj=io.BytesIO(folded)).read)


def _zstd(folded: bytes, most: int) -> Iterator[bytes]:
    window = min(max(most, _ZSTD_WINDOW_BYTES), _MOST_ZSTD_WINDOW_BYTES)
    options: Mapping[int, int] = {DecompressionParameter.window_log_max: (window - 1).bit_length()}
    try:
        yield from _pieces(ZstdFile(io.BytesIO(folded), options=options).read)
    except ZstdError as error:
        if "too much memory" in str(error):
            raise _TooLarge(f"looks back over more than {window} bytes") from None
        raise


def _lz4(folded: bytes, most: int) -> Iterator[bytes]:  # noqa: ARG001
    from lz4.frame import LZ4FrameFile  # noqa: PLC0415  (an extra)

    return _pieces(LZ4FrameFile(io.BytesIO(folded)).read)


def _snappy(folded: bytes, most: int) -> Iterator[bytes]:
    from cramjam import snappy  # noqa: PLC0415  (an extra)

    for block in _snappy_blocks(folded):
        if snappy.decompress_raw_len(block) > most:
            raise _TooLarge(f"decompresses to more than {most} bytes")
        yield bytes(snappy.decompress_raw(block))


def _snappy_blocks(folded: bytes) -> Iterator[bytes]:
    if not folded.startswith(_XERIAL_MAGIC):
        yield folded
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(folded):
        length = int.from_bytes(folded[at : at + 4], "big")
        yield folded[at + 4 : at + 4 + length]
        at += 4 + length


_PIECE_BYTES = 256 * 1024
_UNFOLDING: Mapping[int, _Unfold] = {
    DefaultRecordBatch.CODEC_GZIP: _gzip,
    DefaultRecordBatch.CODEC_SNAPPY: _snappy,
    DefaultRecordBatch.CODEC_LZ4: _lz4,
    DefaultRecordBatch.CODEC_ZSTD: _zstd,
}

# kafka-python looks for the libraries that it would read them with.
codec.has_zstd = codec.has_gzip
codec.has_snappy = lambda: find_spec("cramjam") is not None
memory_records.DefaultRecordBatch = _BoundedBatch
# Batches of clients older than Kafka 0.11, which no broker from 4.0 on keeps.
legacy_records.gzip_decode, legacy_records.snappy_decode = _bounded(_gzip), _bounded(_snappy)
legacy_records.lz4_decode = _bounded(_lz4)
