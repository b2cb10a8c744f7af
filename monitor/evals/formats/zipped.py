"""Members of a zip archive, those compressed by zstd too, which the standard library reads from Python 3.14 on."""

from __future__ import annotations

import io
import lzma
import struct
import zlib

from backports import zstd
from backports.zstd import zipfile

from monitor.evals.formats.reading import ResultFileInvalid

ZIP_MAGIC = b"PK\x03\x04"
_LARGEST_MEMBER = 1024**3
_PIECE_BYTES = 4096
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
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except _DAMAGES as error:
            raise self._damaged(error) from error

    def names(self) -> list[str]:
        """Every member."""
        return self._zip.namelist()

    def read(self, member: str) -> bytes | None:
        """The bytes of *member*, or None where there is no such."""
        if member not in self.names():
            return None
        info = self._zip.getinfo(member)
        if info.file_size > max(_UNSUSPICIOUS_BYTES, _LARGEST_RATIO * info.compress_size):
            raise ResultFileInvalid(f"{self._name}: {member} unfolds to over {_LARGEST_RATIO} times its size.")
        if info.file_size > _LARGEST_MEMBER:
            raise ResultFileInvalid(f"{self._name}: {member} is larger than 1 GiB; write the log without attachments.")
        try:
            # In pieces, for one of zstd unfolds whole, whatever size the archive says that its member has.
            with self._zip.open(info) as opened:
                return b"".join(iter(lambda: opened.read(_PIECE_BYTES), b""))
        except _DAMAGES as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ResultFileInvalid:
        return ResultFileInvalid(f"{self._name} is a damaged archive ({error}); read a whole copy of it.")
