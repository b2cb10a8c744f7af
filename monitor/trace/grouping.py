"""Groups of things that have something in common; a leaf that every room may use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Key = TypeVar("_Key")
_Number = TypeVar("_Number", int, float)


def grouped(items: Iterable[_Item], key: Callable[[_Item], _Key]) -> dict[_Key, list[_Item]]:
    """
    The *items* by *key*, each group in their order; unlike `itertools.groupby`, also those that are not neighbours.

    >>> grouped([1, 2, 3], lambda number: number % 2)
    {1: [1, 3], 0: [2]}
    """
    groups: dict[_Key, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def added_up(numbers: Iterable[tuple[_Key, _Number]]) -> dict[_Key, _Number]:
    """
    The sum of the *numbers* of each key; 0 for a key that is asked for and has none.

    >>> dict(added_up([("a", 1), ("b", 2), ("a", 3)]))
    {'a': 4, 'b': 2}
    """
    sums: dict[_Key, Any] = defaultdict(int)
    for key, number in numbers:
        sums[key] += number
    return sums
