"""Gives Prometheus samples of the past: its remote-write protocol, as small as it goes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx

_SAMPLES_PER_REQUEST = 50_000
_SEVEN_BITS = 0x7F


@dataclass(frozen=True, slots=True)
class Series:
    """
    One time series.

    Attributes:
        labels: With `__name__`.
        samples: Unix seconds and value, oldest first.
    """

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]]


def push(url: str, series: Iterable[Series]) -> int:
    """
    Write *series* to the Prometheus at *url*, which must accept remote writes; how many samples there were.

    Raises:
        httpx.HTTPStatusError: Prometheus does not take them.
    """
    written = 0
    with httpx.Client(trust_env=False, timeout=60) as client:
        for batch in _batches(series):
            body = b"".join(_field(1, _encoded(each)) for each in batch)
            headers = {
                "Content-Encoding": "snappy",
                "Content-Type": "application/x-protobuf",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
            }
            client.post(f"{url}/api/v1/write", content=_snappy(body), headers=headers).raise_for_status()
            written += sum(len(each.samples) for each in batch)
    return written


def _batches(series: Iterable[Series]) -> Iterator[list[Series]]:
    batch: list[Series] = []
    size = 0
    for each in series:
        batch.append(each)
        size += len(each.samples)
        if size >= _SAMPLES_PER_REQUEST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(series: Series) -> bytes:
    labels = (
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in sorted(series.labels.items())
    )
    samples = (
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(round(1000 * at)))
        for at, value in series.samples
    )
    return b"".join(labels) + b"".join(samples)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > _SEVEN_BITS:
        encoded.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _snappy(content: bytes) -> bytes:
    """*content* as one snappy block that is a single literal: the format asks for snappy, not for small."""
    literal_with_four_bytes_of_length = b"\xfc"
    return _varint(len(content)) + literal_with_four_bytes_of_length + struct.pack("<I", len(content) - 1) + content
