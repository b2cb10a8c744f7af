"""Payloads that were compressed before they became a record; Kafka's own compression is undone before they get here."""

from __future__ import annotations

import zlib

from backports import zstd

from monitor.trace.model import DropReason, InvalidRecord

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_LARGEST_ZSTD_WINDOW_LOG = 23  # 8 MiB, which every decoder has to know (RFC 8878)


def inflated(value: bytes, max_bytes: int) -> bytes:
    """
    *value* as it was before gzip or zstd; anything else as it is.

    Raises:
        InvalidRecord: damaged, or larger than *max_bytes* when unfolded; hardly more than that is ever unfolded.
    """
    if value.startswith(_GZIP_MAGIC):
        unfolded = _gunzipped(value, max_bytes + 1)
    elif value.startswith(_ZSTD_MAGIC):
        unfolded = _unzstd(value, max_bytes + 1)
    else:
        return value
    if len(unfolded) > max_bytes:
        raise InvalidRecord(DropReason.TOO_LARGE, f"unfolds to more than {max_bytes} bytes")
    return unfolded


def _gunzipped(value: bytes, limit: int) -> bytes:
    unfolding = zlib.decompressobj(_GZIP_WINDOW)
    try:
        unfolded = unfolding.decompress(value, limit)
    except zlib.error:
        raise InvalidRecord(DropReason.NOT_COMPRESSED, "begins like gzip and is damaged") from None
    if len(unfolded) < limit and (not unfolding.eof or unfolding.unused_data):
        raise InvalidRecord(DropReason.NOT_COMPRESSED, "gzip breaks off, or more follows it")
    return unfolded


def _unzstd(value: bytes, limit: int) -> bytes:
    unfolding = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _LARGEST_ZSTD_WINDOW_LOG})
    try:
        unfolded = unfolding.decompress(value, limit)
    except zstd.ZstdError:
        raise InvalidRecord(DropReason.NOT_COMPRESSED, "begins like zstd and is damaged") from None
    if len(unfolded) < limit and (not unfolding.eof or unfolding.unused_data):
        raise InvalidRecord(DropReason.NOT_COMPRESSED, "zstd breaks off, or more follows it")
    return unfolded
