"""What is accepted of the outside world before and while it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from typing_extensions import Doc


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes above which a record is dead-lettered instead of decoded."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    max_record_bytes: Annotated[int, Ge(1_024), Doc("Largest record that is decoded, in bytes.")] = 4 * 1024 * 1024
    max_depth: Annotated[int, Ge(8), Doc("Deepest nesting of objects and arrays that is decoded.")] = 64
