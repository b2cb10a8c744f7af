"""Converts values to JSON by their types, so that new fields of a type appear without further code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import singledispatch
from typing import Any

from msgspec import to_builtins

Json = dict[str, Any]
"""A JSON object."""


@singledispatch
def plain(value: object) -> Any:
    """
    Convert *value* for `json.dumps`.

    Dataclasses, structs, models and named tuples become objects with their fields, enums their values. A field whose
    name ends in `_at` has Unix seconds and becomes ISO 8601. Register a function for a type whose JSON differs from its
    fields.
    """
    return fields_of(value) if _names(value) else to_builtins(value)


@plain.register(Mapping)
def _mapping(value: Mapping[Any, object]) -> Json:
    return {to_builtins(key): plain(entry) for key, entry in value.items()}


@plain.register(list)
@plain.register(tuple)
@plain.register(AbstractSet)
def _sequence(value: Iterable[object]) -> Any:
    return fields_of(value) if _names(value) else [plain(entry) for entry in value]


def fields_of(value: object) -> Json:
    """The fields of *value* as an object, ignoring any function registered for its type."""
    fields = ((name, getattr(value, name)) for name in _names(value))
    return {name: iso_time(v) if name.endswith("_at") and isinstance(v, float) else plain(v) for name, v in fields}


def iso_time(unix_seconds: float) -> str:
    """*unix_seconds* as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _names(value: object) -> Iterable[str]:
    kind = type(value)
    declared = ("model_fields", "__dataclass_fields__", "__struct_fields__", "_fields")
    return next((getattr(kind, attribute) for attribute in declared if hasattr(kind, attribute)), ())
