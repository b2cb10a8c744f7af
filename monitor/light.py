"""Values that are made several times per record, and must cost next to nothing."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def light(frozen: type[_Value]) -> type[_Value]:
    """
    The dataclass *frozen*, whose fields only the type checker keeps from being set.

    To get past its own guard, a frozen dataclass sets each field through `object.__setattr__`. That makes an object
    ten times as dear as one without a guard: a trace and all that belongs to it took a third of what a record may take.
    For what is made once in a while, `frozen=True` alone is right.
    """
    cls: Any = frozen
    plain: Any = make_dataclass(
        cls.__name__,
        [
            (each.name, each.type, field(default=each.default, default_factory=each.default_factory))
            for each in fields(cls)
        ],
    )
    plain.__init__.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = plain.__init__
    del cls.__setattr__, cls.__delattr__
    return frozen
