"""How often Python looks for garbage that reference counting cannot free."""

from __future__ import annotations

import gc

_MOST_YOUNG = 50_000  # more than a batch of records keeps alive, whatever its records hold


def collect_rarely() -> None:
    """
    Look for cycles after some batches, not dozens of times within each; call it once, before records are read.

    A batch lives for a moment and holds no cycles: counting references frees all of it. With Python's own threshold of
    700 objects a quarter of a record's time went into walking batches that were still in use, and all modules with
    them. Those are left out for good (`gc.freeze`). Cycles from elsewhere are still found, only later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MOST_YOUNG, 10, 10)
