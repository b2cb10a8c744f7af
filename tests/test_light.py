"""Light values are made without the guard of a frozen dataclass, and are its like in all else."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from monitor.light import light


@dataclass(frozen=True, slots=True)
class _Guarded:
    name: str
    count: int = 3
    parts: Mapping[str, int] = field(default_factory=dict)


@light
@dataclass(frozen=True, slots=True)
class _Light:
    name: str
    count: int = 3
    parts: Mapping[str, int] = field(default_factory=dict)


def test_light_value_is_made_like_a_guarded_one() -> None:
    """Fields, defaults and the signature are those of the dataclass."""
    assert dataclasses.asdict(_Guarded("a", parts={"b": 1})) == dataclasses.asdict(_Light("a", parts={"b": 1}))
    assert inspect.signature(_Guarded) == inspect.signature(_Light)
    assert _Light("a").parts is not _Light("a").parts


def test_light_values_are_compared_hashed_and_replaced() -> None:
    """Equal fields make equal values, in sets as well."""
    assert _Light("a", 1) == replace(_Light("b", 1), name="a")
    assert hash(dataclasses.astuple(_Light("a", 1, ()))) == hash(_Light("a", 1, ()))  # type: ignore[arg-type]


def test_light_value_has_no_room_for_other_fields() -> None:
    """It keeps its slots, so that no dict is made for each."""
    assert not hasattr(_Light("a"), "__dict__")
