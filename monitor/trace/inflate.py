"""Payloads that were compressed before they became a record; Kafka's own compression is undone before they get here."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from backports import zstd

from monitor.trace.model import DropReason, InvalidRecord

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_ZSTD_OPTIONS: Mapping[int, int] = {
    zstd.DecompressionParameter.window_log_max: 23
}  # 8 MiB, which every decoder has to know (RFC 8878)


def inflated(value: bytes, max_bytes: int) -> bytes:
    """
    *value* as it was before gzip or zstd; anything else as it is.

    Raises:
        InvalidRecord: damaged, or larger than *max_bytes* when unfolded; hardly more than that is ever unfolded.
    """
    unfolding: Any
    if value.startswith(_GZIP_MAGIC):
        name, unfolding = "gzip", zlib.decompressobj(_GZIP_WINDOW)
    elif value.startswith(_ZSTD_MAGIC):
        name, unfolding = "zstd", zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
    else:
        return value
    try:
        unfolded: bytes = unfolding.decompress(value, max_bytes + 1)
    except (zlib.error, zstd.ZstdError):
        raise InvalidRecord(DropReason.NOT_COMPRESSED, f"begins like {name} and is damaged") from None
    if len(unfolded) > max_bytes:
        raise InvalidRecord(DropReason.TOO_LARGE, f"unfolds to more than {max_bytes} bytes")
    if not unfolding.eof or unfolding.unused_data:
        raise InvalidRecord(DropReason.NOT_COMPRESSED, f"{name} breaks off, or more follows it")
    return unfolded
