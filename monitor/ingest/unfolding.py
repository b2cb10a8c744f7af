"""
Limits the decompressed size of Kafka batches: kafka-python would decompress 30 kB to a gigabyte, at every start again.

kafka-python has no setting for it, so its class of batches is replaced by one that stops at a limit. A batch over the
limit gives one placeholder record for all of its offsets, which becomes a dead letter.
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
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024  # largest window of all levels but the ultra ones
_MOST_ZSTD_WINDOW_BYTES = 2**31  # largest window that the decoder accepts


class StandIn(bytes):
    """Empty value of a placeholder record for a batch: *detail* is its problem, *next_offset* the offset after it."""

    detail: str
    next_offset: int


class _Bounds(threading.local):
    """Limits of this thread's current poll: bytes that one batch may decompress to, and bytes left for all batches."""

    batch_bytes = 32 * 1024 * 1024
    left_bytes = batch_bytes
    is_full = False


_bounds = _Bounds()


class _PollFull(KafkaError):  # type: ignore[misc]  # kafka-python ships without types
    """This poll has reached its limit of decompressed bytes."""


class BoundedConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python ships without types
    """
    A consumer that decompresses at most *max_batch_bytes* of one batch, and of all batches of one poll together.

    Args:
        max_batch_bytes: A batch that decompresses to more gives one record whose value is a `StandIn`.
        options: Options of kafka-python.
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
        # After an error the rest of the fetched data cannot be read; drop it and fetch from where this poll ended.
        if failed := self._fetcher._next_in_line_exception_metadata:  # noqa: SLF001
            failed.exception.__traceback__ = None  # its frames keep records alive until the garbage collector runs
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
        decompress = _DECOMPRESS.get(self.compression_type)
        if self._decompressed or decompress is None:
            super()._maybe_uncompress()
            return
        self._assert_has_codec(self.compression_type)
        self._buffer = _bounded(decompress)(memoryview(self._buffer)[self._pos :])
        self._pos = 0
        self._decompressed = True

    def _stand_in(self, problem: str) -> DefaultRecord:
        value = StandIn()
        value.detail = f"offsets {self.base_offset} to {self.last_offset}: the batch {problem}"
        value.next_offset = self.next_offset
        return DefaultRecord(0, self.last_offset, self.max_timestamp, self.timestamp_type, None, value, [])


class _TooLarge(CorruptRecordError):  # type: ignore[misc]  # kafka-python ships without types
    """A batch that decompresses to more than the limit."""


_Decompress = Callable[[bytes, int], Iterator[bytes]]
"""Decompresses a batch chunk by chunk; the second argument is the limit in bytes."""


def _bounded(decompress: _Decompress) -> Callable[[Any], bytearray]:
    def decode(compressed: Any) -> bytearray:
        plain, most = bytearray(), _bounds.batch_bytes
        for chunk in decompress(bytes(compressed), most):
            plain += chunk
            if len(plain) > most:
                plain.clear()
                raise _TooLarge(f"decompresses to more than {most} bytes")
        _bounds.left_bytes -= len(plain)
        if _bounds.left_bytes < 0:
            _bounds.is_full = True
            plain.clear()  # kafka-python keeps the error, and with it this frame, until the garbage collector runs
            raise _PollFull
        return plain

    return decode


def _chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    return iter(lambda: read(_CHUNK_BYTES), b"")


def _gzip(compressed: bytes, most: int) -> Iterator[bytes]:  # noqa: ARG001
    return _chunks(GzipFile(fileobj=io.BytesIO(compressed)).read)


def _zstd(compressed: bytes, most: int) -> Iterator[bytes]:
    window = min(max(most, _ZSTD_WINDOW_BYTES), _MOST_ZSTD_WINDOW_BYTES)
    options: Mapping[int, int] = {DecompressionParameter.window_log_max: (window - 1).bit_length()}
    try:
        yield from _chunks(ZstdFile(io.BytesIO(compressed), options=options).read)
    except ZstdError as error:
        if "too much memory" in str(error):
            raise _TooLarge(f"looks back over more than {window} bytes") from None
        raise


def _lz4(compressed: bytes, most: int) -> Iterator[bytes]:  # noqa: ARG001
    from lz4.frame import LZ4FrameFile  # noqa: PLC0415  (an extra)

    return _chunks(LZ4FrameFile(io.BytesIO(compressed)).read)


def _snappy(compressed: bytes, most: int) -> Iterator[bytes]:
    from cramjam import snappy  # noqa: PLC0415  (an extra)

    for block in _snappy_blocks(compressed):
        if snappy.decompress_raw_len(block) > most:
            raise _TooLarge(f"decompresses to more than {most} bytes")
        yield bytes(snappy.decompress_raw(block))


def _snappy_blocks(compressed: bytes) -> Iterator[bytes]:
    if not compressed.startswith(_XERIAL_MAGIC):
        yield compressed
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(compressed):
        length = int.from_bytes(compressed[at : at + 4], "big")
        yield compressed[at + 4 : at + 4 + length]
        at += 4 + length


_CHUNK_BYTES = 256 * 1024
_DECOMPRESS: Mapping[int, _Decompress] = {
    DefaultRecordBatch.CODEC_GZIP: _gzip,
    DefaultRecordBatch.CODEC_SNAPPY: _snappy,
    DefaultRecordBatch.CODEC_LZ4: _lz4,
    DefaultRecordBatch.CODEC_ZSTD: _zstd,
}

# kafka-python checks for its own libraries, which are not needed here.
codec.has_zstd = codec.has_gzip
codec.has_snappy = lambda: find_spec("cramjam") is not None
memory_records.DefaultRecordBatch = _BoundedBatch
# Batches of clients older than Kafka 0.11, which brokers support up to version 3.
legacy_records.gzip_decode, legacy_records.snappy_decode = _bounded(_gzip), _bounded(_snappy)
legacy_records.lz4_decode = _bounded(_lz4)
