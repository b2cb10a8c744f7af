"""Describes settings: the allowed values of each key, and the commented reference file with every default."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

_LINE_LENGTH = 110
_SCALAR_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}
_LIMITS = {
    "gt": "above {}",
    "ge": "of at least {}",
    "lt": "below {}",
    "le": "of at most {}",
    "min_length": "that is not empty",
}
"""Wording of a limit, by the attribute of its constraint."""


def settings_of(kind: Any) -> Mapping[str, FieldInfo]:
    """Keys of the settings model *kind*, or of the first model in a union; empty for any other type."""
    models = (member for member in members(kind) if isinstance(member, type) and issubclass(member, BaseModel))
    return next((model.model_fields for model in models), {})


def setting_at(kind: Any, path: Iterable[str | int]) -> FieldInfo | None:
    """The setting at *path* (keys and list indexes) in the settings model *kind*; None if there is no such key."""
    setting = None
    for step in path:
        entry = entry_kind(kind) if isinstance(step, int) or issubclass(_container(kind), Mapping) else None
        setting = settings_of(kind).get(str(step)) if entry is None else FieldInfo.from_annotation(entry)
        if setting is None:
            return None
        kind = setting.annotation
    return setting


def allowed(setting: FieldInfo) -> str:
    """The values that *setting* allows, in words."""
    limits = [
        words.format(getattr(limit, name))
        for limit in setting.metadata
        for name, words in _LIMITS.items()
        if hasattr(limit, name)
    ]
    whole, separator, entries = _kind_words(setting.annotation).partition(", each ")
    number, null, _ = whole.partition(" or null")
    return f"{number}{' ' if limits else ''}{' and '.join(limits)}{null}{separator}{entries}"


def is_scalar(kind: Any) -> bool:
    """Whether a value of type *kind* is a single word, so that an environment variable can hold it without JSON."""
    return all(member in _SCALAR_WORDS or _choices(member) for member in members(kind))


def entry_kind(kind: Any) -> Any:
    """Type of the entries of the list or mapping *kind*; None for any other type."""
    arguments = next((get_args(member) for member in members(kind) if get_args(member)), ())
    values = [argument for argument in arguments if argument is not Ellipsis]
    return values[-1] if values else None


def reference_config(kind: Any) -> str:
    """The commented YAML file with every default of the settings model *kind*."""
    head = (
        "# Generated from the code by `make generate`: every key with its default. Delete what you do not change.\n"
        "# CLIFFWATCH_<SECTION>__<KEY> in the environment overrides this file.\n"
    )
    return head + "".join(_keys(kind))


KeyPath = tuple[str, ...]
"""Path of a key: section and keys below it."""


def chosen_config(kind: Any, choices: Mapping[KeyPath, tuple[Any, str]], *, head: str) -> str:
    """
    A commented YAML file with the keys in *choices* only; all others keep their defaults.

    Args:
        kind: Settings model of the whole config.
        choices: By path of the key, its value and a sentence with the reason, or an empty string.
        head: The first comment, without comment signs.
    """
    return "".join([*_comment(head, indent=0), *_keys(kind, choices=choices)])


def _keys(kind: Any, path: KeyPath = (), choices: Mapping[KeyPath, tuple[Any, str]] | None = None) -> Iterator[str]:
    """Lines for the keys of *kind* at *path*: those in *choices*, or all keys with their defaults if that is None."""
    indent = 2 * len(path)
    for name, setting in settings_of(kind).items():
        here = (*path, name)
        if choices is not None and not any(other[: len(here)] == here for other in choices):
            continue
        value, why = (choices or {}).get(here, (default_of(setting), ""))
        if path:
            yield from _comment(f"{setting.description} Allowed: {allowed(setting)}. {why}", indent=indent)
        else:
            yield from ("\n", *_comment(summary(setting.annotation), indent=indent))
        if settings_of(setting.annotation):
            yield f"{' ' * indent}{name}:\n"
            yield from _keys(setting.annotation, here, choices)
        else:
            for key, entry in (settings_of(entry_kind(setting.annotation)) if choices is None else {}).items():
                given = "required" if entry.is_required() else f"default {yaml_value(default_of(entry))}"
                words = f"  {key}: {entry.description} Allowed: {allowed(entry)}; {given}."
                yield from _comment(words, indent=indent)
            yield f"{' ' * indent}{name}: {yaml_value(value)}\n"


def summary(kind: Any) -> str:
    """The first line of the docstring of the settings model *kind*."""
    return (kind.__doc__ or "").strip().partition("\n")[0]


def default_of(setting: FieldInfo) -> Any:
    """Default of *setting*; undefined if it is required."""
    return setting.get_default(call_default_factory=True)


def yaml_value(value: Any) -> str:
    """*value*, a setting or a model of them, as YAML on one line."""
    plain = to_jsonable_python(value)
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(text: str, *, indent: int) -> Iterator[str]:
    bullet = len(text) - len(text.lstrip())
    for number, line in enumerate(wrap(text.strip(), _LINE_LENGTH - indent - bullet, break_on_hyphens=False)):
        yield f"{' ' * indent}# {' ' * (bullet + (2 if bullet and number else 0))}{line}\n"


def _container(kind: Any) -> type:
    return next((origin for member in members(kind) if isinstance(origin := get_origin(member), type)), object)


def members(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or *kind* itself, without their constraints."""
    kinds = get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)
    return tuple(get_args(member)[0] if get_origin(member) is Annotated else member for member in kinds)


def _choices(kind: Any) -> Sequence[str]:
    """The values of a literal or an enumeration; none for any other type."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return [yaml_value(value) for value in get_args(kind)] if get_origin(kind) is Literal else ()


def _kind_words(kind: Any) -> str:
    return " or ".join(_member_words(member) for member in members(kind))


def _member_words(kind: Any) -> str:
    if kind in _SCALAR_WORDS:
        return _SCALAR_WORDS[kind]
    if words := _choices(kind):
        return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    if settings_of(kind):
        return f"a mapping with the keys {', '.join(settings_of(kind))}"
    if issubclass(_container(kind), Mapping):
        return "a mapping"
    return f"a list, each {_kind_words(entry_kind(kind))}"
