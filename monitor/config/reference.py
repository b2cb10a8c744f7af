"""Settings dataclasses in words: what each key allows, and the commented reference file with every default."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
import yaml
from typing_extensions import Doc

_LINE_LENGTH = 110
_SCALAR_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    type(None): "null",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """
    One key of a settings dataclass.

    Attributes:
        kind: Its type, without annotations.
        constraints: `annotated_types` constraints.
        doc: What it means, with its unit.
        default: None too where it is required.
    """

    name: str
    kind: Any
    constraints: tuple[Any, ...] = ()
    doc: str = ""
    default: Any = None
    is_required: bool = False

    @property
    def allowed(self) -> str:
        """What may be written, in words."""
        words, limits = _kind_words(self.kind), _constraint_words(self.constraints)
        whole, separator, entries = words.partition(", each ")
        return f"{whole}{limits}{separator}{entries}"


def settings_of(kind: Any) -> dict[str, Setting]:
    """Keys of the settings dataclass *kind*, in order; empty for any other type."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return {}
    hints = get_type_hints(kind, include_extras=True)
    return {entry.name: _setting(entry, hints[entry.name]) for entry in dataclasses.fields(kind)}


def setting_at(root: Mapping[str, Any], path: tuple[str | int, ...]) -> Setting | None:
    """
    The setting that *path* leads to, or None where it leads nowhere.

    Args:
        root: Settings dataclass of each section.
        path: Section, keys and list indexes.
    """
    if not path or path[0] not in root:
        return None
    found: Setting | None = Setting(str(path[0]), root[str(path[0])])
    for step in path[1:]:
        found = None if found is None else _below(found, step)
    return found


def is_scalar(kind: Any) -> bool:
    """Whether a value of type *kind* is written as one word, so that an environment variable holds it as it is."""
    return all(
        member in _SCALAR_WORDS or get_origin(member) is Literal or _is_enum(member) for member in _members(kind)
    )


def entry_kind(kind: Any) -> Any:
    """Type of what the list or mapping *kind* holds; None for any other type."""
    arguments = next((get_args(member) for member in _members(kind) if get_args(member)), ())
    values = [argument for argument in arguments if argument is not Ellipsis]
    return values[-1] if values else None


def accepts(kind: Any, wanted: type) -> bool:
    """Whether *wanted* itself is among the types of *kind*."""
    return wanted in _members(kind)


