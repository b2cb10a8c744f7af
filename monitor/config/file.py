"""Parses a YAML file into plain values with their line numbers, and validates them as settings."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from errno import EFBIG
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from monitor.config.reference import allowed, members, setting_at, settings_of
from monitor.config.settings import Settings
from monitor.errors import ConfigInvalid

_Settings = TypeVar("_Settings", bound=Settings)

KeyPath = tuple[str | int, ...]
"""Path of a value: keys and list indexes from the root."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One problem in a file.

    Attributes:
        line: Line from 1, or 0 if there is none.
        sentence: What is wrong, and what is allowed.
    """

    line: int
    path: KeyPath
    sentence: str

    @property
    def key(self) -> str:
        """The path with dots between its steps; empty for the file as a whole."""
        return ".".join(str(step) for step in self.path)

    def of(self, file_name: str) -> str:
        """The problem as one line, `file:line: key: what is wrong`."""
        return f"{file_name}:{self.line}: {f'{self.key}: ' if self.path else ''}{self.sentence}"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """
    A parsed file.

    Attributes:
        values: The root mapping; empty if the file cannot be parsed.
        lines: Line, from 1, of each key and list entry.
        problems: Problems of the YAML itself.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def line(self, path: KeyPath) -> int:
        """Line of *path*, or of the nearest key above it that the file has; 1 where there is none."""
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), 1)


