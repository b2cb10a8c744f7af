from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError, KafkaConnectionError, UnsupportedCodecError

from monitor.ingest.corrupt_batch import BlockedPartition, first_readable, is_corrupt
from monitor.ingest.source import TopicPartition
from monitor.service.pipeline import DecodeRules, decode_records
from monitor.trace.model import DropReason
from monitor.trace.settings import Limits, TraceSettings

PARTITION = TopicPartition("agent-traces", 3)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(CorruptRecordError("crc"), True, id="a broken checksum"),
        pytest.param(gzip.BadGzipFile("magic"), True, id="a gzip that is none, though it is an OSError"),
        pytest.param(zlib.error("invalid block"), True, id="a gzip that breaks off"),
        pytest.param(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), True, id="a header name that is no text"),
        pytest.param(UnsupportedCodecError("Unrecognized compression type: 7"), True, id="a codec that nobody knows"),
        pytest.param(
            UnsupportedCodecError("Libraries for lz4 compression codec not found"), False, id="a codec not installed"
        ),
        pytest.param(KafkaConnectionError("refused"), False, id="a broker that is away"),
        pytest.param(ConnectionResetError("reset"), False, id="a connection that breaks"),
    ],
)
def test_what_was_fetched_is_distinguished_from_the_way_to_it(error: Exception, *, expected: bool) -> None:
    """Only what no other broker and no other day would make readable may ever be passed over."""
    assert expected == is_corrupt(error)


@given(offset=st.integers(0, 10**9), length=st.integers(1, 10**6), behind=st.integers(0, 10**6))
def test_the_end_of_what_cannot_be_read_is_found_exactly(offset: int, length: int, behind: int) -> None:
    """However long the batch, few offsets are tried, and what stands behind it is not lost."""
    tries = list[int]()

    def problem_at(at: int) -> str:
        tries.append(at)
        return "bad" if at < offset + length else ""

    end = first_readable(offset, offset + length + behind, problem_at)

    assert offset + length == end
    assert len(tries) <= 2 * length.bit_length() + 1


def test_tries_come_further_and_further_apart() -> None:
    """Eight tries take about a minute: enough for a broker to be replaced."""
    blocked = BlockedPartition(PARTITION, 17).tried("crc", now=100.0)
    moments = [blocked.retry_at]
    for _ in range(7):
        blocked = blocked.tried("crc", now=blocked.retry_at)
        moments.append(blocked.retry_at)

    assert [100.5, 101.5, 103.5, 107.5, 115.5, 130.5, 145.5, 160.5] == moments


def test_what_is_skipped_is_a_dead_letter_with_its_range() -> None:
    """One record stands for the range, and names it."""
    record = BlockedPartition(PARTITION, 17, "crc").skipped(42)

    (decoded,) = decode_records([record], DecodeRules(Limits(), TraceSettings()))

    assert decoded.dead_letter is not None
    assert DropReason.UNREADABLE == decoded.dead_letter.reason
    assert "offsets 17 to 41 cannot be read: crc" == decoded.dead_letter.detail
    assert PARTITION == decoded.partition
