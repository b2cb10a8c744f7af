"""Values as JSON, by their types: a field that a type gains is printed without further work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import singledispatch
from typing import Any

from msgspec import to_builtins
from pydantic import BaseModel

Json = dict[str, Any]
"""An object of JSON."""


@singledispatch
def plain(value: object) -> Any:
    """
    *value* as `json.dumps` takes it.

    Dataclasses, structs, models and named tuples become objects with their fields, enums their values. A field whose
    name ends in `_at` holds Unix seconds and is written as ISO 8601. Register a type here whose public shape differs
    from its fields.
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
    """The fields of *value* as an object, whatever shape its type is registered with."""
    found = ((name, getattr(value, name)) for name in _names(value))
    return {name: iso_time(at) if name.endswith("_at") and isinstance(at, float) else plain(at) for name, at in found}


def iso_time(unix_seconds: float) -> str:
    """*unix_seconds* as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _names(value: object) -> Iterable[str]:
    kind = type(value)
    if isinstance(value, BaseModel):
        return type(value).model_fields
    declared = ("__dataclass_fields__", "__struct_fields__", "_fields")
    return next((getattr(kind, attribute) for attribute in declared if hasattr(kind, attribute)), ())
