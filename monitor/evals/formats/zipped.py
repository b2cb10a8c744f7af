"""Members of a zip archive, those compressed by zstd too, which the standard library does not read."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping

from backports import zstd

from monitor.evals.formats.reading import ResultFileInvalid

ZIP_MAGIC = b"PK\x03\x04"
_ZSTD = 93  # APPNOTE.TXT 4.4.5
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_LARGEST_MEMBER = 1024**3
_UNSUSPICIOUS_BYTES, _LARGEST_RATIO = 64 * 1024**2, 200
_DAMAGES = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstd.ZstdError, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, LookupError, OverflowError),  # encrypted, or not even that
)


class Archive:
    """
    A zip archive in memory.

    Raises:
        ResultFileInvalid: it is damaged.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        self._content = content
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except _DAMAGES as error:
            raise self._damaged(error) from error
        self._members: Mapping[str, zipfile.ZipInfo] = {info.filename: info for info in self._zip.infolist()}

    def names(self) -> list[str]:
        """Every member."""
        return list(self._members)

    def read(self, member: str) -> bytes | None:
        """The bytes of *member*, or None where there is no such."""
        info = self._members.get(member)
        if info is None:
            return None
        if info.file_size > max(_UNSUSPICIOUS_BYTES, _LARGEST_RATIO * info.compress_size):
            raise ResultFileInvalid(f"{self._name}: {member} unfolds to over {_LARGEST_RATIO} times its size.")
        if info.file_size > _LARGEST_MEMBER:
            raise ResultFileInvalid(f"{self._name}: {member} is larger than 1 GiB; write the log without attachments.")
        try:
            return self._zstd(info) if info.compress_type == _ZSTD else self._zip.read(info)
        except _DAMAGES as error:
            raise self._damaged(error) from error

    def _zstd(self, info: zipfile.ZipInfo) -> bytes:
        # Sizes come from the central directory: the local header may leave them to what follows the data.
        header = self._content[info.header_offset : info.header_offset + _LOCAL_HEADER.size]
        *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        start = info.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        with zstd.ZstdFile(io.BytesIO(self._content[start : start + info.compress_size])) as member:
            plain = member.read(info.file_size + 1)
        if len(plain) != info.file_size:
            raise zipfile.BadZipFile(f"{info.filename} is not as long as the archive says")
        return plain

    def _damaged(self, error: Exception) -> ResultFileInvalid:
        return ResultFileInvalid(f"{self._name} is a damaged archive ({error}); read a whole copy of it.")
