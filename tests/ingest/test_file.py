from __future__ import annotations

import gzip
import hashlib
import io
import json
import tracemalloc
from codecs import BOM_UTF8
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import DependencyUnreachable, UsageError
from monitor.ingest.file import FileSource, file_records
from monitor.ingest.lines import read_lines
from monitor.ingest.source import Oversize, Source, TopicPartition
from tests.contracts.source_contract import LedgerStub, SourceContract, read, read_and_commit, values


class _FileWorld:
    def __init__(self, path: Path, compress: Callable[[bytes], bytes] = bytes) -> None:
        self.ledger = LedgerStub()
        self._path = path
        self._compress = compress

    def append(self, values: Collection[bytes], partition: int = 0) -> None:
        assert partition == 0
        self._path.write_bytes(self._compress(b"".join(value + b"\n" for value in values)))

    def open(self) -> Source:
        return FileSource([str(self._path)], self.ledger)


class TestFileSource(SourceContract):
    @pytest.fixture(params=[bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["plain", "gzip", "zstd"])
    def world(self, request: pytest.FixtureRequest, tmp_path: Path) -> _FileWorld:
        return _FileWorld(tmp_path / "traces", request.param)


def test_standard_input_may_be_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads standard input, and tells gzip by its first bytes."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(b"a\nb\n")))))

    source = FileSource(["-"], LedgerStub())
    polled = source.poll(0)

    assert [b"a", b"b"] == values(polled.records)
    assert {TopicPartition("-", 0): 2} == polled.next_offsets


def test_standard_input_can_be_rewound(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read from a stream and not committed comes again, although the stream cannot be read twice."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"a\nb\nc\n"))))
    ledger = LedgerStub()
    source = FileSource(["-"], ledger, batch_records=1)
    read_and_commit(source, ledger, 1)
    read(source, 1)

    source.rewind()

    assert [b"b", b"c"] == values(read(source, 2))


def test_blank_lines_keep_their_index(tmp_path: Path) -> None:
    """A blank line is no record, and the lines after it keep their numbers."""
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"a\n\n  \r\nb")

    polled = FileSource([str(path)], LedgerStub()).poll(0)

    assert [(b"a", 0), (b"b", 3)] == [(r.value, r.position.offset) for r in polled.records]


def test_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    """Each file is a topic of its own, and the source ends with the last of them."""
    (tmp_path / "x").write_bytes(b"a\n")
    (tmp_path / "y").write_bytes(b"b\nc\n")
    paths = [str(tmp_path / "x"), str(tmp_path / "y")]

    polled = FileSource(paths, LedgerStub()).poll(0)

    assert [(paths[0], b"a"), (paths[1], b"b"), (paths[1], b"c")] == [
        (r.position.topic, r.value) for r in polled.records
    ]
    assert {TopicPartition(paths[0], 0): 1, TopicPartition(paths[1], 0): 2} == polled.next_offsets
    assert polled.at_end


def test_a_full_batch_is_not_the_end(tmp_path: Path) -> None:
    """Batches hold at most as many records as asked for; the end is said when nothing is left."""
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"a\nb\n")
    source = FileSource([str(path)], LedgerStub(), batch_records=2)

    first, second = source.poll(0), source.poll(0)

    assert (2, False) == (len(first.records), first.at_end)
    assert (0, True) == (len(second.records), second.at_end)


def test_a_long_line_is_measured_and_not_kept(tmp_path: Path) -> None:
    """A line above the limit has its true length and hash but no value, and its neighbours are read."""
    path = tmp_path / "traces.jsonl"
    long_line = b"x" * 20_000_000
    path.write_bytes(b"a\n" + long_line + b"\r\nb\n")
    expected = Oversize(len(long_line), hashlib.sha256(long_line).hexdigest())
    source = FileSource([str(path)], LedgerStub(), max_record_bytes=1_000)

    tracemalloc.start()
    records = source.poll(0).records
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [b"a", None, b"b"] == values(records)
    assert expected == records[1].oversize
    assert (expected.size_bytes, expected.sha256) == (records[1].size_bytes, records[1].sha256)
    assert peak_bytes < 2_000_000


