"""Reads the cases."""

from __future__ import annotations

import gzip
from pathlib import Path


def lines_of(path: Path) -> list[bytes]:
    """Lines of a file, unfolded where it is gzip."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
