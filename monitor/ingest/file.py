"""Reads records from files or standard input: JSON lines or length-delimited protobuf; plain, gzip or zstd."""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import chain, islice
from os.path import exists, isdir, isfile  # those of pathlib raise for a name that is too long
from pathlib import Path
from typing import cast

from monitor.errors import DependencyUnreachable, MonitorError, UsageError, os_errors
from monitor.ingest.lines import CORRUPTED, PEEK_BYTES, Line, decompressed, frame_lengths, read_frames, read_lines
from monitor.ingest.source import LedgerOffsets, Poll, Position, Record, Source, TopicPartition

STANDARD_INPUT = "-"

Translate = Callable[[str], Iterable[bytes] | None]
"""Converts the file at a path to lines of events; returns None if the file can be read as it is."""


def is_piped(path: str) -> bool:
    """Whether *path* can be read only once: standard input, a pipe or a device."""
    return path == STANDARD_INPUT or (exists(path) and not isfile(path) and not isdir(path))  # noqa: PTH110, PTH112, PTH113


class FileSource(Source):
    """
    Reads lines of files, one file after the other: topic is the path, partition 0, offset the line's index from 0.

    A file of length-delimited protobuf messages is recognised by its first bytes; there, the offset is the index of the
    message.

    Blank lines give no record but count for the index. A line longer than *max_record_bytes* gives a record without a
    value, with its length in `oversize`.

    Args:
        paths: Files in the order in which to read them; `-` is standard input.
        ledger_offsets: Returns the next offsets in the ledger.
        batch_records: Most records per poll.
        max_record_bytes: Longest line to load into memory, in bytes.
        translate: Converts files in other formats; None reads every file as it is.

    Attributes:
        unread: Records that no poll has returned.

    Raises:
        DependencyUnreachable: a file cannot be opened.
        UsageError: a file is named twice.
    """

    def __init__(
        self,
        paths: Sequence[str],
        ledger_offsets: LedgerOffsets,
        *,
        batch_records: int = 500,
        max_record_bytes: int = 4 * 1024 * 1024,
        translate: Translate | None = None,
    ) -> None:
        if len(set(paths)) < len(paths):
            raise UsageError("A file is named twice; name each once.")
        self._translate = translate
        for path in paths:
            if not is_piped(path) and (translate is None or not isdir(path)):  # noqa: PTH112
                with self._opened(path):
                    """Open each file once, to report a wrong name now and not after an hour of other files."""
        self._ledger_offsets = ledger_offsets
        self._batch_records = batch_records
        self._max_record_bytes = max_record_bytes
        self._partitions = [TopicPartition(path, 0) for path in paths]
        self._offsets: dict[TopicPartition, int | None] | None = None
        self._uncommitted: deque[Record] = deque()
        self._to_repeat: deque[Record] = deque()
        self._failure: MonitorError | None = None
        self._open_file = ExitStack()
        self.unread = self._records()

    def poll(self, timeout_seconds: float) -> Poll:
        del timeout_seconds  # reading a file never waits
        self.assignment()
        batch: list[Record] = []
        if self._failure:
            raise self._failure
        try:
            # chain, not a generator with `yield from`: closing that one would close `unread` too.
            batch.extend(islice(chain(self._repeated_records(), self.unread), self._batch_records))
        except MonitorError as error:
            self._failure = error
            if not batch:
                raise
        self._uncommitted.extend(batch)
        return Poll(tuple(batch), at_end=len(batch) < self._batch_records and self._failure is None)

    def assignment(self) -> Mapping[TopicPartition, int | None]:
        if self._offsets is None:
            stored = self._ledger_offsets(self._partitions)
            self._offsets = {partition: stored.get(partition) for partition in self._partitions}
        return self._offsets

    def committed(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        self._offsets = {**self.assignment(), **next_offsets}
        self._uncommitted = deque(record for record in self._uncommitted if not self._is_done(record))

    def rewind(self) -> None:
        # Standard input cannot be read twice, so uncommitted records stay in memory; they are a batch or two.
        self._to_repeat.extendleft(reversed(self._uncommitted))
        self._uncommitted.clear()
        self._offsets = None

    def close(self) -> None:
        self._open_file.close()

    def _opened(self, path: str) -> io.BufferedReader:
        if path == STANDARD_INPUT:
            return cast("io.BufferedReader", sys.stdin.buffer)
        with os_errors(DependencyUnreachable, f"{Path(path).absolute()} cannot be read", "check the name."):
            return Path(path).open("rb")

    def _translated(self, path: str) -> io.BufferedReader | None:
        lines = None if self._translate is None else self._translate(path)
        return None if lines is None else io.BufferedReader(cast("io.RawIOBase", io.BytesIO(b"\n".join(lines))))

    def _is_done(self, record: Record) -> bool:
        return record.position.offset < (self.assignment()[record.position.topic_partition] or 0)

    def _repeated_records(self) -> Iterator[Record]:
        while self._to_repeat:
            record = self._to_repeat.popleft()
            if not self._is_done(record):
                yield record

    def _records(self) -> Iterator[Record]:
        for partition in self._partitions:
            for line in self._lines(partition.topic):
                record = _as_record(partition.topic, line)
                if record is not None and not self._is_done(record):
                    yield record

    def _lines(self, path: str) -> Iterator[Line]:
        with ExitStack() as self._open_file:
            stream = self._translated(path) or self._opened(path)
            if path != STANDARD_INPUT:
                self._open_file.enter_context(stream)
            index = -1
            try:
                for line in _messages(decompressed(stream), max_bytes=self._max_record_bytes):
                    index = line.index
                    yield line
            except CORRUPTED as error:
                raise UsageError(
                    f"{path} is damaged after line {index + 1} ({error}); use a complete copy of it."
                ) from error
            except OSError as error:
                raise DependencyUnreachable(f"{path} cannot be read: {error.strerror}; try again.") from error


def _messages(stream: io.BufferedReader, *, max_bytes: int) -> Iterator[Line]:
    """Lines, or length-delimited protobuf messages; the first bytes decide."""
    read_length = frame_lengths(stream.peek(PEEK_BYTES))
    if read_length is None:
        return read_lines(stream, max_bytes=max_bytes)
    return read_frames(stream, read_length, max_bytes=max_bytes)


def _as_record(path: str, line: Line) -> Record | None:
    position = Position(path, 0, line.index)
    if line.oversize:
        return Record(position, key=None, value=None, oversize=line.oversize)
    return None if not line.value or line.value.isspace() else Record(position, key=None, value=line.value)


def file_records(
    paths: Sequence[str], *, max_record_bytes: int, translate: Translate | None = None
) -> Iterator[Record]:
    """
    Every record of *paths*, for a reader that does not use offsets.

    Raises:
        MonitorError: a file cannot be read.
    """
    with closing(FileSource(paths, lambda _: {}, max_record_bytes=max_record_bytes, translate=translate)) as source:
        yield from source.unread