@given(
    lines=st.lists(
        st.binary(max_size=40).filter(
            lambda line: b"\n" not in line and not line.endswith(b"\r") and line not in {b"{", b"["}
        )
    ),
    end=st.sampled_from([b"\n", b"\r\n"]),
    limit=st.integers(1, 30),
)
def test_lines_are_kept_or_measured_exactly(lines: list[bytes], end: bytes, limit: int) -> None:
    """Whatever the bytes and the limit, each line comes back as it is or with its own length and hash."""
    stream = io.BytesIO(b"".join(line + end for line in lines))

    found = list(read_lines(stream, max_bytes=limit))

    assert list(range(len(lines))) == [line.index for line in found]
    assert [
        line if len(line) <= limit else Oversize(len(line), hashlib.sha256(line).hexdigest()) for line in lines
    ] == [line.oversize or line.value for line in found]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_document_over_several_lines_is_one_record(end: bytes) -> None:
    """As `jq`, `json.tool` and a browser write it; without its last bracket it goes on to the limit."""
    documents = [json.dumps(each, indent=2).encode() for each in ({"a": [1, {"b": 2}]}, [{"a": 1}, {}])]
    lines = [*documents, b'{"on": "one line"}', b"{", b' "cut": 1,', b' "off": 2']
    stream = io.BytesIO(end.join(line.replace(b"\n", end) for line in lines))

    found = list(read_lines(stream, max_bytes=80))

    assert [*documents, lines[2], b'{\n "cut": 1,\n "off": 2'] == [line.value.replace(b"\r", b"") for line in found]
    assert [0, 8, 14, 15] == [line.index for line in found]
    stream.seek(0)
    assert any(line.oversize for line in read_lines(stream, max_bytes=20))


@pytest.mark.parametrize("cut", [b"{", b'{\n "cut": [\n  1'])
def test_a_document_that_is_cut_off_takes_no_other_with_it(cut: bytes) -> None:
    """Only itself is lost: what begins another, on one line or on several, comes as before."""
    whole = [b'{"on": "one line"}', cut, b'{\n "a": 1\n}', b'{"on": "one line"}']

    assert [cut, *whole] == [line.value for line in read_lines(io.BytesIO(b"\n".join([cut, *whole])), max_bytes=80)]


def test_a_byte_order_mark_before_a_document_is_no_length(tmp_path: Path) -> None:
    """With the bracket it looks like the length of a message."""
    document = BOM_UTF8 + b'{\n "a": 1\n}'
    (tmp_path / "it.json").write_bytes(document + b'\n{"b": 2}')

    records = file_records([str(tmp_path / "it.json")], max_record_bytes=80)

    assert [document, b'{"b": 2}'] == [record.value for record in records]


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_a_damaged_file_ends_after_its_last_good_line(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Lines before the damage are returned; then one sentence names file and place."""
    path = tmp_path / "traces"
    lines = b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() + b"\n" for number in range(20_000))
    whole = compress(lines)
    path.write_bytes(whole[: len(whole) // 2])
    source = FileSource([str(path)], LedgerStub())

    good = 0
    damage = ""
    while not damage:
        try:
            polled = source.poll(0)
        except UsageError as error:
            damage = str(error)
        else:
            assert not polled.at_end
            good += len(polled.records)

    assert 0 < good < 20_000
    assert damage.startswith(f"{path} is damaged after line {good} ")


def test_several_compressed_pieces_are_one_file(tmp_path: Path) -> None:
    """Zstd frames, like gzip members, may follow one another in a file."""
    path = tmp_path / "traces.zst"
    compress = zstandard.ZstdCompressor().compress
    path.write_bytes(compress(b"a\nb") + compress(b"c\n" * 3000))

    records = read(FileSource([str(path)], LedgerStub()), 3001)

    assert [b"a", b"bc", b"c"] == values(records[:3])
    assert 3001 == len(records)


def test_a_missing_file_is_said_at_once(tmp_path: Path) -> None:
    """A file that is not there is found before any other is read."""
    present = tmp_path / "present"
    present.write_bytes(b"a\n")

    with pytest.raises(DependencyUnreachable, match="absent cannot be read: No such file or directory; check the name"):
        FileSource([str(present), str(tmp_path / "absent")], LedgerStub())


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    """The same name twice would count its lines once and hide the mistake."""
    with pytest.raises(UsageError, match="named twice"):
        FileSource([str(tmp_path), str(tmp_path)], LedgerStub())
