"""Batches that no client can read: what a broken disk or a careless proxy leaves in a log."""

from __future__ import annotations

from collections.abc import Callable

from kafka.record.util import calc_crc32c

from tests.stack.servers import KafkaServer


def flip_a_bit(batch: bytearray) -> None:
    batch[-3] ^= 1


def break_compression(batch: bytearray) -> None:
    batch[70:80] = b"\xff" * 10
    _seal(batch)


def break_header_name(batch: bytearray) -> None:
    at = batch.index(b"header")
    batch[at : at + 6] = b"\xff" * 6
    _seal(batch)


def _seal(batch: bytearray) -> None:
    """Give *batch* (Kafka's record batch, version 2) the checksum of what it holds now."""
    batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")


def damage_log(kafka: KafkaServer, topic: str, holding: bytes | None, damage: Callable[[bytearray], None]) -> None:
    """Change, behind the broker's back, the first batch of partition 0 that holds some bytes, or is compressed."""
    (segment,) = (kafka.directory / "data" / f"{topic}-0").glob("*.log")
    kafka.stop()
    content, at = bytearray(segment.read_bytes()), 0
    while at < len(content):
        size = 12 + int.from_bytes(content[at + 8 : at + 12], "big")
        batch = content[at : at + size]
        if holding in batch if holding is not None else batch[22] & 0b111:
            damage(batch)
            content[at : at + size] = batch
            break
        at += size
    else:
        raise AssertionError("no such batch")
    segment.write_bytes(content)
    kafka.start()
