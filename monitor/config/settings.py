"""Base class of all settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

_SMALLEST, _LARGEST = 1e-9, 1e15  # squares of smaller numbers are 0, and larger times fit no integer of a database


class Settings(BaseModel):
    """A section of the config; the docstring below each key gives its meaning and unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _is_in_range(cls, value: object) -> object:
        if isinstance(value, int | float) and value and not _SMALLEST <= abs(value) <= _LARGEST:
            raise ValueError(f"must be 0, or from {_SMALLEST:g} to {_LARGEST:g}")
        return value
