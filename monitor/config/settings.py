"""Base class of all settings."""

from __future__ import annotations

from collections import Counter

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

# Squares of smaller numbers may be 0. Larger ones, and longer times, fit no integer of the database or of the system.
_SMALLEST, _LARGEST, _LARGEST_IN = 1e-30, 2.0**62, {"seconds": 1e9, "days": 1e6}


class Settings(BaseModel):
    """A section of the config; the docstring below each key gives its meaning and unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _check_range(cls, value: object, info: ValidationInfo) -> object:
        largest = _LARGEST_IN.get((info.field_name or "").rpartition("_")[2], _LARGEST)
        if isinstance(value, int | float) and value and not _SMALLEST <= abs(value) <= largest:
            raise ValueError(f"is too large or too small (from {_SMALLEST:g} to {largest:g}, or 0)")
        return value


def one_for_each(*names: str) -> AfterValidator:
    """Refuses a list in which two entries have the same values of *names*, because one of them would not count."""

    def check(entries: tuple[BaseModel, ...]) -> tuple[BaseModel, ...]:
        for values, times in Counter(tuple(getattr(entry, name) for name in names) for entry in entries).items():
            if times > 1:
                same = ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True) if value)
                raise ValueError(f"has {times} entries for {same}; keep one of them")
        return entries

    return AfterValidator(check)