def yaml_value(value: Any) -> str:
    """*value*, a setting or a dataclass of them, as YAML on one line."""
    text: str = yaml.safe_dump(_plain(value), default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def reference_config(sections: Mapping[str, Any]) -> str:
    """The commented YAML file with every default of *sections* (settings dataclass by section name)."""
    head = (
        "# Generated from the code by `make generate`: every key with its default. Delete what you do not change.\n"
        "# CLIFFWATCH_<SECTION>__<KEY> in the environment wins over this file.\n"
    )
    return head + "".join("\n" + "".join(_section(name, kind)) for name, kind in sections.items())


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """
    One key that a config sets.

    Attributes:
        path: Section and keys.
        why: What speaks for the value, in a sentence; empty where nothing has to be said.
    """

    path: tuple[str, ...]
    value: Any
    why: str = ""


def chosen_config(sections: Mapping[str, Any], choices: Iterable[Choice], *, head: str) -> str:
    """
    A commented YAML file with these keys only; all others keep their defaults.

    Args:
        sections: Settings dataclass of each section.
        choices: Keys of *sections* with their values.
        head: What stands above, without comment signs.
    """
    by_path = {choice.path: choice for choice in choices}
    lines = [*_comment(head, indent=0)]
    for name, kind in sections.items():
        if any(path[0] == name for path in by_path):
            lines += ["\n", *_comment(_first_line(kind), indent=0), f"{name}:\n", *_chosen(kind, (name,), by_path)]
    return "".join(lines)


def _chosen(kind: Any, path: tuple[str, ...], by_path: Mapping[tuple[str, ...], Choice]) -> Iterator[str]:
    indent = 2 * len(path)
    for name, setting in settings_of(kind).items():
        here = (*path, name)
        if here in by_path:
            choice = by_path[here]
            yield from _comment(f"{setting.doc} Allowed: {setting.allowed}. {choice.why}", indent=indent)
            yield f"{' ' * indent}{name}: {yaml_value(choice.value)}\n"
        elif any(other[: len(here)] == here for other in by_path):
            yield from _comment(setting.doc, indent=indent)
            yield f"{' ' * indent}{name}:\n"
            yield from _chosen(setting.kind, here, by_path)


def _first_line(kind: Any) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _section(name: str, kind: Any) -> Iterator[str]:
    yield from _comment(_first_line(kind), indent=0)
    yield f"{name}:\n"
    yield from _keys(kind(), indent=2)


def _keys(settings: Any, *, indent: int) -> Iterator[str]:
    for setting in settings_of(type(settings)).values():
        value = getattr(settings, setting.name)
        yield from _comment(f"{setting.doc} Allowed: {setting.allowed}.", indent=indent)
        if dataclasses.is_dataclass(value):
            yield f"{' ' * indent}{setting.name}:\n"
            yield from _keys(value, indent=indent + 2)
        else:
            yield from _entry_comments(setting, indent=indent)
            yield f"{' ' * indent}{setting.name}: {yaml_value(value)}\n"


def _entry_comments(setting: Setting, *, indent: int) -> Iterator[str]:
    entries = settings_of(entry_kind(setting.kind))
    for entry in entries.values():
        given = "required" if entry.is_required else f"default {yaml_value(entry.default)}"
        yield from _comment(f"  {entry.name}: {entry.doc} Allowed: {entry.allowed}; {given}.", indent=indent)


def _comment(text: str, *, indent: int) -> Iterator[str]:
    bullet = len(text) - len(text.lstrip())
    for number, line in enumerate(wrap(text.strip(), _LINE_LENGTH - indent - bullet, break_on_hyphens=False)):
        yield f"{' ' * indent}# {' ' * (bullet + (2 if bullet and number else 0))}{line}\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return [_plain(entry) for entry in value]
    return value


def _setting(entry: dataclasses.Field[Any], hint: Any) -> Setting:
    kind, metadata = _split(hint)
    default = None if entry.default is dataclasses.MISSING else entry.default
    if entry.default_factory is not dataclasses.MISSING:
        default = entry.default_factory()
    return Setting(
        name=entry.name,
        kind=kind,
        constraints=tuple(each for each in metadata if not isinstance(each, Doc)),
        doc=next((each.documentation for each in metadata if isinstance(each, Doc)), ""),
        default=default,
        is_required=entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING,
    )


def _split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    metadata = getattr(hint, "__metadata__", ())
    return (hint.__origin__ if metadata else hint), metadata


def _below(setting: Setting, step: str | int) -> Setting | None:
    if isinstance(step, int) or issubclass(_container(setting.kind), Mapping):
        entry = entry_kind(setting.kind)
        return None if entry is None else Setting(f"{setting.name}[{step}]", *_split(entry))
    fields = {name: found for member in _members(setting.kind) for name, found in settings_of(member).items()}
    return fields.get(step)


def _container(kind: Any) -> type:
    return next((origin for member in _members(kind) if isinstance(origin := get_origin(member), type)), object)


def _members(kind: Any) -> tuple[Any, ...]:
    kind = _split(kind)[0]
    return get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _kind_words(kind: Any) -> str:
    return " or ".join(_member_words(member) for member in _members(kind))


def _member_words(kind: Any) -> str:
    if kind in _SCALAR_WORDS:
        return _SCALAR_WORDS[kind]
    if get_origin(kind) is Literal:
        return _any_of([str(value) for value in get_args(kind)])
    if _is_enum(kind):
        return _any_of([str(member.value) for member in kind])
    if settings_of(kind):
        return f"a mapping with the keys {', '.join(settings_of(kind))}"
    if issubclass(_container(kind), Mapping):
        return "a mapping"
    return f"a list, each {_kind_words(entry_kind(kind))}"


def _any_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _constraint_words(constraints: tuple[Any, ...]) -> str:
    words = [word for constraint in constraints for word in _one_constraint(constraint)]
    return f" {' and '.join(words)}" if words else ""


def _one_constraint(constraint: Any) -> Iterator[str]:
    match constraint:
        case annotated_types.GroupedMetadata():
            for part in constraint:
                yield from _one_constraint(part)
        case annotated_types.Gt(gt=limit):
            yield f"above {limit}"
        case annotated_types.Ge(ge=limit):
            yield f"of at least {limit}"
        case annotated_types.Lt(lt=limit):
            yield f"below {limit}"
        case annotated_types.Le(le=limit):
            yield f"of at most {limit}"
        case annotated_types.MinLen(min_length=length):
            yield "that is not empty" if length == 1 else f"with a length of at least {length}"
        case annotated_types.MaxLen(max_length=length):
            yield f"with a length of at most {length}"
