"""A batch of Kafka records unfolds within bounds, whichever way it was folded."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from typing import Any

import lz4.frame
import pytest
import snappy
import zstandard
from kafka.record import default_records
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from monitor.ingest import unfolding
from monitor.ingest.kafka import as_record
from monitor.ingest.unfolding import StandIn

LIMIT = 1024 * 1024
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small bounds, so that a bomb is small too."""
    monkeypatch.setattr(unfolding._bounds, "batch_bytes", LIMIT)
    monkeypatch.setattr(unfolding._bounds, "left_bytes", 2 * LIMIT)


def folded_by(
    monkeypatch: pytest.MonkeyPatch, codec: int, fold: Callable[[bytes], bytes], *values: bytes
) -> MemoryRecords:
    """A batch of *values* from offset 0 on, as a producer that folds by *fold* writes it."""
    for name in ("gzip_encode", "snappy_encode", "lz4_encode", "zstd_encode"):
        monkeypatch.setattr(default_records, name, fold)
    builder = DefaultRecordBatchBuilder(
        2,
        codec,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**31,
    )
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=1_790_000_000_000, key=None, value=value, headers=[])
    return MemoryRecords(bytes(builder.build()))


def in_frames(fold: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Folds each part of what it is given as a frame of its own."""
    return lambda plain: b"".join(fold(plain[at : at + LIMIT // 4]) for at in range(0, len(plain), LIMIT // 4))


def in_xerial_blocks(plain: bytes) -> bytes:
    blocks = [snappy.compress(plain[at : at + 32_768]) for at in range(0, len(plain), 32_768)]
    head = b"\x82SNAPPY\x00" + (1).to_bytes(4, "big") + (1).to_bytes(4, "big")
    return head + b"".join(len(block).to_bytes(4, "big") + block for block in blocks)


FOLDING: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (GZIP, gzip.compress),
    "gzip members": (GZIP, in_frames(gzip.compress)),
    "snappy": (SNAPPY, snappy.compress),
    "snappy xerial": (SNAPPY, in_xerial_blocks),
    "lz4": (LZ4, lz4.frame.compress),
    "lz4 frames": (LZ4, in_frames(lz4.frame.compress)),
    "lz4 without its length": (LZ4, lambda plain: lz4.frame.compress(plain, store_size=False, block_linked=False)),
    "zstd": (ZSTD, zstandard.ZstdCompressor().compress),
    "zstd frames": (ZSTD, in_frames(zstandard.ZstdCompressor().compress)),
    "zstd without its length": (ZSTD, zstandard.ZstdCompressor(write_content_size=False).compress),
    "zstd folded hard": (ZSTD, zstandard.ZstdCompressor(level=19).compress),
}


@pytest.mark.parametrize("way", FOLDING)
def test_batch_within_bounds_is_read(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Whatever kafka-python reads of an honest batch is read, to its last record."""
    codec, fold = FOLDING[way]
    records = folded_by(monkeypatch, codec, fold, b"a" * 300_000, b"", b"b" * 300_000)

    assert [b"a" * 300_000, b"", b"b" * 300_000] == [record.value for record in records.next_batch()]


@pytest.mark.parametrize("way", FOLDING)
def test_bound_may_be_larger_than_any_batch(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """A bound that nothing reaches reads everything."""
    monkeypatch.setattr(unfolding._bounds, "batch_bytes", 2**40)
    codec, fold = FOLDING[way]

    assert [b"a" * 1_000] == [record.value for record in folded_by(monkeypatch, codec, fold, b"a" * 1_000).next_batch()]


@pytest.mark.slow
@pytest.mark.parametrize("way", FOLDING)
@pytest.mark.parametrize("values", [(b"0" * LIMIT,), (b"0" * 40 * LIMIT,), (b"0" * 100_000,) * 30, (b"",) * 170_000])
def test_bomb_is_one_record_that_says_so(monkeypatch: pytest.MonkeyPatch, way: str, values: tuple[bytes, ...]) -> None:
    """Of a batch over the bound nothing is read but where it ends, and hardly more than the bound is unfolded."""
    codec, fold = FOLDING[way]
    batch = folded_by(monkeypatch, codec, fold, *values).next_batch()

    tracemalloc.start()
    (record,) = batch
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(record.value, StandIn)
    assert 4 * LIMIT > peak
    assert len(values) == record.value.next_offset
    assert f"offsets 0 to {len(values) - 1}: the batch decompresses to more than {LIMIT} bytes" == record.value.detail


class Fetched:
    """A record as kafka-python's consumer hands it on."""

    topic, partition, key, headers, timestamp = "agent-traces", 3, None, (), 1_790_000_000_000

    def __init__(self, record: Any) -> None:
        self.offset, self.value = record.offset, record.value


def test_bomb_is_a_corrupt_batch_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead letter stands at the last offset of the batch, and reading goes on behind it."""
    batch = folded_by(monkeypatch, ZSTD, zstandard.compress, b"0" * LIMIT, b"0" * LIMIT).next_batch()

    record = as_record(Fetched(next(iter(batch))))

    assert (1, 2) == (record.position.offset, record.next_offset)
    assert record.corrupt_batch is not None
    assert record.corrupt_batch.is_too_large


@pytest.mark.parametrize("way", FOLDING)
def test_batch_that_breaks_off_is_corrupt(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """What is cut off in the middle is an error, as without bounds, and never fewer records."""
    codec, fold = FOLDING[way]
    records = folded_by(monkeypatch, codec, lambda plain: fold(plain)[:-30], b"a" * 300_000, b"b" * 300_000)

    with pytest.raises(Exception) as raised:  # noqa: PT011  (each codec has its own)
        list(records.next_batch())

    assert not isinstance(raised.value, StopIteration | MemoryError)


def test_snappy_that_lies_about_its_length_is_not_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of a few bytes that claims gigabytes takes no memory."""
    records = folded_by(monkeypatch, SNAPPY, lambda _: b"\xff\xff\xff\xff\x0f" + b"\x00" * 8, b"a" * 1_000)

    (record,) = records.next_batch()

    assert isinstance(record.value, StandIn)


def test_poll_unfolds_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches, each within its bound, do not add up in one poll."""
    batches = [folded_by(monkeypatch, GZIP, gzip.compress, b"0" * (LIMIT - 100)).next_batch() for _ in range(3)]

    assert [1, 1] == [len(list(batch)) for batch in batches[:2]]
    with pytest.raises(unfolding._PollFull):
        list(batches[2])


def test_batches_of_kafka_python_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another release of kafka-python that makes its batches elsewhere would read without bounds."""
    batch = folded_by(monkeypatch, 0, gzip.compress, b"a").next_batch()

    assert type(batch) is not DefaultRecordBatch
    assert isinstance(batch, DefaultRecordBatch)
