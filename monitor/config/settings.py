"""What each stage's settings are made of."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Keys of the config that belong together; the string below a key says what it means, with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


def changed_keys(before: Settings, after: Settings, section: str = "") -> Iterator[str]:
    """Dotted names of the keys whose values differ; both are of one type."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, Settings):
            yield from changed_keys(old, new, f"{section}{name}.")
        elif old != new:
            yield section + name
