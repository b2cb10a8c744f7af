"""Settings in words: what each key allows, and the commented reference file with every default."""

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
"""By the attribute of a constraint that holds it."""


def settings_of(kind: Any) -> Mapping[str, FieldInfo]:
    """Keys of the settings model *kind*, or of the one that it may be, in order; empty for any other type."""
    models = (each for each in members(kind) if isinstance(each, type) and issubclass(each, BaseModel))
    return next((model.model_fields for model in models), {})


def setting_at(kind: Any, path: Iterable[str | int]) -> FieldInfo | None:
    """The setting that *path*, keys and list indexes, leads to from the settings model *kind*; None for no such key."""
    found = None
    for step in path:
        entry = entry_kind(kind) if isinstance(step, int) or issubclass(_container(kind), Mapping) else None
        found = settings_of(kind).get(str(step)) if entry is None else FieldInfo.from_annotation(entry)
        if found is None:
            return None
        kind = found.annotation
    return found


def allowed(setting: FieldInfo) -> str:
    """What you may write for *setting*, in words."""
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
    """Whether a value of type *kind* is written as one word, so that an environment variable holds it as it is."""
    return all(member in _SCALAR_WORDS or _choices(member) for member in members(kind))


def entry_kind(kind: Any) -> Any:
    """Type of what the list or mapping *kind* holds; None for any other type."""
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
"""Section and keys."""


def chosen_config(kind: Any, choices: Mapping[KeyPath, tuple[Any, str]], *, head: str) -> str:
    """
    A commented YAML file with these keys only; all others keep their defaults.

    Args:
        kind: Settings model of the whole config.
        choices: By the place of a key, its value and why it has that: a sentence, or empty.
        head: The first comment, without comment signs.
    """
    return "".join([*_comment(head, indent=0), *_keys(kind, choices=choices)])


def _keys(kind: Any, path: KeyPath = (), choices: Mapping[KeyPath, tuple[Any, str]] | None = None) -> Iterator[str]:
    """Lines of the keys of *kind*, which are at *path*: those that *choices* lead to; None for all, with defaults."""
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
    """What the settings model *kind* is about: the first line of its docstring."""
    return (kind.__doc__ or "").strip().partition("\n")[0]


def default_of(setting: FieldInfo) -> Any:
    """Value of *setting* where nothing is written; undefined where it is required."""
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
    """The types that a union may be, without their own limits, or *kind* alone."""
    found = get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)
    return tuple(get_args(each)[0] if get_origin(each) is Annotated else each for each in found)


def _choices(kind: Any) -> Sequence[str]:
    """The words of a literal or an enumeration; none for any other type."""
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
