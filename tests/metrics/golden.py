"""
The golden `/metrics` output.

`python -m tests.metrics.golden` writes it anew from `a_snapshot`; review the difference like code.
"""

from __future__ import annotations

import re
from pathlib import Path

from monitor import __version__
from monitor.metrics.collect import families_of
from monitor.metrics.exposition import encode_text
from tests.metrics.snapshots import a_snapshot

GOLDEN = Path(__file__).parent.parent / "golden" / "out-metrics.txt"
_UNUSED_REASON = re.compile(r"cliffwatch_dead_letters_total\{.*} 0\.0\n")


def scrape() -> str:
    """What a scrape of `a_snapshot` shows: a placeholder for the release, reasons without a dead letter left out."""
    text = encode_text(families_of(a_snapshot())).decode()
    lines = text.replace(f'version="{__version__}"', 'version="VERSION"').splitlines(keepends=True)
    return "".join(line for line in lines if not _UNUSED_REASON.fullmatch(line))


if __name__ == "__main__":
    GOLDEN.write_text(scrape())