def unknown_key(key: str, allowed: Iterable[str]) -> str:
    """Message for a key that does not exist, with the key that was probably meant."""
    names = list(allowed)
    near = difflib.get_close_matches(key, names, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"unknown key ({meant}allowed: {', '.join(names)})"


def bytes_of(path: Path) -> bytes:
    """
    The bytes of a config file.

    Raises:
        OSError: it cannot be read, or is larger than 16 MiB (such as a device).
    """
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(EFBIG, "it is larger than 16 MiB")
    return content


def parse_config_file(content: bytes) -> ConfigFile:
    """The values of a YAML document; never raises, but reports a problem if the file is not YAML."""
    try:
        return _Reader().read(yaml.compose(content, yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        problem = _syntax_problem(error)
    except yaml.reader.ReaderError as error:
        problem = Problem(1, (), f"is not a text file in UTF-8 ({error.reason})")
    except RecursionError:
        problem = Problem(1, (), "is nested too deeply")
    except _TooMany:
        sentence = f"holds more than {_MOST_VALUES:,} values, counting each YAML alias as what it stands for"
        problem = Problem(1, (), sentence)
    return ConfigFile(problems=(problem,))


def read_settings(kind: type[_Settings], name: str, content: bytes, *, context: object = None) -> _Settings:
    """
    Read a YAML file with settings of one *kind*.

    Args:
        kind: The model; empty sections are ignored.
        name: Name of the file, for messages.
        content: Its bytes.
        context: Context for the validators of *kind*.

    Raises:
        ConfigInvalid: with one line `file:line: key: what is wrong` for every problem; no value is repeated.
    """
    file = parse_config_file(content)
    given = {key: value for key, value in file.values.items() if value is not None}
    settings, problems = checked(kind, given, file, context=context)
    if problems or settings is None:
        in_order = sorted({*problems}, key=lambda problem: (problem.line, problem.key, problem.sentence))
        raise ConfigInvalid("\n".join(problem.of(name) for problem in in_order))
    return settings


def checked(
    kind: type[_Settings], values: Mapping[str, Any], file: ConfigFile, *, context: object = None
) -> tuple[_Settings | None, Sequence[Problem]]:
    """Validate *values* of *file* as settings of *kind*; returns the settings, None if invalid, and the problems."""
    problems = [*_misread_words(kind, values, file), *file.problems]
    try:
        return kind.model_validate(values, context=context), problems
    except ValidationError as error:
        return None, [*_problems_of(error, file, kind), *problems]


def _misread_words(kind: type[Settings], values: Mapping[str, Any], file: ConfigFile) -> Iterator[Problem]:
    """Words such as yes and off, which YAML parses as booleans and pydantic accepts as 1 and 0."""
    for path, value in leaves(values, ()):
        setting = setting_at(kind, path) if isinstance(value, bool) else None
        accepted = () if setting is None else (*members(setting.annotation), *get_args(setting.annotation))
        if setting is not None and bool not in accepted and value not in accepted:
            yield Problem(file.line(path), path, f"{shown(value, setting)} is not allowed ({allowed(setting)})")


def leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Each value that is neither a mapping nor a list, with its path."""
    if isinstance(value, dict | list):
        for step, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(below, (*path, step))
    else:
        yield path, value


def _problems_of(error: ValidationError, file: ConfigFile, kind: type[Settings]) -> Iterator[Problem]:
    """Translate pydantic's errors on *file*, which has settings of *kind*."""
    for details in error.errors(include_url=False):
        place = tuple(step for step in details["loc"] if step != "[key]")
        yield Problem(file.line(place), place, " ".join(_sentence(kind, details).split()))


def _sentence(kind: type[Settings], details: ErrorDetails) -> str:
    path = details["loc"]
    setting = setting_at(kind, path)
    if details["type"] == "extra_forbidden":
        above = setting_at(kind, path[:-1])
        return unknown_key(str(path[-1]), settings_of(kind if above is None else above.annotation))
    if setting is None or details["type"] == "value_error":
        return details["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if details["type"] == "missing":
        return f"is missing ({allowed(setting)})"
    if details["type"] == "string_pattern_mismatch" and setting.description:
        return f"{shown(details['input'], setting)} is not allowed ({setting.description.partition('.')[0]})"
    finite = ", finite" if details["type"] == "finite_number" and float in members(setting.annotation) else ""
    return f"{shown(details['input'], setting)} is not allowed ({allowed(setting)}{finite})"


def shown(value: Any, setting: FieldInfo) -> str:
    """*value* as written in the file, but never free text, which may be a secret."""
    is_free = str in members(setting.annotation) or not setting.repr
    match value:
        case bool() | None:
            return f"{json.dumps(value)} without quotes" if is_free else json.dumps(value)
        case int() | float():
            return "a number without quotes" if is_free else str(value)
        case str():
            return "the text given" if is_free else f"`{value[:_LONGEST_SHOWN]}`"
        case _:
            return "a list" if isinstance(value, list) else "a mapping"


_LONGEST_SHOWN = 40


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = " ".join(part for part in (error.context, error.problem) if part)
    what = re.sub(r"(alias|anchor|handle) '.*?'", r"\1", what)  # a password may begin as these do
    return Problem(mark.line + 1 if mark else 1, (), f"is not valid YAML: {what}")


def _text(node: yaml.Node) -> str:
    """What *node* says; the pairs of JSON's escapes are put together, and half of one is U+FFFD."""
    return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_MOST_BYTES, _MOST_VALUES = 16 * 1024**2, 100_000


class _TooMany(Exception):
    """More values than any config has: aliases of aliases."""


class _Reader:
    """Turns nodes into values and notes their lines; one use per file."""

    def __init__(self) -> None:
        self._loader = yaml.SafeLoader("")
        self._lines: dict[KeyPath, int] = {}
        self._problems: list[Problem] = []
        self._values = 0

    def read(self, root: yaml.Node | None) -> ConfigFile:
        values = None if root is None else self._value(root, ())
        if not isinstance(values, dict | None):
            self._problems.append(Problem(1, (), "must be a mapping of sections, such as `log:`"))
        return ConfigFile(values if isinstance(values, dict) else {}, self._lines, tuple(self._problems))

    def _value(self, node: yaml.Node, path: KeyPath, above: tuple[yaml.Node, ...] = ()) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)  # of a value with a key, that of the key is known
        if node in above:  # the node's own line is that of its anchor
            self._problems.append(Problem(self._lines[path], path, "refers to itself through a YAML alias"))
            return None
        self._values += 1
        if self._values > _MOST_VALUES:
            raise _TooMany
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path, (*above, node)))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(entry, (*path, index), (*above, node)) for index, entry in enumerate(node.value)]
        return self._scalar(node, path)

    def _entries(
        self, node: yaml.MappingNode, path: KeyPath, above: tuple[yaml.Node, ...]
    ) -> Iterator[tuple[str, Any]]:
        for key_node, value_node in node.value:
            key = _text(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self._complain(key_node, path, "has a key that is not a word")
            elif (*path, key) in self._lines:
                first = self._lines[*path, key]
                self._complain(key_node, (*path, key), f"is given twice (first on line {first}; keep one of them)")
            else:
                self._lines[*path, key] = key_node.start_mark.line + 1
                yield key, self._value(value_node, (*path, key), above)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value  # a date stays text, so that YYYY-MM-DD needs no quotes
        try:
            node.value = _text(node)
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._complain(node, path, f"cannot be read as {node.tag.rpartition(':')[2]}")
            return None

    def _complain(self, node: yaml.Node, path: KeyPath, sentence: str) -> None:
        self._problems.append(Problem(node.start_mark.line + 1, path, sentence))
